"""Every interrupted prefix of every edge, both ways, ends well after a resume."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stacks.errors import ResourceFailedError
from stacks.migration import events, journal, phases
from stacks.migration.errors import (
    ContractError,
    GuardFailedError,
    JournalError,
    PlanError,
    StateChangedError,
)
from stacks.migration.journal import Kind, Outcome
from stacks.migration.phases import Direction, Step
from stacks.migration.planner import Transition
from stacks.migration.service import MigrationService, StandIn
from stacks.steps import Op
from stacks.steps import Step as StackStep
from stacks.topology import Placement, Position, Standing
from tests.stacks.migration.fake_world import (
    FakeStack,
    FakeWork,
    KilledError,
    do_nothing,
    resources_at,
)

GROUPS = {"traffic": Placement.SOURCE}


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
            listener=self.events.append,
            checkpoint=self._checkpoint,
        )

    def copy(self, folder: Path) -> Rig:
        """Another one that stands in the same place."""
        shutil.copytree(self.folder, folder)
        other = Rig(folder)
        other.stack = FakeStack(self.stack.standing, permits=list(self.stack.permits))
        other.work = FakeWork(other.stack, dict(self.work.model))
        return other

    def _checkpoint(self, transition: Transition, step: Step, when: str) -> None:
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


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of walks need no durable journal."""
    monkeypatch.setattr("os.fsync", do_nothing)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def prepare(rig: Rig, edge: int, direction: Direction) -> int:
    """Stand where a walk along an edge begins; returns where it ends."""
    rig.run_to(phases.start_of(edge, direction).phase)
    return phases.end_of(edge, direction).phase


def test_a_whole_migration_and_the_exchange_after_it(rig: Rig) -> None:
    asyncio.run(rig.service.start())

    assert rig.stack.standing == Standing(
        position=Position(6), groups={"traffic": Placement.TARGET}
    )
    assert rig.stack.resources == resources_at(rig.stack.standing)
    names = [e.transition.name for e in rig.events if isinstance(e, events.TransitionEnded)]
    assert names == ["0 -> 1", "1 -> 2", "2 -> 3", "clients traffic -> target", *names[4:]]
    asyncio.run(rig.service.exchange())
    assert rig.stack.standing.position == Position(0)


@pytest.mark.parametrize("phase", [1, 2, 3, 4, 5])
def test_rollback_from_every_phase(rig: Rig, phase: int) -> None:
    rig.run_to(phase)

    asyncio.run(rig.service.rollback())

    assert rig.stack.standing == Standing(groups=GROUPS)
    assert rig.stack.resources == resources_at(rig.stack.standing)


WALKS = [
    (edge, direction)
    for edge in range(6)
    for direction in Direction
    if (edge, direction) != (5, Direction.BACK)
]


def places(tmp_path: Path, edge: int, direction: Direction) -> list[tuple[str, Position]]:
    """Every place where a runner may die on a walk, and where the stack stands then, found by
    walking it once."""
    rig = Rig(tmp_path / "probe")
    rig.folder.mkdir()
    end = prepare(rig, edge, direction)
    rig.seen.clear()
    rig.stood.clear()
    with rig.watching():
        rig.run_to(end)
    return list(zip(rig.seen, rig.stood, strict=True))


@pytest.mark.parametrize(("edge", "direction"), WALKS)
@pytest.mark.parametrize("then", ["resume", "back", "forward"])
def test_killed_anywhere_it_ends_well(
    tmp_path: Path, edge: int, direction: Direction, then: str
) -> None:
    origin = Rig(tmp_path / "origin")
    origin.folder.mkdir()
    end = prepare(origin, edge, direction)
    # Phase 6 has no way back.
    possible = [
        place
        for place, stood in places(tmp_path, edge, direction)
        if then != "back" or stood != Position(6)
    ]
    # Resuming must work from everywhere; turning round differs little between neighbouring places.
    for number, place in enumerate(possible[:: 1 if then == "resume" else 3]):
        rig = origin.copy(tmp_path / str(number))
        rig.kill_at = place
        with rig.watching(), pytest.raises(KilledError):
            rig.run_to(end)
        if then == "resume":
            goal = end
            _resume(rig)
        else:
            goal = 0 if then == "back" else 6
            _turn(rig, goal)

        assert rig.stack.standing.position == Position(goal), place
        assert rig.stack.resources == resources_at(rig.stack.standing), place
        if number % 5 == 0:
            _settled(rig)


def _resume(rig: Rig) -> None:
    asyncio.run(rig.service.resume())


def _turn(rig: Rig, goal: int) -> None:
    if rig.stack.standing.position == Position(6):
        _resume(rig)  # Nowhere further to go, but what was begun is to be ended.
        return
    verb = rig.service.rollback if goal == 0 else rig.service.start
    with contextlib.suppress(PlanError):  # Killed at the very end, there is nothing to do.
        asyncio.run(verb(goal))


def _settled(rig: Rig) -> None:
    """Nothing is open, and the opposite way works."""
    story = journal.tell(rig.service.journal.records())
    assert story.open is None
    if rig.stack.standing.position == Position(0):
        asyncio.run(rig.service.start())
    elif rig.stack.standing.position != Position(6):
        asyncio.run(rig.service.rollback())
        assert rig.stack.standing == Standing(groups=GROUPS)


