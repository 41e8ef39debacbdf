"""The real engine is killed while it waits, and run again: nothing is done twice, nothing is left.

What a deployment or a drain waits for is a file of the test's, so that each is killed where it was
meant to be.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from clients.marathon import MarathonClient
from clients.marathon.model import App
from clients.mesos import OperatorClient
from clients.mesos.model import Agent, DrainState
from tests.local.engine import Project
from tests.local.rig import Rig, RunningMarathon
from tests.local.test_apps_engine import APP, PATIENT, client_of, leading
from tests.waiting import until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]
# An engine on a busy machine needs its time until it calls anybody.
BOUND_S = 240.0
GROUP = """
import pulumi
from components.marathon.endpoint import MarathonEndpoint
from components.marathon.group import GroupArgs, MarathonGroup

config = pulumi.Config()
endpoint = MarathonEndpoint("test", config.require_object("marathon"))
args = GroupArgs(config.require_object("group"), timeout_s=config.require_float("timeout"))
MarathonGroup("shop", args, endpoint)
"""
ROLLOUT = """
import pulumi
from components.marathon.endpoint import MarathonEndpoint
from components.marathon.rollout import RolloutSpec, Strategy
from components.marathon.versions import MarathonRollout, ServiceArgs

config = pulumi.Config()
endpoint = MarathonEndpoint("test", config.require_object("marathon"))
spec = RolloutSpec(Strategy.ROLLING, instances=2, soak_s=1, ready_timeout_s=600)
MarathonRollout("web", ServiceArgs(config.require_object("app"), spec), endpoint)
"""


def app(gate: Path, **fields: Any) -> dict[str, Any]:
    """An app that is healthy once a file is there."""
    check = {
        "protocol": "COMMAND",
        "command": {"value": f"test -e {gate}"},
        "gracePeriodSeconds": 300,
        "intervalSeconds": 1,
        "timeoutSeconds": 5,
    }
    command = "exec sleep 1000000"
    return {"id": "/app", "cmd": command, "cpus": 0.1, "mem": 32, "healthChecks": [check], **fields}


async def versions(marathon: RunningMarathon, app_id: str) -> int:
    """How often an app has been changed."""
    return len((await marathon.get(f"/v2/apps{app_id}/versions"))["versions"])


async def found(client: MarathonClient, app_id: str) -> App:
    app = await client.app(app_id)
    assert app is not None
    return app


async def remove_killed_once(
    project: Project, marathon: RunningMarathon, client: MarathonClient
) -> None:
    """Destroy a stack in two goes: what has gone already is not removed again."""

    async def begins() -> bool:
        # Or is over already: nothing holds a removal up.
        return bool(marathon.marathon.deployments.running) or await client.apps() == ()

    async with project.killed_midway("destroy", "--yes", "--skip-preview"):
        await until(begins, "the removal", BOUND_S)
    await project.destroy()
    await marathon.settled()
    assert await client.apps() == ()


@pytest.mark.long
async def test_a_killed_deployment_is_waited_for_by_the_next_update(
    rig: Rig, tmp_path: Path
) -> None:
    marathon = await leading(rig)
    gate = tmp_path / "healthy"
    project = Project(tmp_path, program=APP)
    here = [marathon.marathon.settings.host_port]
    await project.start(marathon=here, app=app(gate), timeout=BOUND_S)
    async with client_of(marathon) as client:

        async def begun(number: int) -> None:
            """So many versions, and a deployment that waits for health."""

            async def waits() -> bool:
                apps = await client.apps()
                is_there = bool(apps) and apps[0].running > 0 and bool(apps[0].deployments)
                return is_there and await versions(marathon, "/app") == number

            await until(waits, "the deployment waits", BOUND_S)

        # During its creation, of which the state knows nothing.
        async with project.killed_midway("up", "--yes", "--skip-preview"):
            await begun(1)
        tasks = {task.id for task in await client.tasks()}
        gate.touch()
        await project.up()
        assert (await found(client, "/app")).deployments == ()
        assert {task.id for task in await client.tasks()} == tasks
        assert await versions(marathon, "/app") == 1
        await project.assert_unchanged()

        # During a change.
        gate.unlink()
        project.configure(app=app(gate, cpus=0.2))
        async with project.killed_midway("up", "--yes", "--skip-preview"):
            await begun(2)
        gate.touch()
        await project.up()
        changed = await found(client, "/app")
        assert (changed.deployments, changed.definition["cpus"]) == ((), 0.2)
        assert await versions(marathon, "/app") == 2
        await project.assert_unchanged()

        await remove_killed_once(project, marathon, client)


@pytest.mark.long
async def test_a_creation_that_does_not_end_in_time_is_rolled_back(
    rig: Rig, tmp_path: Path
) -> None:
    marathon = await leading(rig)
    gate = tmp_path / "healthy"
    project = Project(tmp_path, program=APP)
    here = [marathon.marathon.settings.host_port]
    await project.start(marathon=here, app=app(gate), timeout=10)
    async with client_of(marathon) as client:
        told = await project.up(refused=True)
        assert "expected /app to be deployed within 10 s, saw deployment" in told
        assert "; it was rolled back. " in told
        assert "Traceback" not in told
        assert await client.apps() == (), "what was created is gone again"

        gate.touch()
        project.configure(timeout=BOUND_S)
        await project.up()
        assert (await found(client, "/app")).running == 1
        await project.destroy()


@pytest.mark.robustness
async def test_a_change_that_does_not_end_in_time_is_taken_back_and_the_state_is_true(
    rig: Rig, tmp_path: Path
) -> None:
    marathon = await leading(rig)
    gate, other = tmp_path / "healthy", tmp_path / "other"
    gate.touch()
    project = Project(tmp_path, program=APP)
    here = [marathon.marathon.settings.host_port]
    await project.start(marathon=here, app=app(gate), timeout=BOUND_S)
    async with client_of(marathon) as client:
        await project.up()
        (first,) = await client.tasks()

        # Its roll-back gets as long again, and starts an instance on a machine that may be busy.
        project.configure(app=app(other, cpus=0.2), timeout=45)
        told = await project.up(refused=True)
        assert "expected /app to be deployed within 45 s, saw deployment" in told
        assert "; it was rolled back. " in told
        back = await found(client, "/app")
        assert (back.definition["cpus"], back.running, back.deployments) == (0.1, 1, ())
        assert str(gate) in str(back.definition["healthChecks"])
        assert await project.refresh() == {}
        written = await versions(marathon, "/app")
        project.configure(app=app(gate), timeout=BOUND_S)
        await project.up()
        assert await versions(marathon, "/app") == written, "as the state has it, it is"

        # The same change, once it can become healthy.
        other.touch()
        project.configure(app=app(other, cpus=0.2))
        assert "~ 1 updated" in await project.up()
        changed = await found(client, "/app")
        assert (changed.definition["cpus"], changed.running) == (0.2, 1)
        assert first.id not in {one.id for one in await client.tasks()}
        await project.assert_unchanged()


def shop(folder: Path, version: str = "", **fields: Any) -> dict[str, Any]:
    """Two apps, healthy once their file is there; one waits for the other. Who is asked to end does
    so once a third file is there.
    """
    may_end = f'test -n "$asked" -a -e {folder / "end"}'
    ending = f"trap 'asked=1' TERM; until {may_end}; do sleep 0.1; done"

    def member(name: str, **more: Any) -> dict[str, Any]:
        made = app(folder / f"{name}{version}", cmd=ending, taskKillGracePeriodSeconds=600, **more)
        return {**made, "id": name}

    page = member("page", dependencies=["store"], **fields)
    return {"id": "/shop", "apps": [member("store", **fields), page]}


@pytest.mark.robustness
async def test_a_killed_deployment_of_a_group_is_finished_and_not_made_twice(
    rig: Rig, tmp_path: Path
) -> None:
    marathon = await leading(rig)
    project = Project(tmp_path, program=GROUP)
    here = [marathon.marathon.settings.host_port]
    first: dict[str, Any] = {"labels": {"version": "1"}}
    await project.start(marathon=here, group=shop(tmp_path, **first), timeout=BOUND_S)
    files = {name: tmp_path / name for name in ("store", "page", "end")}
    async with client_of(marathon) as client:

        async def version() -> str:
            """Another one with each write."""
            return str((await marathon.get("/v2/groups/shop"))["version"])

        async def running() -> dict[str, set[str]]:
            tasks = await client.tasks()
            return {
                name: {one.id for one in tasks if one.app_id == f"/shop/{name}"}
                for name in ("store", "page")
            }

        async def first_app_waits() -> bool:
            store = await client.app("/shop/store")
            return store is not None and bool(store.deployments) and store.running > 0

        # During its creation, of which the state knows nothing: one app runs, the other waits.
        async with project.killed_midway("up", "--yes", "--skip-preview"):
            await until(first_app_waits, "the store waits for its health", BOUND_S)
        written, begun = await version(), await running()
        assert begun["page"] == set()
        files["store"].touch()
        files["page"].touch()
        await project.up()
        done = await running()
        assert (done["store"], len(done["page"])) == (begun["store"], 1)
        assert await version() == written
        await project.assert_unchanged()

        # During a change of both, which also drops a field. A refresh sees what stands there.
        second = {name: tmp_path / f"{name}2" for name in ("store", "page")}
        project.configure(group=shop(tmp_path, "2", cpus=0.2))

        async def replaced() -> bool:
            return len((await running())["store"] - done["store"]) == 1

        async with project.killed_midway("up", "--yes", "--skip-preview"):
            await until(replaced, "a second store waits for its health", BOUND_S)
        written, begun = await version(), await running()
        seen = (await project.refresh())["shop"]
        assert len(re.findall(r"cpus *: 0.2", seen)) == 2, seen
        assert (begun["page"], await version()) == (done["page"], written)
        for file in (*second.values(), files["end"]):
            file.touch()
        told = await project.pulumi("up", "--yes", "--refresh", "--skip-preview")
        assert "~ 1 updated" in told
        after = await running()
        assert after["store"] == begun["store"] - done["store"], "what was begun serves"
        assert len(after["page"] - done["page"]) == 1 == len(after["page"])
        assert await version() == written
        apps = await client.apps()
        assert [(one.definition["cpus"], one.definition["labels"]) for one in apps] == [
            (0.2, {}),
            (0.2, {}),
        ]
        await project.assert_unchanged()
        assert await project.refresh() == {}

        await remove_killed_once(project, marathon, client)


@pytest.mark.robustness
async def test_a_group_that_is_not_deployed_in_time_is_rolled_back(
    rig: Rig, tmp_path: Path
) -> None:
    marathon = await leading(rig)
    project = Project(tmp_path, program=GROUP)
    here = [marathon.marathon.settings.host_port]
    # Its tasks end when they are asked to.
    (tmp_path / "end").touch()
    await project.start(marathon=here, group=shop(tmp_path), timeout=10)
    async with client_of(marathon) as client:
        told = await project.up(refused=True)
        assert "expected /shop to be deployed within 10 s, saw deployment" in told
        assert "; it was rolled back. " in told
        assert "Traceback" not in told
        assert await client.apps() == (), "what was created is gone again"
        await project.destroy()


@pytest.mark.long
async def test_a_killed_roll_out_is_gone_on_with(rig: Rig, tmp_path: Path) -> None:
    marathon = await leading(rig)
    gate = tmp_path / "healthy"
    gate.touch()
    project = Project(tmp_path, program=ROLLOUT)
    here = [marathon.marathon.settings.host_port]
    service = {**app(gate), "id": "/web", "instances": 2}
    await project.start(marathon=here, app=service)
    async with client_of(marathon) as client:
        await project.up()
        assert [one.id for one in await client.apps()] == ["/web-a"]
        gate.unlink()
        second = tmp_path / "second"
        project.configure(app={**app(second), "id": "/web", "instances": 2})
        gate.touch()

        async def begun() -> bool:
            new = await client.app("/web-b")
            return new is not None and new.running == 1

        async with project.killed_midway("up", "--yes", "--skip-preview"):
            await until(begun, "one of the second version runs", BOUND_S)
        first = await client.app_tasks("/web-b")
        old = await found(client, "/web-a")
        assert (len(first), old.healthy) == (1, 2), "the first version still carries all"
        second.touch()
        await project.up()
        assert [(one.id, one.healthy) for one in await client.apps()] == [("/web-b", 2)]
        assert first[0].id in {task.id for task in await client.app_tasks("/web-b")}
        await project.assert_unchanged()
        await project.destroy()
        assert await client.apps() == ()


@pytest.mark.long
async def test_a_killed_drain_is_waited_for_and_not_asked_for_twice(
    rig: Rig, tmp_path: Path
) -> None:
    (master,) = await rig.masters(count=1, **PATIENT)
    # Its tasks end when they like.
    agent = await rig.agent(executor_shutdown_grace_period_s=600, **PATIENT)
    gate = tmp_path / "end"
    command = f"trap '' TERM; while ! test -e {gate}; do sleep 0.1; done"
    framework = await rig.framework(tasks=2, command=command, **PATIENT)
    await rig.healthy(framework, 2)
    project = Project(tmp_path, example="drain")
    await project.start(masters=[master.address], agentId=agent.id, graceSeconds=500)
    async with OperatorClient([master.address], timeout_s=30) as client:

        async def seen() -> Agent:
            (found,) = (await client.agents()).registered
            return found

        async def is_draining() -> bool:
            drain = (await seen()).drain
            return drain is not None and drain.state is DrainState.DRAINING

        async with project.killed_midway("up", "--yes", "--skip-preview"):
            await until(is_draining, "the drain", BOUND_S)
        assert await is_draining()
        assert len((await client.tasks()).live) == 2
        gate.touch()
        await project.up()
        drain = (await seen()).drain
        assert drain is not None
        # A second call would have dropped the grace period.
        assert (drain.state, drain.max_grace_period_s) == (DrainState.DRAINED, 500)
        assert (await client.tasks()).live == ()
        await project.assert_unchanged()
        gate.unlink()
        await project.destroy()
        assert not (await seen()).deactivated
