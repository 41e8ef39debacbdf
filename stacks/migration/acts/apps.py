"""Acts on Marathon's apps: take them off agents that go, and give them back their size.

What to do next is decided in stacks.migration.app_moves. How many instances an app should have is
taken down before the first of them moves, with the inventory: afterwards an app that is being moved
cannot be told from one that its owner made larger.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from clients.marathon import MarathonClient
from clients.marathon.deployment import why_not_placed
from clients.marathon.errors import MarathonError
from clients.marathon.model import App
from stacks.migration import app_moves, marathon
from stacks.migration.acts.agents import TAKEN, recorded
from stacks.migration.app_moves import AppSeen, Await, Grow, Moved, Retire, Shrink
from stacks.migration.errors import ActFailedError
from stacks.migration.evidence import Evidence, Findings
from stacks.migration.executor import Situation
from stacks.migration.readers import Inventory
from stacks.migration.updates import Tell
from stacks.migration.waiting import NotYetError, wait_until
from stacks.migration.world import World

# An app that does not come to its end by so many steps grows faster than it is moved.
_STEPS_MAX = 400


async def move_apps(
    world: World, situation: Situation, agent_ids: frozenset[str], tell: Tell
) -> tuple[Evidence, ...]:
    """Take every app off some agents, one after the other; none where there is no Marathon."""
    if not world.has_marathon:
        return ()
    client = await world.marathon()
    sizes = (recorded(situation) or Inventory()).apps
    lowest: dict[str, int] = {}
    wanted: dict[str, int] = {}
    moved = 0
    for app in await client.apps():
        wanted[app.id] = min(sizes.get(app.id, app.instances), app.instances)
        move = _Move(world, client, app.id, wanted[app.id], agent_ids, tell)
        try:
            await move.all()
        except ActFailedError:
            # An app that found no place is left as it was, and tells why.
            await _undo(client, app.id, move.deployment)
            raise
        moved += move.moved
        lowest[app.id] = move.lowest
    ok = all(low >= wanted[app_id] for app_id, low in lowest.items())
    said = f"{moved} tasks of {len(lowest)} apps, fewest healthy {lowest}"
    numbers = {"moved": moved, "healthy_min": lowest, "target": wanted}
    return (Evidence("apps moved", ok=ok, said=said, numbers=numbers, told_by="/v2/apps"),)


@dataclass
class _Move:
    """One app on its way; `lowest` is the fewest healthy instances that were seen."""

    world: World
    client: MarathonClient
    app_id: str
    size: int
    agent_ids: frozenset[str]
    tell: Tell
    moved: int = 0
    lowest: int = field(init=False)
    deployment: str | None = None

    def __post_init__(self) -> None:
        self.lowest = self.size

    async def all(self) -> None:
        """Take steps until none is left, each within the bound of a batch."""
        for _ in range(_STEPS_MAX):
            try:
                done = await wait_until(
                    f"{self.app_id} to take its next step",
                    self._look,
                    bound_s=self.world.bounds.batch_s,
                    tell=self.tell,
                )
            except ActFailedError as error:
                msg = f"{error}. {await why_not_placed(self.client)}"
                raise ActFailedError(msg) from None
            if done:
                return
        msg = f"expected all tasks of {self.app_id} to leave, saw new ones come: scale it down"
        raise ActFailedError(msg)

    async def _look(self) -> bool:
        """Take one step; whether that was the last."""
        app = await self.client.app(self.app_id)
        if app is None:
            return True  # Its owner removed it.
        tasks = await self.client.app_tasks(self.app_id)
        there = marathon.tasks_on(tasks, self.agent_ids)
        healthy = marathon.healthy(app)
        self.lowest = min(self.lowest, healthy)
        seen = AppSeen(
            size=self.size,
            instances=app.instances,
            healthy=healthy,
            leaving=there.staying,
            deployments=app.deployments,
            ending=there.ending,
        )
        step = app_moves.next_step(seen, batch=self.world.bounds.batch_size)
        match step:
            case Await(what):
                msg = f"{self.app_id}: {what}"
                raise NotYetError(msg)
            case Moved():
                return True
            case Grow(instances) | Shrink(instances):
                self.tell(f"{self.app_id}: {app.instances} -> {instances} instances")
                started = await self.client.scale_app(self.app_id, instances)
                self.deployment = started.deployment_id
            case Retire(doomed):
                self.tell(f"{self.app_id}: {len(doomed)} old instances end")
                await self.client.kill_tasks(doomed, scale=True)
                self.deployment = None
                self.moved += len(doomed)
        return False


async def _undo(client: MarathonClient, app_id: str, deployment: str | None) -> None:
    """Give up growing, if that is what did not end; the failure itself is told by another error."""
    with suppress(MarathonError):
        app = await client.app(app_id)
        if app is not None and deployment in app.deployments:
            await client.roll_back(deployment)


async def restore_sizes(world: World, situation: Situation, tell: Tell) -> Findings:
    """Give apps their size back, where a walk the other way was left in the middle of a move."""
    edge = situation.transition.edge
    assert edge is not None
    evidence = situation.story.evidence_of(TAKEN, edge=edge)
    taken = Inventory.from_dict(evidence["inventory"]) if evidence else Inventory()
    wanted = taken.apps
    if not wanted or not world.has_marathon:
        return Findings(numbers={"skipped": "no app was left in the middle of a move"})
    client = await world.marathon()

    async def look() -> Evidence:
        larger = await _shrink(client, wanted)
        if larger:
            msg = f"apps that are still larger than before: {', '.join(larger)}"
            raise NotYetError(msg)
        said = f"{len(wanted)} apps have the size that they had"
        return Evidence("app sizes", ok=True, said=said, numbers=dict(wanted), told_by="/v2/apps")

    what = "apps to have the size that they had"
    return Findings((await wait_until(what, look, bound_s=world.bounds.batch_s, tell=tell),))


async def _shrink(client: MarathonClient, wanted: Mapping[str, int]) -> list[str]:
    apps = [app for app in await client.apps() if app.id in wanted]
    for app in apps:
        await _shrink_one(client, app, wanted[app.id])
    return [app.id for app in apps if app.instances > wanted[app.id] or app.deployments]


async def _shrink_one(client: MarathonClient, app: App, size: int) -> None:
    if app.instances <= size:
        return
    for deployment in app.deployments:
        # It waits for offers that the other side's agents will not make.
        await client.roll_back(deployment)
    if not app.deployments:
        await client.scale_app(app.id, size)
