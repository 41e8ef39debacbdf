"""Apps of a Marathon that runs are taken off agents, and keep their healthy instances meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from clients.marathon import MarathonClient
from stacks.migration.acts import apps
from stacks.migration.bounds import Bounds
from stacks.migration.errors import ActFailedError
from stacks.migration.evidence import Evidence
from stacks.migration.executor import Situation
from stacks.migration.readers import Inventory
from stacks.migration.world import World
from tests.local.rig import Rig, RunningMarathon
from tests.waiting import until

SLOW: dict[str, Any] = {"zk_session_timeout_s": 10}
APP: dict[str, Any] = {
    "id": "/web", "cmd": "exec sleep 1000000", "cpus": 0.1, "mem": 32, "instances": 3,
}  # fmt: skip
BOUND_S = 60.0


@dataclass
class Stage:
    """A Marathon whose app runs on one agent, and a second agent beside it."""

    marathon: RunningMarathon
    client: MarathonClient
    leaving: str
    least: list[int] = field(default_factory=list[int])

    def world(self, batch_s: float = BOUND_S) -> World:
        async def marathon() -> MarathonClient:
            return self.client

        bounds = Bounds(batch_size=2, batch_s=batch_s)
        parts = SimpleNamespace(has_marathon=True, marathon=marathon, bounds=bounds)
        return cast("World", parts)

    def situation(self, sizes: dict[str, int]) -> Situation:
        """A walk in whose journal these sizes stand."""
        evidence = {"inventory": Inventory(apps=sizes).as_dict()}
        story = SimpleNamespace(evidence_of=lambda *_, **__: evidence)  # pyright: ignore[reportUnknownLambdaType] - a stand-in's method
        parts = {"transition": SimpleNamespace(edge=4), "story": story}
        return cast("Situation", SimpleNamespace(**parts))

    async def move(self, batch_s: float = BOUND_S) -> tuple[Evidence, ...]:
        return await apps.move_apps(
            self.world(batch_s), self.situation({"/web": 3}), frozenset({self.leaving}), self.tell
        )

    def tell(self, _: str) -> None:
        there = self.marathon.marathon.state.of_app("/web")
        self.least.append(sum(1 for one in there if one.is_running and not one.killing))

    async def tasks(self) -> dict[str, str]:
        found = await self.client.app_tasks("/web")
        return {task.id: str(task.agent_id) for task in found}


@asynccontextmanager
async def stage(rig: Rig, *, with_room: bool = True) -> AsyncGenerator[Stage]:
    (master,) = await rig.masters(count=1, **SLOW)
    leaving = await rig.agent(number=0, **SLOW)
    marathon = await rig.leading()
    host_port = marathon.marathon.settings.host_port
    async with MarathonClient([host_port], timeout_s=BOUND_S) as client:
        await marathon.change("POST", "/v2/apps", APP)
        await marathon.running("/web", 3)
        await marathon.settled()
        if with_room:
            await rig.agent(number=1, resources={"ports": [32001, 32100]}, **SLOW)
        assert leaving.id is not None
        answer = await rig.call(
            master,
            {"type": "DEACTIVATE_AGENT", "deactivate_agent": {"agent_id": {"value": leaving.id}}},
        )
        assert answer.is_success, answer.text
        yield Stage(marathon, client, leaving.id)


async def test_an_app_leaves_agents_with_all_its_instances_healthy_all_the_time(rig: Rig) -> None:
    async with stage(rig) as here:
        before = await here.tasks()
        (evidence,) = await here.move()
        after = await here.tasks()
        assert evidence.ok
        assert evidence.numbers == {"moved": 3, "healthy_min": {"/web": 3}, "target": {"/web": 3}}
        assert len(after) == 3
        assert not before.keys() & after.keys()
        assert here.leaving not in after.values()
        assert min(here.least) >= 3
        assert (await here.move())[0].numbers["moved"] == 0


async def test_a_move_whose_runner_died_is_finished_by_the_next_one(rig: Rig) -> None:
    async with stage(rig) as here:
        first = asyncio.create_task(here.move())
        await until(
            lambda: len(here.marathon.marathon.state.of_app("/web")) > 3, "it has grown", BOUND_S
        )
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

        (evidence,) = await here.move()

        assert evidence.ok
        assert here.leaving not in (await here.tasks()).values()
        app = await here.client.app("/web")
        assert app is not None
        assert (app.instances, app.running) == (3, 3)


async def test_an_app_that_finds_no_place_stays_as_it_was_and_tells_why(rig: Rig) -> None:
    async with stage(rig, with_room=False) as here:
        before = await here.tasks()
        with pytest.raises(ActFailedError, match="/web waits for 2"):
            await here.move(batch_s=1.0)
        await here.marathon.settled()
        app = await here.client.app("/web")
        assert app is not None
        assert (app.instances, await here.tasks()) == (3, before)


async def test_an_app_that_was_left_larger_gets_its_size_back(rig: Rig) -> None:
    async with stage(rig, with_room=False) as here:
        before = await here.tasks()
        # The runner died after this step, and the way back is taken.
        await here.client.scale_app("/web", 5)
        found = await apps.restore_sizes(here.world(), here.situation({"/web": 3}), here.tell)
        assert found.evidence[0].ok
        app = await here.client.app("/web")
        assert app is not None
        assert (app.instances, app.deployments, await here.tasks()) == (3, (), before)
