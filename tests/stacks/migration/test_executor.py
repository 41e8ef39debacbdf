"""Every interrupted prefix of every edge, both ways, ends well after a resume."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from stacks.migration import events, journal, phases
from stacks.migration.errors import (
    GuardFailedError,
    PlanError,
)
from stacks.migration.journal import Kind, Outcome
from stacks.migration.phases import Direction
from stacks.migration.planner import Transition
from stacks.topology import Placement, Position, Standing
from tests.stacks.migration.fake_world import (
    KilledError,
    resources_at,
)
from tests.stacks.migration.rig import GROUPS, PLANNED, Rig


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
@pytest.mark.parametrize(
    ("then", "every"),
    [
        pytest.param("resume", 2, id="resume"),
        pytest.param("resume", 1, id="resume everywhere", marks=pytest.mark.long),
        # Turning round differs little between neighbouring places.
        pytest.param("back", 3, id="back", marks=pytest.mark.long),
        pytest.param("forward", 3, id="forward", marks=pytest.mark.long),
    ],
)
def test_killed_anywhere_it_ends_well(
    tmp_path: Path, edge: int, direction: Direction, then: str, every: int
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
    for number, place in enumerate(possible[::every]):
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


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.parametrize(("edge", "direction"), WALKS)
def test_a_command_that_turned_round_and_was_killed_at_once_is_what_is_resumed(
    tmp_path: Path, edge: int, direction: Direction
) -> None:
    origin = Rig(tmp_path / "origin")
    origin.folder.mkdir()
    end, start = prepare(origin, edge, direction), phases.start_of(edge, direction).phase
    possible = [place for place, stood in places(tmp_path, edge, direction) if stood != Position(6)]
    for number, place in enumerate(possible[::4]):
        rig = origin.copy(tmp_path / str(number))
        rig.kill_at = place
        with rig.watching(), pytest.raises(KilledError):
            rig.run_to(end)
        verb = rig.service.rollback if direction is Direction.FORWARD else rig.service.start
        rig.kill_at = PLANNED
        try:
            with pytest.raises(KilledError):
                asyncio.run(verb(start))
        except PlanError:
            continue  # Killed before anything was begun.
        wanted = _plan_told(rig)
        rig.work.log.clear()

        asyncio.run(rig.service.resume())

        assert _plan_told(rig) == wanted, place
        assert rig.stack.standing.position == Position(start), place
        assert rig.stack.resources == resources_at(rig.stack.standing), place
        walked = {line.partition(":")[0] for line in rig.work.log}
        assert walked <= {transition.name for transition in wanted}, place


def _plan_told(rig: Rig) -> tuple[Transition, ...]:
    return next(e for e in reversed(rig.events) if isinstance(e, events.PlanMade)).transitions


def test_a_group_that_was_to_turn_round_is_not_taken_further(rig: Rig) -> None:
    rig.run_to(3)
    rig.kill_at = "clients traffic -> target:stop group:after"
    with pytest.raises(KilledError):
        asyncio.run(rig.service.move_group("traffic", Placement.TARGET))
    rig.kill_at = PLANNED
    with pytest.raises(KilledError):
        asyncio.run(rig.service.move_group("traffic", Placement.SOURCE))
    rig.work.log.clear()

    asyncio.run(rig.service.resume())

    assert rig.stack.standing.groups["traffic"] is Placement.SOURCE
    assert not [line for line in rig.work.log if "-> target" in line]


def test_a_rollback_killed_while_it_settles_is_what_is_resumed(rig: Rig) -> None:
    rig.run_to(2)
    rig.kill_at = "2 -> 3:update to 2/prepared:after"
    with pytest.raises(KilledError):
        asyncio.run(rig.service.start(3))
    del rig.stack.resources["blue-agents-0"]  # So that there is something to settle.

    def die(_: str) -> None:
        raise KilledError

    rig.stack.during_up = die
    with pytest.raises(KilledError):
        asyncio.run(rig.service.rollback())
    rig.stack.during_up = lambda _: None
    rig.work.log.clear()

    asyncio.run(rig.service.resume())

    assert rig.stack.standing == Standing(groups=GROUPS)
    assert not [line for line in rig.work.log if line.startswith("2 -> 3")]


def test_a_rollback_goes_on_from_where_an_update_left_at_work_has_arrived(rig: Rig) -> None:
    rig.run_to(2)
    rig.kill_at = "2 -> 3:update to 2/moved:before"
    with pytest.raises(KilledError):
        asyncio.run(rig.service.start(3))

    def arrive() -> bool:
        rig.stack.standing = rig.stack.config = rig.stack.standing.at(Position.parse("2/moved"))
        rig.stack.resources = resources_at(rig.stack.standing)
        return True

    rig.stack.clear_interrupted = arrive
    asyncio.run(rig.service.rollback())

    assert rig.stack.standing == Standing(groups=GROUPS)
    planned = _plan_told(rig)[0].steps
    assert "await source masters" in {step.name for step in planned}
    assert "update to 2/moved" not in {step.name for step in planned}


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
