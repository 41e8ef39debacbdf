"""Masters of one colour as processes that a runner stops, wipes and starts, and that elect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

from clients.mesos.errors import UnreachableError
from clients.mesos.model import Agents
from components.targets.supervisor import State, Status, Supervisor
from stacks.migration import journal
from stacks.migration.acts.masters import RESET
from stacks.migration.bounds import Bounds
from stacks.migration.executor import Situation
from stacks.migration.hosts.local import LocalMasters
from stacks.migration.journal import Kind, Outcome, Record
from stacks.migration.phases import Direction
from stacks.migration.planner import walk
from stacks.migration.readers import RECOVERED, Candidate
from stacks.migration.world import World
from stacks.topology import Color, Position, Standing
from sync_engine.client import ProjectionKind
from tests.stacks.migration.fake_masters import agent
from tests.stacks.migration.fake_world import KilledError


@dataclass
class Group:
    """Three masters by a replicated log's rule: a quorum that knows the registry hands it on, and
    only a group that is empty as a whole begins anew. `kill_at` ends the runner at its nth order.
    """

    color: Color
    numbers: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 1, 2: 2})
    """Election number of each master that runs."""
    knows: set[int] = field(default_factory=lambda: {0, 1, 2})
    """Masters whose log has the registry with its agents."""
    lists: bool = True
    """Whether agents that went to the other side are still listed."""
    number_next: int = 3
    orders: int = 0
    kill_at: int | None = None

    @property
    def masters(self) -> tuple[str, ...]:
        return tuple(f"{self.color}:{index}" for index in range(3))

    # Supervisor

    def stop(self, name: str) -> None:
        self.numbers.pop(_index(name), None)
        self._obey()

    def wipe(self, name: str, volumes: Sequence[str]) -> None:
        assert volumes == ["work"]
        assert _index(name) not in self.numbers, f"{name} runs"
        self.knows.discard(_index(name))
        self._obey()

    def start(self, name: str) -> None:
        if _index(name) not in self.numbers:
            self.numbers[_index(name)] = self.number_next
            self.number_next += 1
        self._obey()

    def status(self, name: str) -> Status:
        return Status(State.RUNNING if _index(name) in self.numbers else State.STOPPED)

    def _obey(self) -> None:
        self.orders += 1
        if self.orders == self.kill_at:
            self.kill_at = None
            raise KilledError

    # Masters

    def _recovered(self) -> set[int]:
        running = set(self.numbers)
        if len(running & self.knows) > 1:
            self.knows |= running
            return running
        return set() if self.knows or len(running) < 3 else running

    async def leader(self) -> str:
        recovered = self._recovered()
        if not recovered:
            raise UnreachableError("nobody leads")
        return self.masters[min(recovered, key=lambda one: self.numbers[one])]

    async def agents(self) -> Agents:
        await self.leader()
        return Agents((agent(1, "a:1"),) if self.knows and self.lists else (), ())

    async def metrics(self, master: str) -> dict[str, float]:
        index = self.masters.index(master)
        if index not in self.numbers:
            raise UnreachableError(f"{master} is down")
        return {RECOVERED: float(index in self._recovered())}

    async def candidates(self, _: World, color: Color) -> tuple[Candidate, ...]:
        assert color is self.color
        found = (Candidate(number, self.masters[i]) for i, number in self.numbers.items())
        return tuple(sorted(found, key=lambda one: one.number))


def _index(name: str) -> int:
    return int(name.rpartition("-")[2])


def world_around(group: Group) -> World:
    """A stack on this machine whose source and target are both this group: an act asks for one."""

    async def operator(_: Color) -> Group:
        return group

    async def engine() -> SimpleNamespace:
        return SimpleNamespace(status=status)

    async def masters_host(color: Color) -> LocalMasters:
        names = [f"{color}-masters-{index}" for index in range(3)]
        return LocalMasters(cast("Supervisor", group), names)

    async def status() -> SimpleNamespace:
        off = SimpleNamespace(kind=ProjectionKind.OFF)
        return SimpleNamespace(projections={"masters": off})

    def masters(_: Color) -> Sequence[str]:
        return group.masters

    parts: dict[str, Any] = {
        "source": group.color,
        "target": group.color,
        "bounds": Bounds(masters_s=0.5),
        "masters": masters,
        "operator": operator,
        "engine": engine,
        "masters_host": masters_host,
    }
    return cast("World", SimpleNamespace(**parts))


def situation(begun: int, *done: str) -> Situation:
    """On the way back from 3 to 2: the reset begun so many times after steps that were done."""
    transition = walk(2, Direction.BACK, Position(2))
    started = Record(Kind.STEP_STARTED, 1.0, "m", "t", "2", name=RESET, direction="back", edge=2)
    ended = (replace(started, kind=Kind.STEP_ENDED, name=name, outcome=Outcome.OK) for name in done)
    story = journal.tell((*ended, *(started,) * begun))
    return Situation(Standing(position=Position(2)), transition, story, "m")
