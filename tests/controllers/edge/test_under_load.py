"""A real HAProxy, kept up by the edge as a process, while its app moves from agent to agent and is
restarted in place, as Marathon does both: old instances are asked to end as new ones are healthy.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from controllers.edge.render import HEALTH_PATH, METRICS_PATH
from tests.controllers.edge import instance
from tests.controllers.edge.load import Load
from tests.controllers.edge.running import RunningEdge, edge_of
from tests.local.moving import Stage, stage
from tests.local.rig import Rig
from tests.waiting import until

HOST = "web.example"
_BOUND_S = 60.0
# Nobody asks an instance that the edge has heard the end of.
_QUIET_S = 1.0


def app(instances: int, *, least_s: float, quiet_s: float) -> dict[str, Any]:
    """The app, whose instances are lame ducks as `instance` says."""
    return {
        "id": "/web",
        # A list of ours, below the rig's own folder: no shell reads the path.
        "cmd": f"exec python3 -I {instance.__file__} $PORT0 {least_s:g} {quiet_s:g}",
        "cpus": 0.1,
        "mem": 32,
        "instances": instances,
        "taskKillGracePeriodSeconds": 30,
        "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": HOST},
        "healthChecks": [
            {
                "protocol": "HTTP",
                "path": instance.HEALTH,
                "portIndex": 0,
                "gracePeriodSeconds": 60,
                "intervalSeconds": 1,
                "timeoutSeconds": 10,
                "maxConsecutiveFailures": 6,
            }
        ],
    }


# As docs/edge.md has it.
BY_TIME = app(4, least_s=10, quiet_s=0)
# However slow the machine is, an edge that has learned is what ends it.
UNTIL_QUIET = app(2, least_s=0, quiet_s=_QUIET_S)


async def move_under_load(
    rig: Rig,
    here: Stage,
    edge: RunningEdge,
    requests: int,
    *,
    restarts_min: int,
    clients: int = 16,
) -> None:
    """Move the app and restart it in place, again and again, until so many requests were made."""
    client, instances = here.client, int(here.app["instances"])

    async def all_well() -> bool:
        app = await client.app("/web")
        return app is not None and app.healthy == instances

    await until(all_well, "healthy instances", _BOUND_S)
    before, first = await here.tasks(), await edge.digest()
    load = Load(edge.http_port, HOST, clients=clients)
    await until(lambda: edge_serves(edge), "requests are served", _BOUND_S)
    sending = asyncio.create_task(load.run(at_least=requests))
    restarts = 0
    try:
        await until(lambda: load.count.sent > requests // 10, "some requests", _BOUND_S)
        (evidence,) = await here.move()
        # Until those that came serve too; then all are replaced where they stand.
        await until(lambda: len(load.count.by_instance) >= 2 * instances, "new instances", _BOUND_S)
        while load.count.sent < requests or restarts < restarts_min:
            await client.restart_app("/web")
            restarts += 1
            await here.marathon.settled()
    finally:
        load.stop()
    count = await sending

    assert evidence.numbers["healthy_min"] == {"/web": instances}
    assert count.broken == [], edge.not_whole()
    assert count.whole >= requests
    assert len(count.by_instance) >= (2 + restarts) * instances
    after = await here.tasks()
    assert not before.keys() & after.keys()
    assert await edge.digest() not in {None, first}
    # It heard of each that was asked to end while that could still answer.
    ended = quiet_s(rig.folder)
    assert len(ended) >= (1 + restarts) * instances
    assert min(ended) >= _QUIET_S, ended
    sys.stdout.write(
        f"{count.whole} requests in {count.seconds:.1f} s over {count.connections} connections, "
        f"{restarts} restarts, {len(count.by_instance)} instances, {len(edge.applied()) - 1} "
        f"reloads, at most {max(edge.behind_s()):.2f} s behind\n"
    )


def quiet_s(folder: Path) -> list[float]:
    """For how long nobody had asked instances when they ended; 0 of one that could not say."""
    ended = [one.with_name("stdout").read_text() for one in folder.glob("*/sandboxes/*/exit")]
    return [float(said or 0) for said in ended]


async def edge_serves(edge: RunningEdge) -> bool:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.get(f"http://127.0.0.1:{edge.http_port}/", headers={"host": HOST})
    return answer.is_success


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_no_request_breaks_while_an_app_moves_and_is_restarted_in_place(
    rig: Rig, haproxy: str, run_dir: Path
) -> None:
    async with (
        stage(rig, UNTIL_QUIET) as here,
        edge_of(here, haproxy, run_dir, reload_interval_s=0.2) as edge,
    ):
        await move_under_load(rig, here, edge, 1_000, restarts_min=1, clients=2)


# At 2,500 to 3,700 requests a second (docs/edge.md); beside other work it takes longer.
@pytest.mark.long
@pytest.mark.timeout(900)
async def test_none_of_100_000_requests_breaks_while_an_app_moves_from_blue_to_green(
    rig: Rig, haproxy: str, run_dir: Path
) -> None:
    """With the edge's own settings, and lame ducks as the operators' page has them."""
    async with stage(rig, BY_TIME) as here, edge_of(here, haproxy, run_dir) as edge:
        await move_under_load(rig, here, edge, 100_000, restarts_min=3)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_edge_serves_on_while_marathon_is_away(
    rig: Rig, haproxy: str, run_dir: Path
) -> None:
    async with (
        stage(rig, BY_TIME, with_room=False) as here,
        edge_of(here, haproxy, run_dir) as edge,
    ):
        await until(lambda: edge_serves(edge), "requests are served", _BOUND_S)
        digest = await edge.digest()

        await here.marathon.stop()

        assert await edge_serves(edge)
        assert await edge.digest() == digest
        assert (await edge.get(HEALTH_PATH)).is_success
        assert "haproxy_backend_active_servers" in (await edge.get(METRICS_PATH)).text
        assert edge.process.returncode is None
