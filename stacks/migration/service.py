"""The verbs of a migration: what the command line, the demo and other doors call.

Asynchronous; what runs is told to a listener as events. Cancelling the task of a verb ends it
cleanly: the step under way is written down as interrupted (an update of the stack is waited for),
and `resume` goes on from there.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from stacks import environment, moves
from stacks.automation import StackRunner
from stacks.checks import run as cluster_check
from stacks.checks.declared import declared
from stacks.config import StackConfig
from stacks.migration import events, journal, phases, planner, updates
from stacks.migration.bounds import Bounds
from stacks.migration.errors import PlanError
from stacks.migration.evidence import Findings
from stacks.migration.executor import Checkpoint, Executor, Situation, Work, pass_by
from stacks.migration.journal import Journal, Kind, Record, Story
from stacks.migration.overview import Plan, Status
from stacks.migration.planner import (
    ExchangeGoal,
    Goal,
    GroupGoal,
    PhaseGoal,
    Transition,
    goal_from,
    goal_text,
)
from stacks.migration.updates import Stack
from stacks.topology import PHASE_FIRST, PHASE_LAST, Placement, Position, Standing

# A soak that failed is given up at its end, and another begun.
_SOAK_TRIES = 5


@dataclass(frozen=True)
class StandIn:
    """What a test has in place of a stack and of all that its steps work on."""

    stack: Stack
    work: Work


class MigrationService:
    """Migrations of one stack. `checkpoint` is called around every step (see executor)."""

    def __init__(  # noqa: PLR0913 - what is beyond the stack is for the demo and for tests
        self,
        project_dir: Path,
        stack_name: str,
        *,
        listener: events.Listener = events.ignore,
        checkpoint: Checkpoint = pass_by,
        bounds: Bounds | None = None,
        lag_p99_ms: float | None = None,
        stand_in: StandIn | None = None,
    ) -> None:
        self.stack_name = stack_name
        self._runner: Stack = stand_in.stack if stand_in else StackRunner(stack_name, project_dir)
        config = self._config()
        self._folder = folder_of(project_dir, stack_name, config)
        self._journal = Journal(self._folder)
        self._listener = listener
        self._checkpoint = checkpoint
        self._work = stand_in.work if stand_in else None
        self._bounds = bounds or (bounds_of(config) if config else Bounds())
        self._asked = {} if lag_p99_ms is None else {"lag_p99_ms": lag_p99_ms}

    @property
    def journal(self) -> Journal:
        """The stack's journal."""
        return self._journal

    # Reading

    def plan(self, goal: Goal | None = None) -> Plan:
        """What would be walked to a goal; to phase 6 without one.

        Raises:
            PlanError: there is nothing to do, or no way.
        """
        standing, story = self._where()
        wanted = goal or PhaseGoal(PHASE_LAST)
        return Plan(standing, wanted, planner.plan(standing, wanted, story.open))

    def status(self) -> Status:
        """Where the stack stands."""
        return Status(
            stack=self.stack_name,
            standing=self._runner.actual(),
            desired=self._runner.desired(),
            story=journal.tell(self._journal.records()),
            is_running=self._journal.is_busy(),
            journal_file=self._journal.file,
        )

    def history(self) -> tuple[Record, ...]:
        """Every record of the journal."""
        return self._journal.records()

    async def validate(self) -> Findings:
        """Look at the guards of the next transition, and change nothing."""
        plan = self.plan()
        transition = plan.transitions[0]
        story = journal.tell(self._journal.records())
        situation = Situation(plan.standing, transition, story, story.migration or "none")
        # Behind the last update of an edge only its proof is left to look at.
        kinds = (phases.StepKind.GUARD, phases.StepKind.PROOF)
        step = next((s for kind in kinds for s in transition.steps if s.kind is kind), None)
        if step is None:
            msg = f"nothing left to check before {transition.name}: run `migrate resume`"
            raise PlanError(msg)
        return await self._get_work().perform(step, situation, lambda _: None)

    async def check(self) -> Findings:
        """Compare the running cluster with what the stack declares, and change nothing.

        Raises:
            PlanError: the stack was never made.
        """
        runner = self._runner
        assert isinstance(runner, StackRunner)
        standing = runner.actual()
        if standing is None:
            msg = f"expected stack {self.stack_name} to be made, saw none: run `pulumi up`"
            raise PlanError(msg)
        config, outputs = runner.get_config(), runner.outputs()
        return await cluster_check.check(declared(config, standing, outputs))

    # Walking

    async def start(self, to: int = PHASE_LAST) -> Standing:
        """Walk forward to a phase; whatever an earlier run left in the middle is finished first.

        Raises:
            MigrationError, StackError: where it stopped and why.
        """
        return await self._walk(PhaseGoal(to), direction=phases.Direction.FORWARD)

    async def rollback(self, to: int = PHASE_FIRST) -> Standing:
        """Walk back to a phase, also from the middle of an edge."""
        return await self._walk(PhaseGoal(to), direction=phases.Direction.BACK)

    async def advance(self) -> Standing:
        """Walk the next transition forward only."""
        return await self._walk(PhaseGoal(PHASE_LAST), count=1)

    async def move_group(self, group: str, placement: Placement = Placement.TARGET) -> Standing:
        """Move one client group."""
        return await self._walk(GroupGoal(group, placement))

    async def exchange(self) -> Standing:
        """After phase 6: begin the next migration, the colours exchanged."""
        return await self._walk(ExchangeGoal())

    async def resume(self) -> Standing:
        """Finish what was interrupted or failed, then go on to where that run was going."""
        with self._journal.lease():
            story = journal.tell(self._journal.records())
            if story.open is None and story.goal is None:
                msg = "nothing to resume: no migration was begun. Run `migrate start`"
                raise PlanError(msg)
            self._asked = {**story.asked, **self._asked}
            executor = self._executor(new=False)
            standing = await self._settle(executor, story, self._cut_off(story))
            try:
                journal.check_agrees(story, standing)
            except journal.JournalError as error:
                self._note(Kind.REPAIRED, standing, executor, message=str(error))
                story = journal.tell(self._journal.records())
            if story.open is not None and not story.is_goal_newer:
                standing = await self._finish(executor, standing, story.open)
                story = journal.tell(self._journal.records())
            goal = goal_from(story.goal) if story.goal is not None else None
            if goal is None or (story.open is None and _is_reached(standing, goal)):
                return standing
            return await self._run(executor, standing, planner.plan(standing, goal, story.open))

    async def _finish(
        self, executor: Executor, standing: Standing, open_: planner.Open
    ) -> Standing:
        return await self._run(executor, standing, (planner.resume(standing, open_),))

    async def _run(
        self, executor: Executor, standing: Standing, transitions: tuple[Transition, ...]
    ) -> Standing:
        self._listener(events.PlanMade(transitions, standing))
        for transition in transitions:
            standing = await executor.run(transition)
        return standing

    def _cut_off(self, story: Story) -> tuple[Transition, ...]:
        """What a command wanted that was cut off before it began any of it; nothing where what is
        open was its own, or where the stack is not where the journal says."""
        if story.open is None or story.goal is None or not story.is_goal_newer:
            return ()
        standing = updates.standing_of(self._runner)
        with contextlib.suppress(journal.JournalError):
            journal.check_agrees(story, standing)
            return planner.plan(standing, goal_from(story.goal), story.open)
        return ()

    async def _settle(
        self, executor: Executor, story: Story, transitions: tuple[Transition, ...]
    ) -> Standing:
        goes_back = bool(transitions) and transitions[0].direction is phases.Direction.BACK
        # What an update along these could not create, the way back takes away.
        creates = (
            story.open is not None
            and story.open.direction is phases.Direction.FORWARD
            and story.open.edge in moves.CREATING_EDGES
        )
        return await executor.settle(may_fail=goes_back and creates)

    async def _walk(
        self,
        goal: Goal,
        *,
        count: int | None = None,
        direction: phases.Direction | None = None,
    ) -> Standing:
        with self._journal.lease():
            standing, story = self._where()
            _check_direction(standing, goal, direction)
            transitions = planner.plan(standing, goal, story.open)[:count]
            if count is not None:
                goal = _goal_of(transitions, standing)
            executor = self._executor(new=_begins(standing, story))
            # Before anything is touched: whoever is cut off from here on is resumed towards this.
            self._note(Kind.GOAL_SET, standing, executor, goal=goal_text(goal))
            if story.open is not None:
                standing = await self._settle(executor, story, transitions)
                # An update that a killed runner left at work may have arrived meanwhile.
                transitions = planner.plan(standing, goal, story.open)
            return await self._run(executor, standing, transitions)

    # Inside

    def _where(self) -> tuple[Standing, Story]:
        standing = updates.standing_of(self._runner)
        story = journal.tell(self._journal.records())
        journal.check_agrees(story, standing)
        desired = self._runner.desired()
        if story.open is None and desired != standing:
            msg = (
                "expected the configuration to point where the stack stands, "
                f"{standing.describe()}, saw {desired.describe()}. Run `pulumi up`, or put "
                "the configuration back"
            )
            raise PlanError(msg)
        return standing, story

    def _executor(self, *, new: bool) -> Executor:
        story = journal.tell(self._journal.records())
        known = None if new else story.migration
        return Executor(
            self._runner,
            self._journal,
            self._get_work(),
            listener=self._listener,
            checkpoint=self._checkpoint,
            migration=known or uuid.uuid4().hex[:12],
        )

    def _get_work(self) -> Work:
        if self._work is None:
            # Clients of every system that is driven.
            from stacks.migration.work import RealWork  # noqa: PLC0415 - slow, not needed to look

            assert isinstance(self._runner, StackRunner)
            bounds = replace(self._bounds, **self._asked)
            self._work = RealWork(self._runner, self._folder, bounds)
        return self._work

    def _config(self) -> StackConfig | None:
        return self._runner.get_config() if isinstance(self._runner, StackRunner) else None

    def _note(
        self,
        kind: Kind,
        standing: Standing,
        executor: Executor,
        *,
        goal: str | None = None,
        message: str | None = None,
    ) -> None:
        self._journal.append(
            Record(
                kind=kind,
                at=round(time.time(), 3),
                migration=executor.migration,
                transition="-",
                position=str(standing.position),
                goal=goal,
                evidence=self._asked if kind is Kind.GOAL_SET else {},
                message=message,
            )
        )