@pytest.mark.parametrize("placement", [Placement.TARGET, Placement.SOURCE])
def test_a_group_killed_anywhere_on_its_way(tmp_path: Path, placement: Placement) -> None:
    def stand(name: str) -> Rig:
        rig = Rig(tmp_path / name)
        rig.folder.mkdir()
        rig.run_to(3)
        if placement is Placement.SOURCE:
            asyncio.run(rig.service.move_group("traffic", Placement.TARGET))
        rig.seen.clear()
        return rig

    probe = stand("probe")
    with probe.watching():
        asyncio.run(probe.service.move_group("traffic", placement))
    for number, place in enumerate(probe.seen):
        rig = stand(str(number))
        rig.kill_at = place
        with rig.watching(), pytest.raises(KilledError):
            asyncio.run(rig.service.move_group("traffic", placement))

        asyncio.run(rig.service.resume())

        assert rig.stack.standing.groups["traffic"] is placement, place
        assert rig.work.model["traffic"] == placement


def test_resume_goes_on_to_where_the_run_was_going(rig: Rig) -> None:
    rig.kill_at = "1 -> 2:backup:after"
    with pytest.raises(KilledError):
        asyncio.run(rig.service.start(4))

    asyncio.run(rig.service.resume())

    assert rig.stack.standing.position == Position(4)


def test_a_guard_that_fails_leaves_the_stack_and_says_what_it_saw(rig: Rig) -> None:
    rig.work.failing.add("guards before removal")

    with pytest.raises(GuardFailedError, match="it was told to fail"):
        asyncio.run(rig.service.start())

    assert rig.stack.standing.position == Position.parse("2/moved")
    last = rig.service.history()[-1]
    assert (last.kind, last.outcome) == (Kind.TRANSITION_ENDED, Outcome.FAILED)
    rig.work.failing.clear()
    asyncio.run(rig.service.resume())
    assert rig.stack.standing.position == Position(6)


def test_a_guard_that_fails_leaves_the_way_back_open(rig: Rig) -> None:
    rig.work.failing.add("guards before removal")
    with pytest.raises(GuardFailedError):
        asyncio.run(rig.service.start())
    rig.work.failing.clear()

    asyncio.run(rig.service.rollback())

    assert rig.stack.standing == Standing(groups=GROUPS)
    assert rig.work.model["fence"] == "off"


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (Op.DELETE, "blue-zookeeper-0"),
        (Op.CREATE, "green-agents-0"),
        (Op.UPDATE, "clients-traffic-0"),
        (Op.REPLACE, "green-zookeeper-0"),
        (Op.UPDATE, "secrets"),
    ],
)
def test_a_preview_beyond_its_contract_changes_nothing(rig: Rig, op: Op, name: str) -> None:
    rig.stack.extra = (StackStep(op, f"urn::{name}", "a:Type", name),)

    with pytest.raises(ContractError, match=f"{op} {name}"):
        asyncio.run(rig.service.start(1))

    assert rig.stack.updates == 0
    assert rig.stack.standing.position == Position(0)


def test_a_state_that_changed_since_the_preview_is_refused(rig: Rig) -> None:
    def change() -> None:
        rig.stack.resources["somebody-else"] = "here"

    rig.stack.on_preview = change

    with pytest.raises(StateChangedError):
        asyncio.run(rig.service.start(1))

    assert rig.stack.updates == 0


def test_a_failed_creation_can_be_walked_back(rig: Rig) -> None:
    def fail(when: str) -> None:
        if when == "gate":
            name, reason = "green-zookeeper-0", "port 1 is taken"
            raise ResourceFailedError(name, reason)

    rig.stack.during_up = fail
    with pytest.raises(ResourceFailedError):
        asyncio.run(rig.service.start(1))
    rig.stack.during_up = lambda _: None

    asyncio.run(rig.service.rollback())

    assert rig.stack.standing == Standing(groups=GROUPS)


def test_a_cancelled_run_is_written_down_and_resumed(rig: Rig) -> None:
    async def scenario() -> None:
        task = asyncio.ensure_future(rig.service.start(2))

        def cancel(step: Step, when: str) -> None:
            if (step.name, when) == ("soak", "begin"):
                task.cancel()

        rig.work.within = cancel
        with pytest.raises(asyncio.CancelledError):
            await task

    rig.work.pause_s = 0.0
    asyncio.run(scenario())

    outcomes = {r.outcome for r in rig.service.history()[-2:]}
    assert outcomes == {Outcome.INTERRUPTED}
    rig.work.within = lambda _step, _when: None
    asyncio.run(rig.service.resume())
    assert rig.stack.standing.position == Position(2)


def test_a_stack_moved_by_hand_is_refused_until_resume_accepts_it(rig: Rig) -> None:
    rig.run_to(1)
    rig.stack.standing = rig.stack.config = rig.stack.standing.at(Position(0))
    rig.stack.resources = resources_at(rig.stack.standing)

    with pytest.raises(JournalError, match="position 1"):
        asyncio.run(rig.service.start())

    asyncio.run(rig.service.resume())
    assert rig.stack.standing.position == Position(1)
    assert any(record.kind is Kind.REPAIRED for record in rig.service.history())


def test_a_configuration_that_points_elsewhere_is_told(rig: Rig) -> None:
    rig.stack.config = rig.stack.standing.at(Position(1))

    with pytest.raises(PlanError, match="expected the configuration"):
        asyncio.run(rig.service.start())


def test_advance_takes_one_transition(rig: Rig) -> None:
    asyncio.run(rig.service.advance())

    assert rig.stack.standing.position == Position(1)


def test_validate_changes_nothing(rig: Rig) -> None:
    found = asyncio.run(rig.service.validate())

    assert found.evidence[0].ok
    assert rig.service.history() == ()
    assert rig.stack.updates == 0
