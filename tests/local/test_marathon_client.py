"""The typed client of Marathon on a Marathon that runs: what it asks for happens, and is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from clients.marathon import (
    AuthenticationError,
    InvalidError,
    LockedError,
    MarathonClient,
    RequestRefusedError,
)
from clients.marathon.deployment import deploy
from clients.marathon.errors import DeploymentTimeoutError
from clients.marathon.events import Attached, DeploymentSucceeded, Event, TaskChanged
from clients.marathon.model import App, Started
from tests.local.rig import Rig, RunningMarathon
from tests.waiting import until

SLOW: dict[str, Any] = {"zk_session_timeout_s": 10}
SLEEP: dict[str, Any] = {"id": "/sleep", "cmd": "exec sleep 1000000", "cpus": 0.1, "mem": 32}
# More than any agent has.
HUGE: dict[str, Any] = {**SLEEP, "id": "/huge", "cpus": 1000}
BOUND_S = 30.0


def client_of(marathon: RunningMarathon, credential: Path | None = None) -> MarathonClient:
    return MarathonClient([marathon.marathon.settings.host_port], credential, timeout_s=BOUND_S)


async def leading(rig: Rig, **settings: Any) -> RunningMarathon:
    await rig.masters(count=1, **SLOW)
    await rig.agent(**SLOW)
    return await rig.leading(**settings)


async def deployed(client: MarathonClient, started: Started | None) -> None:
    assert started is not None

    async def over() -> bool:
        return all(one.id != started.deployment_id for one in await client.deployments())

    await until(over, "the deployment is over", BOUND_S)


async def app_of(client: MarathonClient, app_id: str) -> App:
    app = await client.app(app_id)
    assert app is not None
    return app


async def test_an_app_is_created_changed_restarted_and_deleted(rig: Rig) -> None:
    async with client_of(await leading(rig)) as client:
        assert await client.app("/sleep") is None
        await deployed(client, await client.create_app({**SLEEP, "instances": 2}))
        app = await app_of(client, "/sleep")
        assert (app.instances, app.running, app.deployments) == (2, 2, ())
        assert [one.id for one in await client.apps()] == ["/sleep"]
        before = {task.id for task in await client.app_tasks("/sleep")}

        await deployed(client, await client.update_app("/sleep", {"labels": {"a": "b"}}))
        app = await app_of(client, "/sleep")
        assert (app.instances, app.definition["labels"]) == (2, {"a": "b"})
        await deployed(client, await client.scale_app("/sleep", 1))
        await deployed(client, await client.restart_app("/sleep"))
        (task,) = await client.tasks()
        assert task.app_id == "/sleep"
        assert task.id not in before

        replaced = {**SLEEP, "instances": 1}
        await deployed(client, await client.update_app("/sleep", replaced, replace=True))
        assert (await app_of(client, "/sleep")).definition.get("labels", {}) == {}
        with pytest.raises(RequestRefusedError, match="already exists"):
            await client.create_app(SLEEP)
        with pytest.raises(InvalidError):
            await client.update_app("/sleep", {"instances": -1})
        await deployed(client, await client.delete_app("/sleep"))
        assert await client.delete_app("/sleep") is None
        assert await client.tasks() == ()


async def test_a_group_is_put_read_and_deleted(rig: Rig) -> None:
    async with client_of(await leading(rig)) as client:
        definition = {
            "id": "/shop",
            "apps": [{**SLEEP, "id": "/shop/db"}],
            "groups": [
                {
                    "id": "/shop/front",
                    "dependencies": ["/shop/db"],
                    "apps": [{**SLEEP, "id": "/shop/front/web", "instances": 2}],
                }
            ],
        }
        await deployed(client, await client.put_group("/shop", definition))
        group = await client.group("/shop")
        assert group is not None
        counts = {app.id: app.running for app in group.all_apps()}
        assert counts == {"/shop/db": 1, "/shop/front/web": 2}
        assert group.groups[0].dependencies == ("/shop/db",)
        # What is not named is removed.
        definition["groups"] = []
        await deployed(client, await client.put_group("/shop", definition))
        assert [app.id for app in await client.apps()] == ["/shop/db"]
        await deployed(client, await client.delete_group("/shop"))
        assert await client.group("/shop") is None
        assert await client.delete_group("/shop") is None


async def test_a_deployment_that_runs_locks_its_app_and_is_rolled_back(rig: Rig) -> None:
    async with client_of(await leading(rig)) as client:
        await deployed(client, await client.create_app(SLEEP))
        started = await client.update_app("/sleep", {"cpus": 1000})
        (running,) = await client.deployments()
        assert (running.id, running.affected) == (started.deployment_id, ("/sleep",))
        assert (running.current_step, running.total_steps) == (1, 1)
        with pytest.raises(LockedError) as locked:
            await client.scale_app("/sleep", 2)
        assert locked.value.deployments == (started.deployment_id,)

        await deployed(client, await client.roll_back(started.deployment_id))
        app = await app_of(client, "/sleep")
        assert (app.definition["cpus"], app.running, app.deployments) == (0.1, 1, ())
        assert await client.roll_back(started.deployment_id) is None
        await deployed(client, await client.scale_app("/sleep", 2))


async def test_what_waits_for_offers_tells_why_not_and_time_undoes_it(rig: Rig) -> None:
    async with client_of(await leading(rig)) as client:

        async def never() -> bool:
            return False

        with pytest.raises(DeploymentTimeoutError) as timed_out:
            await deploy(client, "/huge", lambda: client.create_app(HUGE), timeout_s=2, holds=never)
        assert timed_out.value.rolled_back
        assert "InsufficientCpus" in str(timed_out.value)
        assert await client.app("/huge") is None

        started = await client.create_app(HUGE)

        async def reasons() -> set[str]:
            return {one.reason for waiting in await client.queue() for one in waiting.reasons}

        async def refused() -> bool:
            return "InsufficientCpus" in await reasons()

        await until(refused, "an offer was refused", BOUND_S)
        (waiting,) = await client.queue()
        assert (waiting.id, waiting.count) == ("/huge", 1)
        await client.reset_delay("/huge")
        await deployed(client, await client.roll_back(started.deployment_id))
        assert await client.queue() == ()


async def test_killed_tasks_are_replaced_or_take_their_instances_along(rig: Rig) -> None:
    async with client_of(await leading(rig)) as client:
        await deployed(client, await client.create_app({**SLEEP, "instances": 3}))
        before = {task.id for task in await client.app_tasks("/sleep")}
        doomed = min(before)

        started = await client.kill_tasks([doomed], scale=True)
        await deployed(client, started)
        assert (await app_of(client, "/sleep")).instances == 2
        left = {task.id for task in await client.app_tasks("/sleep")}
        assert left == before - {doomed}

        assert await client.kill_tasks([min(left)]) is None

        async def replaced() -> bool:
            tasks = await client.app_tasks("/sleep")
            running = {task.id for task in tasks if task.state == "TASK_RUNNING"}
            return len(running) == 2 and not running <= before

        await until(replaced, "the killed task is replaced", BOUND_S)
        assert (await app_of(client, "/sleep")).instances == 2


async def test_who_leads_and_what_it_says_of_itself(rig: Rig) -> None:
    first = await leading(rig)
    second = await rig.marathon()
    addresses = [one.marathon.settings.host_port for one in (first, second)]
    async with MarathonClient(addresses) as client:
        assert await client.leader() == addresses[0]
        info = await client.info()
        assert (info.framework_id, info.leader, info.elected) == (
            first.marathon.state.framework_id,
            addresses[0],
            True,
        )
        await client.abdicate()
        await until(lambda: first.failures, "the leader steps down", BOUND_S)
        await first.stop()
        await until(lambda: second.marathon.is_serving, "the other leads", BOUND_S)
        assert await client.leader() == addresses[1]
        assert (await client.info()).framework_id == info.framework_id


async def test_events_tell_of_a_deployment_and_its_tasks(rig: Rig) -> None:
    async with client_of(await leading(rig)) as client:
        seen: list[Event] = []
        events = client.events()
        watch = asyncio.create_task(_collect(events, seen))
        try:
            await until(lambda: any(isinstance(e, Attached) for e in seen), "attached", BOUND_S)
            started = await client.create_app(SLEEP)
            await until(
                lambda: DeploymentSucceeded(started.deployment_id) in seen, "it is told", BOUND_S
            )
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        changes = [event for event in seen if isinstance(event, TaskChanged)]
        assert [change.state for change in changes][-1] == "TASK_RUNNING"
        assert {change.app_id for change in changes} == {"/sleep"}


async def _collect(events: AsyncGenerator[Event], seen: list[Event]) -> None:
    async for event in events:
        seen.append(event)  # noqa: PERF401 - each is looked for as it comes


async def test_a_wrong_credential_is_told_and_asked_once(rig: Rig, tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("operator:secret")
    wrong.write_text("operator:other")
    marathon = await leading(rig, http_credentials_file=right)
    async with client_of(marathon, wrong) as client:
        with pytest.raises(AuthenticationError):
            await client.apps()
    async with client_of(marathon, right) as client:
        assert await client.apps() == ()
