"""An app of a Marathon that runs, on an agent that it is to leave for another."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from clients.marathon import MarathonClient
from stacks.migration.acts import apps
from stacks.migration.bounds import Bounds
from stacks.migration.evidence import Evidence
from stacks.migration.executor import Situation
from stacks.migration.readers import Inventory
from stacks.migration.world import World
from tests.local.rig import Rig, RunningMarathon

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
    app: dict[str, Any] = field(default_factory=lambda: APP)
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
            self.world(batch_s),
            self.situation({str(self.app["id"]): int(self.app["instances"])}),
            frozenset({self.leaving}),
            self.tell,
        )

    def tell(self, _: str) -> None:
        there = self.marathon.marathon.state.of_app(str(self.app["id"]))
        self.least.append(sum(1 for one in there if one.is_running and not one.killing))

    async def tasks(self) -> dict[str, str]:
        found = await self.client.app_tasks(str(self.app["id"]))
        return {task.id: str(task.agent_id) for task in found}


@asynccontextmanager
async def stage(
    rig: Rig, app: dict[str, Any] = APP, *, with_room: bool = True
) -> AsyncGenerator[Stage]:
    """An app on an agent that takes no more tasks; with room, another agent beside it."""
    (master,) = await rig.masters(count=1, **SLOW)
    leaving = await rig.agent(number=0, **SLOW)
    marathon = await rig.leading()
    host_port = marathon.marathon.settings.host_port
    async with MarathonClient([host_port], timeout_s=BOUND_S) as client:
        await marathon.change("POST", "/v2/apps", app)
        await marathon.running(app["id"], app["instances"])
        await marathon.settled()
        if with_room:
            await rig.agent(number=1, resources={"ports": [32001, 32100]}, **SLOW)
        assert leaving.id is not None
        answer = await rig.call(
            master,
            {"type": "DEACTIVATE_AGENT", "deactivate_agent": {"agent_id": {"value": leaving.id}}},
        )
        assert answer.is_success, answer.text
        yield Stage(marathon, client, leaving.id, app)
