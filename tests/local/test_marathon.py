"""A stand-in for Marathon on stand-in masters and agents, with a real ZooKeeper and real tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kazoo.exceptions import NoAuthError

from stacks.local.session import Session
from tests.local.rig import Rig, until

SLEEP: dict[str, Any] = {"id": "/sleep", "cmd": "exec sleep 1000000", "cpus": 0.1, "mem": 32}


async def test_an_app_runs_scales_and_is_deleted(rig: Rig) -> None:
    await rig.masters(count=1, zk_session_timeout_s=10)
    await rig.agent(zk_session_timeout_s=10)
    marathon = await rig.leading()
    await marathon.change("POST", "/v2/apps", {**SLEEP, "instances": 2})
    before = await marathon.running("/sleep", 2)
    await marathon.settled()
    app = (await marathon.get("/v2/apps/sleep"))["app"]
    assert (app["tasksRunning"], app["deployments"]) == (2, [])
    await marathon.change("PUT", "/v2/apps/sleep", {"instances": 3})
    tasks = await marathon.running("/sleep", 3)
    assert {task["id"] for task in before} < {task["id"] for task in tasks}
    await marathon.settled()
    await marathon.change("PATCH", "/v2/apps/sleep", {"instances": 1})
    await marathon.running("/sleep", 1)
    await marathon.settled()
    await marathon.change("DELETE", "/v2/apps/sleep")
    await marathon.settled()
    gone = await marathon.call("GET", "/v2/apps/sleep")
    assert (gone.status_code, gone.json()) == (404, {"message": "App '/sleep' does not exist"})
    assert marathon.marathon.state.instances == {}
    assert marathon.failures == []


async def test_a_changed_app_is_replaced_within_its_capacity(rig: Rig) -> None:
    await rig.masters(count=1, zk_session_timeout_s=10)
    await rig.agent(zk_session_timeout_s=10)
    marathon = await rig.leading()
    strategy = {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5}
    await marathon.change(
        "POST", "/v2/apps", {**SLEEP, "instances": 4, "upgradeStrategy": strategy}
    )
    before = await marathon.running("/sleep", 4)
    await marathon.settled()
    seen: list[tuple[int, int]] = []

    def note() -> bool:
        there = marathon.marathon.state.of_app("/sleep")
        seen.append((sum(i.is_running and not i.killing for i in there), len(there)))
        return not marathon.marathon.deployments.running

    await marathon.change("PUT", "/v2/apps/sleep", {"env": {"COLOR": "green"}})
    await until(note, "the deployment is over", 30.0)
    after = await marathon.running("/sleep", 4)
    assert not {task["id"] for task in before} & {task["id"] for task in after}
    assert min(running for running, _ in seen) >= 2
    assert max(total for _, total in seen) <= 6


async def test_a_task_gets_the_time_to_end_that_its_app_gives(rig: Rig, tmp_path: Path) -> None:
    await rig.masters(count=1, zk_session_timeout_s=10)
    await rig.agent(executor_shutdown_grace_period_s=0.1, zk_session_timeout_s=10)
    marathon = await rig.leading()
    told = tmp_path / "told"
    slow = f"trap 'sleep 1; touch {told}; exit' TERM; while :; do sleep 0.05; done"
    app = {"id": "/slow", "cmd": slow, "cpus": 0.1, "mem": 32, "taskKillGracePeriodSeconds": 60}
    await marathon.change("POST", "/v2/apps", app)
    await marathon.running("/slow", 1)
    await marathon.settled()
    await marathon.change("DELETE", "/v2/apps/slow")
    await marathon.settled()
    assert told.exists()


async def test_a_restarted_marathon_keeps_its_id_apps_and_tasks(rig: Rig) -> None:
    await rig.masters(count=1, zk_session_timeout_s=10)
    await rig.agent(zk_session_timeout_s=10)
    first = await rig.leading()
    await first.change("POST", "/v2/apps", {**SLEEP, "instances": 2})
    before = await first.running("/sleep", 2)
    await first.settled()
    framework_id = first.marathon.state.framework_id
    await first.stop()
    second = await rig.leading()
    assert second.marathon.state.framework_id == framework_id
    after = await second.running("/sleep", 2)
    assert {task["id"] for task in after} == {task["id"] for task in before}
    assert (await second.get("/v2/info"))["frameworkId"] == framework_id


async def test_its_state_is_its_own_where_it_says_who_it_is(rig: Rig, tmp_path: Path) -> None:
    identity = tmp_path / "zookeeper-mesos"
    identity.write_text("mesos:of-the-ensemble")
    await rig.masters(count=1, zk_session_timeout_s=10)
    first = await rig.leading(zk_auth_file=identity)
    await first.change("POST", "/v2/apps", {**SLEEP, "instances": 0})
    await first.settled()
    state = f"{first.marathon.settings.state.path}/state"
    stranger = Session(rig.hosts, timeout_s=10)
    await stranger.start(bound_s=30)
    try:
        for path in (state, f"{state}/storage-version"):
            with pytest.raises(NoAuthError):
                await stranger.get(path)
            with pytest.raises(NoAuthError):
                await stranger.set(path, b"somebody else")
        # Some find Marathon by it.
        (candidate,) = await stranger.children(
            f"{first.marathon.settings.state.path}/leader-curator"
        )
        assert candidate.startswith("_c_")
    finally:
        await stranger.close()
    await first.stop()

    again = await rig.leading(zk_auth_file=identity)

    assert (await again.get("/v2/apps/sleep"))["app"]["instances"] == 0