def folder_of(project_dir: Path, stack_name: str, config: StackConfig | None) -> Path:
    """Where a stack's journal and backups lie: beside what runs, outside both ensembles."""
    run_dir = config.local.run_dir if config and config.local else None
    return environment.run_dir_of(project_dir, stack_name, run_dir) / "migration"


def bounds_of(config: StackConfig) -> Bounds:
    """What a stack's configuration says; the rest is as ever."""
    given = replace(Bounds(), **config.bounds.model_dump())
    return replace(given, soak_window_s=max(given.soak_window_s, _SOAK_TRIES * given.soak_s))


def _is_reached(standing: Standing, goal: Goal) -> bool:
    match goal:
        case PhaseGoal(phase):
            return standing.position == Position(phase)
        case GroupGoal(group, placement):
            return standing.groups.get(group) is placement
        case ExchangeGoal():
            return standing.position == Position(PHASE_FIRST)


def _check_direction(standing: Standing, goal: Goal, direction: phases.Direction | None) -> None:
    if direction is None or not isinstance(goal, PhaseGoal):
        return
    if not PHASE_FIRST <= goal.phase <= PHASE_LAST:
        return
    distance = Position(goal.phase).index - standing.position.index
    if direction is phases.Direction.FORWARD and distance < 0:
        msg = (
            f"phase {goal.phase} lies behind {standing.describe()}: "
            f"`migrate rollback --to {goal.phase}` goes back"
        )
        raise PlanError(msg)
    if direction is phases.Direction.BACK and distance > 0:
        msg = (
            f"phase {goal.phase} lies ahead of {standing.describe()}: "
            f"`migrate start --to {goal.phase}` goes forward"
        )
        raise PlanError(msg)


def _begins(standing: Standing, story: Story) -> bool:
    at_rest = standing.position in {Position(PHASE_FIRST), Position(PHASE_LAST)}
    return story.migration is None or (story.open is None and at_rest)


def _goal_of(transitions: tuple[Transition, ...], standing: Standing) -> Goal:
    """The goal that a single transition reaches."""
    last = transitions[-1]
    if last.group is not None:
        return GroupGoal(last.group, last.placement)
    if last.edge is None:
        return ExchangeGoal()
    return PhaseGoal(last.after(standing).position.phase)
