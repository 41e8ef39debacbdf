"""Roll-outs of a service on a Marathon that runs, where a sick version stands in the way."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from clients.marathon import MarathonClient
from components.marathon import versions
from components.marathon.rollout import RolloutSpec, Strategy
from components.marathon.versions import ServiceSession, ServiceSpec
from tests.local.rig import Rig, RunningMarathon
from tests.waiting import until

SLOW: dict[str, Any] = {"zk_session_timeout_s": 10}
GOOD: dict[str, Any] = {"id": "/svc", "cmd": "exec sleep 1000000", "cpus": 0.1, "mem": 32}
# More than any agent has: it is never launched, and so its deployment never ends.
SICK: dict[str, Any] = {**GOOD, "cpus": 1000}
BOUND_S = 60.0
READY_S = 600.0
Declare = Callable[..., Awaitable[None]]


def spec(definition: dict[str, Any]) -> ServiceSpec:
    rollout = RolloutSpec(Strategy.ROLLING, 2, soak_s=0, ready_timeout_s=READY_S)
    return ServiceSpec({**definition, "instances": 2}, rollout, adopt=True, timeout_s=BOUND_S)


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """As a resource is brought to what it is declared, each call of its plan in turn; with
    `has_waited` all that may take its time has taken it after the first look."""
    monkeypatch.setattr(versions, "_POLL_S", 0.1)

    async def bring(
        marathon: RunningMarathon,
        old: ServiceSpec | None,
        new: ServiceSpec,
        *,
        has_waited: bool = False,
    ) -> None:
        looks = itertools.count()
        later_s = READY_S if has_waited else 0.0
        clock = SimpleNamespace(
            monotonic=lambda: time.monotonic() + (later_s if next(looks) else 0.0)
        )
        monkeypatch.setattr(versions, "time", clock)
        client = MarathonClient([marathon.marathon.settings.host_port], timeout_s=BOUND_S)
        session = ServiceSession(client, new)
        try:
            for call in session.plan(old, new, await session.observe(new)):
                await session.perform(call)
        finally:
            await session.close()

    return bring


async def interrupted(work: Awaitable[None], marathon: RunningMarathon, app_id: str) -> None:
    """End it while an app's deployment runs, as an update that is interrupted ends."""
    task = asyncio.ensure_future(work)

    async def is_deployed() -> bool:
        assert not task.done()
        return any(app_id in one["affectedApps"] for one in await marathon.get("/v2/deployments"))

    try:
        await until(is_deployed, f"{app_id} is deployed", BOUND_S)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def apps(marathon: RunningMarathon) -> dict[str, tuple[float, int]]:
    found = (await marathon.get("/v2/apps"))["apps"]
    return {app["id"]: (app["cpus"], app["tasksRunning"]) for app in found}


async def leading(rig: Rig) -> RunningMarathon:
    await rig.masters(count=1, **SLOW)
    await rig.agent(**SLOW)
    return await rig.leading(**SLOW)


async def test_a_first_version_that_never_runs_makes_room_for_the_mended_one(
    rig: Rig, declare: Declare
) -> None:
    marathon = await leading(rig)
    await interrupted(declare(marathon, None, spec(SICK)), marathon, "/svc-a")
    assert await apps(marathon) == {"/svc-a": (1000, 0)}

    await declare(marathon, None, spec(GOOD), has_waited=True)
    assert await apps(marathon) == {"/svc-b": (0.1, 2)}
    await marathon.settled()


async def test_the_former_version_comes_back_although_the_new_one_never_runs(
    rig: Rig, declare: Declare
) -> None:
    marathon = await leading(rig)
    good, sick = spec(GOOD), spec(SICK)
    await declare(marathon, None, good)
    await interrupted(declare(marathon, good, sick), marathon, "/svc-b")
    assert await apps(marathon) == {"/svc-a": (0.1, 2), "/svc-b": (1000, 0)}

    await declare(marathon, sick, good, has_waited=True)
    assert await apps(marathon) == {"/svc-a": (0.1, 2)}
    await marathon.settled()
