"""A fake stack with what drives it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from stacks.migration import events
from stacks.migration.phases import Step
from stacks.migration.planner import Transition
from stacks.migration.service import MigrationService, StandIn
from stacks.topology import Placement, Position, Standing
from tests.stacks.migration.fake_world import (
    FakeStack,
    FakeWork,
    KilledError,
)

GROUPS = {"traffic": Placement.SOURCE}

PLANNED = "planned"


class Rig:
    """A fake stack with what drives it; `service` is made anew as after a new start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = FakeStack(Standing(groups=GROUPS))
        self.work = FakeWork(self.stack)
        self.events: list[events.Event] = []
        self.kill_at: str | None = None
        self.seen: list[str] = []
        self.stood: list[Position] = []

    @property
    def service(self) -> MigrationService:
        return MigrationService(
            self.folder,
            "test",
            stand_in=StandIn(self.stack, self.work),
            listener=self.hear,
            checkpoint=self.checkpoint,
        )

    def copy(self, folder: Path) -> Rig:
        """Another one that stands in the same place."""
        shutil.copytree(self.folder, folder)
        other = Rig(folder)
        other.stack = FakeStack(self.stack.standing, permits=list(self.stack.permits))
        other.work = FakeWork(other.stack, dict(self.work.model))
        return other

    def hear(self, event: events.Event) -> None:
        """Also pass the place where a command has said where it wants to go and begun nothing."""
        self.events.append(event)
        if isinstance(event, events.PlanMade):
            self._pass(PLANNED)

    def checkpoint(self, transition: Transition, step: Step, when: str) -> None:
        self._pass(f"{transition.name}:{step.name}:{when}")

    def _pass(self, place: str) -> None:
        self.seen.append(place)
        self.stood.append(self.stack.standing.position)
        if place == self.kill_at:
            self.kill_at = None
            raise KilledError(place)

    @contextmanager
    def watching(self) -> Generator[None]:
        """Also pass checkpoints inside of acts and updates."""
        name = "?"

        def within(step: Step, when: str) -> None:
            nonlocal name
            name = step.name
            self._pass(f"{len(self.seen)}:{step.name}:within-{when}")

        self.work.within = within
        self.stack.during_up = lambda when: self._pass(f"{len(self.seen)}:up:{when}")
        yield
        self.stack.during_up = lambda _: None

    def run_to(self, phase: int) -> None:
        here = self.stack.standing.position
        if here == Position(phase):
            return
        forward = Position(phase).index > here.index
        verb = self.service.start if forward else self.service.rollback
        asyncio.run(verb(phase))
