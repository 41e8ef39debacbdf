"""What masters and agents count, as Prometheus takes it: every name of a real master has its place,
units are bytes and seconds, and who does not answer is told as down.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from controllers.exporter.__main__ import make_app
from controllers.exporter.gather import Gatherer
from controllers.exporter.render import Target, render, values
from controllers.exporter.table import AGENT, LEFT_OUT, MASTER, NAMES
from tests.components.monitoring.conftest import promtool
from tests.local.conftest import rig, zookeeper
from tests.local.rig import Rig
from tests.waiting import until

__all__ = ["promtool", "rig", "zookeeper"]

RECORDED = Path(__file__).parents[1] / "fixtures" / "mesos" / "get_metrics_snapshot.json"
SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_BOUND_S = 60


def recorded() -> dict[str, float]:
    """Of a real master that leads."""
    return json.loads(json.loads(RECORDED.read_text())["body"])


def samples(text: str) -> dict[tuple[str, str], float]:
    found = [SAMPLE.fullmatch(line) for line in text.splitlines() if not line.startswith("#")]
    assert all(found), text
    return {(m["name"], m["labels"] or ""): float(m["value"]) for m in found if m}


def test_every_name_of_a_real_master_is_told_or_left_out_for_a_reason() -> None:
    snapshot = recorded()
    used = {
        key
        for metric in MASTER
        for source in metric.sources
        for key in snapshot
        if key in {source.key, source.minus} or source.pattern.fullmatch(key)
    }

    left = [key for key in snapshot if key not in used]
    assert [key for key in left if not any(re.fullmatch(p, key) for p in LEFT_OUT)] == []


def test_every_metric_of_masters_has_a_sample_of_a_real_one() -> None:
    snapshot = recorded()
    empty = {
        metric.name
        for metric in MASTER
        if not any(True for source in metric.sources for _ in values(source, snapshot))
    }

    # No role had a guarantee of disk or GPUs when it was recorded.
    assert empty == {"mesos_allocator_quota_gpus", "mesos_allocator_quota_disk_bytes"}


def test_memory_is_told_in_bytes_and_time_in_seconds() -> None:
    told = samples(render([Target("master", "m:1", recorded())], [], "blue", 0.1))

    labels = 'color="blue",master="m:1"'
    assert told["mesos_master_mem_bytes", f'{labels},type="used"'] == 128 * 1024**2
    assert told["mesos_master_mem_bytes", f'{labels},type="free"'] == (4096 - 128) * 1024**2
    latency = told["mesos_allocator_run_latency_seconds", f'{labels},percentile="p50"']
    assert latency == pytest.approx(0.057088e-3)
    assert told["mesos_up", 'color="blue",kind="master",target="m:1"'] == 1


def test_labels_are_escaped() -> None:
    snapshot = {'allocator/mesos/roles/a"\\b/shares/dominant': 1.0}

    text = render([Target("master", "m", snapshot)], [], "", 0.1)

    assert 'role="a\\"\\\\b"' in text


def test_prometheus_finds_nothing_wrong_with_the_text(promtool: str) -> None:
    agent = {source.key: 1.0 for metric in AGENT for source in metric.sources}
    text = render(
        [Target("master", "m:1", recorded())], [Target("agent", "a:1", agent)], "blue", 0.1
    )

    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=_BOUND_S,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def one_gatherer(masters: list[str], **more: Any) -> Gatherer:
    return Gatherer(masters, None, timeout_s=5.0, with_agents=True, **more)


async def scrape(gatherer: Gatherer) -> dict[tuple[str, str], float]:
    transport = httpx.ASGITransport(make_app(gatherer, "blue"))
    async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(answer.text)


async def test_leader_followers_and_agents_of_a_live_cluster_are_told(rig: Rig) -> None:
    group = await rig.masters(count=3, zk_session_timeout_s=10)
    await rig.agent(zk_session_timeout_s=10)
    addresses = [master.address for master in group]
    gatherer = one_gatherer(addresses)
    try:

        async def told() -> dict[tuple[str, str], float] | None:
            found = await scrape(gatherer)
            active = [v for (n, s), v in found.items() if "connected_active" in s and "slaves" in n]
            return found if 1.0 in active else None

        found = await until(told, "an agent is told", 30.0)
        elected = [v for (name, _), v in found.items() if name == "mesos_master_elected"]
        assert sorted(elected) == [0, 0, 1]
        recovered = [v for (n, _), v in found.items() if n == "mesos_registrar_log_recovered"]
        assert recovered == [1, 1, 1]
        assert [v for (n, _), v in found.items() if n == "mesos_slave_registered"] == [1]
        assert {name for name, _ in found} <= NAMES

        follower = next(m for m in group if not m.master.elected)
        await follower.stop()

        found = await scrape(gatherer)
        down = {labels for (name, labels), v in found.items() if name == "mesos_up" and v == 0}
        assert down == {f'color="blue",kind="master",target="{follower.address}"'}
    finally:
        await gatherer.close()


@pytest.mark.long
async def test_a_cluster_that_does_not_answer_is_told_as_down() -> None:
    gatherer = one_gatherer(["127.0.0.1:1"])
    try:
        found = await scrape(gatherer)
    finally:
        await gatherer.close()

    assert found["mesos_up", 'color="blue",kind="master",target="127.0.0.1:1"'] == 0
    assert {name for name, _ in found} == {"mesos_up", "mesos_exporter_scrape_seconds"}


async def test_instances_of_marathon_are_told_by_who_has_their_credential(
    rig: Rig, tmp_path: Path
) -> None:
    credential = tmp_path / "operator"
    credential.write_text("operator:secret")
    credential.chmod(0o600)
    await rig.masters(count=1, zk_session_timeout_s=10)
    leading = await rig.leading(http_credentials_file=credential)
    other = await rig.marathon(http_credentials_file=credential)
    names = [one.marathon.settings.host_port for one in (leading, other)]
    gatherer = Gatherer(
        [], credential, timeout_s=5.0, with_agents=True, marathon=[*names, "127.0.0.1:1"]
    )
    try:
        found = await scrape(gatherer)
    finally:
        await gatherer.close()

    up = [found["mesos_up", f'color="blue",kind="marathon",target="{one}"'] for one in names]
    assert up == [1, 1]
    assert found["mesos_up", 'color="blue",kind="marathon",target="127.0.0.1:1"'] == 0
    led = "marathon_leadership_duration_gauge_seconds"
    assert found[led, f'color="blue",marathon="{names[0]}"'] > 0
    assert found[led, f'color="blue",marathon="{names[1]}"'] == 0
    assert {name for name, _ in found} <= NAMES
