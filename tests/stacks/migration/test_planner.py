"""Plans lead where they should from everywhere, by moves that the gate lets through."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stacks.migration import contracts, phases, planner
from stacks.migration.errors import PlanError
from stacks.migration.phases import Direction, StepKind
from stacks.migration.planner import ExchangeGoal, GroupGoal, Open, PhaseGoal, plan
from stacks.moves import check_move, neighbours
from stacks.topology import (
    LINE,
    Color,
    Placement,
    Position,
    Standing,
    Topology,
    TopologyError,
)

GROUPS = ("batch", "traffic")


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    """Every place, with groups wherever they may be there."""
    position = draw(st.sampled_from(LINE))
    groups: dict[str, Placement] = {}
    for name in GROUPS[: draw(st.integers(0, 2))]:
        allowed: list[Placement] = []
        for placement in Placement:
            try:
                Standing(position=position, groups={name: placement})
            except TopologyError:
                continue
            allowed.append(placement)
        groups[name] = draw(st.sampled_from(allowed))
    return Standing(position=position, groups=groups)


opens = st.one_of(
    st.none(),
    st.builds(Open, st.sampled_from(Direction), edge=st.integers(0, 5)),
)


def walk_updates(standing: Standing, transitions: tuple[planner.Transition, ...]) -> Standing:
    """Apply every update as the gate would judge it."""
    for transition in transitions:
        for step in transition.steps:
            if step.kind is not StepKind.UPDATE:
                continue
            if step.placement is not None:
                new = standing.with_group(str(transition.group), step.placement)
            else:
                assert step.to is not None
                new = standing.at(step.to)
                if new != standing:
                    assert (standing.position, new.position) in contracts.CONTRACTS
            check_move(standing, new)
            standing = new
        assert standing == transition.after(standing)
    return standing


@settings(deadline=None)
@given(standings(), st.integers(0, 6), opens)
def test_a_plan_ends_at_its_goal_by_moves_that_the_gate_allows(
    standing: Standing, phase: int, open_: Open | None
) -> None:
    is_elsewhere = (
        open_ is not None
        and open_.edge is not None
        and standing.position not in planner.positions_of(open_.edge)
    )
    if is_elsewhere:
        open_ = None
    try:
        transitions = plan(standing, PhaseGoal(phase), open_)
    except PlanError:
        assert standing.position == Position(phase) or standing.position == Position(6)
        return

    end = walk_updates(standing, transitions)

    assert end.position == Position(phase)
    if phase > 3 and standing.position.index < Position(phase).index:
        assert set(end.groups.values()) <= {Placement.TARGET}
    if phase < 3:
        assert set(end.groups.values()) <= {Placement.SOURCE}


@settings(deadline=None)
@given(standings(), st.sampled_from(GROUPS), st.sampled_from(Placement))
def test_a_group_goes_to_its_side_or_the_reason_is_said(
    standing: Standing, group: str, placement: Placement
) -> None:
    if placement is Placement.STOPPED:
        return
    can_move = (
        group in standing.groups
        and standing.groups[group] is not placement
        and standing.position in {Position(3), Position(4), Position(5)}
    )
    if not can_move:
        with pytest.raises(PlanError, match=r"expected|nothing|move"):
            plan(standing, GroupGoal(group, placement))
        return

    transitions = plan(standing, GroupGoal(group, placement))
    assert walk_updates(standing, transitions) == standing.with_group(group, placement)


@settings(deadline=None)
@given(st.integers(0, 5), st.sampled_from(Direction), st.sampled_from(LINE))
def test_what_remains_of_an_edge_ends_as_the_whole_of_it(
    edge: int, direction: Direction, position: Position
) -> None:
    if position not in planner.positions_of(edge):
        return
    whole, rest = phases.steps_of(edge, direction), phases.steps_from(edge, direction, position)

    assert rest[-1] == whole[-1]
    assert [s for s in whole if s in rest] == list(dict.fromkeys(rest))
    after_position = [s.to for s in rest if s.to is not None]
    assert position not in after_position
    if position == phases.end_of(edge, direction):
        assert not after_position


def test_contracts_allow_exactly_what_topology_changes() -> None:
    for (old, new), contract in contracts.CONTRACTS.items():
        before, after = (Topology.at(Standing(position=position)) for position in (old, new))
        for color, side in (
            (Color.BLUE, contracts.Side.SOURCE),
            (Color.GREEN, contracts.Side.TARGET),
        ):
            for tier in ("zookeeper", "masters", "agents"):
                scope = contracts.Scope(side, tier)
                was = before.tiers[color, tier].exists  # type: ignore[index] - a mapping by pair
                will = after.tiers[color, tier].exists  # type: ignore[index] - a mapping by pair
                assert (scope in contract.deletes) == (was and not will), (old, new, scope)
                if will and not was:
                    assert scope in contract.creates
        engine = (before.engine.exists, after.engine.exists)
        assert (contracts.ENGINE in contract.deletes) == (engine == (True, False))
        assert (contracts.FRAMEWORKS in contract.updates) == (before.frameworks != after.frameworks)


def test_every_neighbouring_move_has_a_contract() -> None:
    moves = {(old, new) for old in LINE for new in neighbours(old)}

    assert moves == set(contracts.CONTRACTS)


def test_groups_move_one_by_one_at_phase_3_and_come_home_before_it_is_left() -> None:
    start = Standing(groups={"a": Placement.SOURCE, "b": Placement.SOURCE})
    there = [t.name for t in plan(start, PhaseGoal(6))]
    end = start.at(Position(3)).with_group("a", Placement.TARGET).with_group("b", Placement.TARGET)
    home = [t.name for t in plan(end.at(Position(5)), PhaseGoal(0))]

    moves = ["clients a -> target", "clients b -> target"]
    assert there == ["0 -> 1", "1 -> 2", "2 -> 3", *moves, "3 -> 4", "4 -> 5", "5 -> 6"]
    moves = ["clients a -> source", "clients b -> source"]
    assert home == ["5 -> 4", "4 -> 3", *moves, "3 -> 2", "2 -> 1", "1 -> 0"]


def test_turning_round_takes_back_what_was_done_before_the_first_update() -> None:
    standing = Standing(position=Position(3))
    transitions = plan(standing, PhaseGoal(4), Open(Direction.BACK, edge=2))

    assert transitions[0].name == "2 -> 3"
    assert "keep election path fenced" in [step.name for step in transitions[0].steps]


def test_phase_6_has_no_way_back_but_an_exchange() -> None:
    end = Standing(position=Position(6), groups={"a": Placement.TARGET})
    with pytest.raises(PlanError, match="no way back"):
        plan(end, PhaseGoal(3))

    (transition,) = plan(end, ExchangeGoal())

    assert transition.after(end) == Standing(
        Color.GREEN, Color.BLUE, Position(0), {"a": Placement.SOURCE}
    )
