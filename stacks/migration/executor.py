"""Runs the steps of transitions, one after the other, writing the journal before and after each.

What a step means is somebody else's: updates are stacks.migration.updates', guards, acts and proofs
a `Work`'s. This module keeps the order, the journal, the events and the end: a failure, a
cancellation or a kill between any two lines leaves a stack from which `resume` goes on, because
every step finds out what already holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

from stacks.errors import ResourceFailedError, StackError
from stacks.migration import events, journal, phases, updates
from stacks.migration.errors import GuardFailedError, MigrationError
from stacks.migration.evidence import Findings
from stacks.migration.journal import Journal, Kind, Outcome, Story
from stacks.migration.phases import Step, StepKind
from stacks.migration.planner import Transition
from stacks.migration.updates import Stack, Tell
from stacks.threads import on_thread
from stacks.topology import Placement, Position, Standing

T = TypeVar("T")
_PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class Situation:
    """What a guard, an act or a proof is told: where the stack stands, and on which walk."""

    standing: Standing
    transition: Transition
    story: Story
    migration: str

    @property
    def is_opening(self) -> bool:
        """Whether nothing of the transition has been done yet."""
        edge = self.transition.edge
        if edge is None:
            return True
        return self.standing.position == phases.start_of(edge, self.transition.direction)


class Work(Protocol):
    """Does what is no update."""

    async def perform(self, step: Step, situation: Situation, tell: Tell) -> Findings:
        """Run a guard, backup, act or proof; returns when it holds.

        Raises:
            MigrationError: it did not come to its end.
        """
        ...


Checkpoint = Callable[[Transition, Step, str], None]


def pass_by(transition: Transition, step: Step, when: str) -> None:
    """The checkpoint of who does not watch."""
    del transition, step, when


@dataclass
class Executor:
    """Walks transitions of one stack. The caller holds the journal's lease.

    `checkpoint` is called with `before` and `after` around every step; tests end the process there.
    """

    stack: Stack
    journal: Journal
    work: Work
    listener: events.Listener = events.ignore
    checkpoint: Checkpoint = pass_by
    migration: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    async def settle(self, *, may_fail: bool = False) -> Standing:
        """Take up what a killed runner left: a dead lock, an update that began and never ended.

        With `may_fail`, what cannot be created is left to the updates that follow, on the way back.
        """
        return await on_thread(lambda: self._settle(may_fail=may_fail))

    def _settle(self, *, may_fail: bool) -> Standing:
        self.stack.clear_interrupted()
        standing = updates.standing_of(self.stack)
        with contextlib.suppress(*([ResourceFailedError] if may_fail else [])):
            updates.update(self.stack, standing, self.plan_file(), lambda _: None)
        return standing

    async def run(self, transition: Transition) -> Standing:
        """Run what remains of a transition; returns where the stack stands then.

        Raises:
            MigrationError: a step failed; the journal says where.
            StackError: an update failed.
        """
        run = _Run(self, transition, uuid.uuid4().hex[:12])
        return await run.all()

    def plan_file(self) -> Path:
        """Where the plan of the next update is saved."""
        self.journal.folder.mkdir(parents=True, exist_ok=True)
        return self.journal.folder / _PLAN_FILE


class _Run:
    """One transition under way."""

    def __init__(self, executor: Executor, transition: Transition, id_: str) -> None:
        self._executor = executor
        self._transition = transition
        self._ids = (executor.migration, id_)

    async def all(self) -> Standing:
        executor, transition = self._executor, self._transition
        standing = updates.standing_of(executor.stack)
        started = time.monotonic()
        self._write(Kind.TRANSITION_STARTED, standing)
        executor.listener(events.TransitionStarted(transition, standing))
        error: str | None = None
        try:
            for step in transition.steps:
                await self._step(step)
        except asyncio.CancelledError:
            error = "interrupted"
            self._end(Outcome.INTERRUPTED, started, error)
            raise
        except (MigrationError, StackError) as failure:
            error = str(failure)
            self._end(Outcome.FAILED, started, error)
            raise
        self._end(Outcome.OK, started, None)
        return updates.standing_of(executor.stack)

    async def _step(self, step: Step) -> None:
        executor = self._executor
        executor.checkpoint(self._transition, step, "before")
        self._write(Kind.STEP_STARTED, updates.standing_of(executor.stack), step)
        executor.listener(events.StepStarted(self._transition, step))
        started = time.monotonic()
        try:
            found = await self._perform(step)
            failed = found.failed
            if failed is not None:
                self._end_step(step, started, found, Outcome.FAILED, failed.said)
                raise GuardFailedError(failed.name, failed.said)
        except asyncio.CancelledError:
            self._end_step(step, started, Findings(), Outcome.INTERRUPTED, "interrupted")
            raise
        except GuardFailedError:
            raise
        except (MigrationError, StackError) as error:
            self._end_step(step, started, Findings(), Outcome.FAILED, str(error))
            raise
        self._end_step(step, started, found, Outcome.OK, None)
        executor.checkpoint(self._transition, step, "after")

    async def _perform(self, step: Step) -> Findings:
        executor = self._executor

        def tell(text: str) -> None:
            executor.listener(events.StepProgress(self._transition, step, text))

        standing = updates.standing_of(executor.stack)
        if step.kind is StepKind.UPDATE:
            new = self._destination(step, standing)
            plan_file = executor.plan_file()
            done = await on_thread(lambda: updates.update(executor.stack, new, plan_file, tell))
            return Findings(numbers=done.as_numbers())
        if step.kind is StepKind.RECORD:
            return Findings(numbers={"standing": standing.describe()})
        story = journal.tell(executor.journal.records())
        situation = Situation(standing, self._transition, story, executor.migration)
        return await executor.work.perform(step, situation, tell)

    def _destination(self, step: Step, standing: Standing) -> Standing:
        if step.placement is not None:
            assert self._transition.group is not None
            return standing.with_group(self._transition.group, step.placement)
        assert step.to is not None
        if self._transition.edge is None:
            home = dict.fromkeys(standing.groups, Placement.SOURCE)
            return Standing(standing.target, standing.source, step.to, home)
        return standing.at(step.to)

    def _end_step(
        self, step: Step, started: float, found: Findings, outcome: Outcome, error: str | None
    ) -> None:
        seconds = round(time.monotonic() - started, 3)
        standing = updates.standing_of(self._executor.stack)
        record = self._record(Kind.STEP_ENDED, standing.position, step)
        evidence = found.as_dict()
        self._executor.journal.append(
            replace(record, outcome=outcome, seconds=seconds, evidence=evidence, message=error)
        )
        self._executor.listener(events.StepEnded(self._transition, step, seconds, found, error))

    def _end(self, outcome: Outcome, started: float, error: str | None) -> None:
        seconds = round(time.monotonic() - started, 3)
        standing = updates.standing_of(self._executor.stack)
        record = self._record(Kind.TRANSITION_ENDED, standing.position)
        self._executor.journal.append(
            replace(record, outcome=outcome, seconds=seconds, message=error)
        )
        told = events.TransitionEnded(self._transition, standing, seconds, error)
        self._executor.listener(told)

    def _write(self, kind: Kind, standing: Standing, step: Step | None = None) -> None:
        self._executor.journal.append(self._record(kind, standing.position, step))

    def _record(self, kind: Kind, position: Position, step: Step | None = None) -> journal.Record:
        return journal.record_of(
            kind, self._transition, ids=self._ids, position=position, step=step
        )
