"""What has to be walked from where a stack stands to where it should stand.

A goal is a phase, a client group's side, or the exchange of the colours after phase 6. The answer
is a list of transitions, in order. A stack that stands in the middle of an edge walks the rest of
that edge, forward or back; client groups move one at a time at the first phase where they may (on
the way forward) or at the last one (on the way back).

`Open` is a transition that the journal knows to have begun and not ended. It is finished first
where turning round at once would leave something half undone.

Pure functions: no input or output.
"""

from __future__ import annotations

from dataclasses import dataclass

from stacks.migration import phases
from stacks.migration.errors import PlanError
from stacks.migration.phases import Direction, Step
from stacks.topology import (
    GROUPS_MOVE_FROM,
    GROUPS_MOVE_TO,
    PHASE_FIRST,
    PHASE_LAST,
    Placement,
    Position,
    Stage,
    Standing,
)

# The edge whose middle cannot be left backwards without masters that stand aside again.
_CUTOVER = 2


@dataclass(frozen=True)
class Transition:
    """A walk along one edge, the move of one client group, or the exchange of the colours.

    `steps` are those that remain. Exactly one of `edge` and `group` is set, or neither (exchange).
    """

    direction: Direction
    steps: tuple[Step, ...]
    edge: int | None = None
    group: str | None = None

    @property
    def name(self) -> str:
        """As people and the journal name it: `2 -> 3`, `clients traffic -> target`, `exchange`."""
        if self.group is not None:
            return f"clients {self.group} -> {self.placement}"
        if self.edge is None:
            return "exchange"
        start = phases.start_of(self.edge, self.direction)
        return f"{start} -> {phases.end_of(self.edge, self.direction)}"

    @property
    def placement(self) -> Placement:
        """Where a client group goes."""
        return Placement.TARGET if self.direction is Direction.FORWARD else Placement.SOURCE

    def after(self, standing: Standing) -> Standing:
        """Where the stack stands when this transition has ended."""
        if self.group is not None:
            return standing.with_group(self.group, self.placement)
        if self.edge is None:
            home = dict.fromkeys(standing.groups, Placement.SOURCE)
            return Standing(standing.target, standing.source, Position(PHASE_FIRST), home)
        return standing.at(phases.end_of(self.edge, self.direction))


@dataclass(frozen=True)
class PhaseGoal:
    """Stand at a phase."""

    phase: int


@dataclass(frozen=True)
class GroupGoal:
    """Have a client group on one side."""

    group: str
    placement: Placement


@dataclass(frozen=True)
class ExchangeGoal:
    """Begin the next migration: after phase 6, the colours exchanged."""


Goal = PhaseGoal | GroupGoal | ExchangeGoal


def goal_text(goal: Goal) -> str:
    """A goal as the journal keeps it: `6`, `traffic:target`, `exchange`."""
    match goal:
        case PhaseGoal(phase):
            return str(phase)
        case GroupGoal(group, placement):
            return f"{group}:{placement}"
        case ExchangeGoal():
            return "exchange"


def goal_from(text: str) -> Goal:
    """Read what `goal_text` wrote."""
    if text == "exchange":
        return ExchangeGoal()
    group, colon, placement = text.partition(":")
    return GroupGoal(group, Placement(placement)) if colon else PhaseGoal(int(text))


@dataclass(frozen=True)
class Open:
    """A transition that began and did not end."""

    direction: Direction
    edge: int | None = None
    group: str | None = None


def walk(edge: int, direction: Direction, position: Position) -> Transition:
    """The rest of an edge from a position on it."""
    return Transition(direction, phases.steps_from(edge, direction, position), edge=edge)


def move(group: str, direction: Direction, placement: Placement) -> Transition:
    """The rest of a client group's move from where it is."""
    return Transition(direction, phases.group_steps_from(direction, placement), group=group)


def exchange() -> Transition:
    """From phase 6 to phase 0 of the next migration."""
    return Transition(Direction.FORWARD, phases.EXCHANGE_STEPS)


def plan(standing: Standing, goal: Goal, open_: Open | None = None) -> tuple[Transition, ...]:
    """Everything from `standing` to the goal, in order.

    Raises:
        PlanError: there is nothing to do, or no way.
    """
    match goal:
        case PhaseGoal(phase):
            return _to_phase(standing, phase, open_)
        case GroupGoal(group, placement):
            return _to_side(standing, group, placement, open_)
        case ExchangeGoal():
            if standing.position != Position(PHASE_LAST):
                msg = (
                    f"expected to exchange the colours after phase {PHASE_LAST}, the stack stands "
                    f"at {standing.describe()}. Run `migrate start` first"
                )
                raise PlanError(msg)
            return (*_finish(standing, Direction.FORWARD, open_), exchange())


def resume(standing: Standing, open_: Open) -> Transition:
    """The rest of a transition that began and did not end.

    Raises:
        PlanError: the stack does not stand on that transition.
    """
    if open_.group is not None:
        if open_.group not in standing.groups:
            msg = f"expected a client group {open_.group!r}, the stack has none. Run `migrate plan`"
            raise PlanError(msg)
        return move(open_.group, open_.direction, standing.groups[open_.group])
    if open_.edge is None:
        at_end = standing.position == Position(PHASE_FIRST)
        return Transition(
            Direction.FORWARD, phases.EXCHANGE_STEPS[2:] if at_end else exchange().steps
        )
    if standing.position not in positions_of(open_.edge):
        msg = (
            f"expected the stack between phases {open_.edge} and {open_.edge + 1}, it stands at "
            f"{standing.describe()}. See `migrate history`"
        )
        raise PlanError(msg)
    return walk(open_.edge, open_.direction, standing.position)


def positions_of(edge: int) -> tuple[Position, ...]:
    """Positions from one phase to the next, both included."""
    stages = tuple(
        Position(edge, stage) for stage in Stage if stage is not Stage.MOVED or edge == _CUTOVER
    )
    return (*stages, Position(edge + 1))


def _to_phase(standing: Standing, phase: int, open_: Open | None) -> tuple[Transition, ...]:
    if not PHASE_FIRST <= phase <= PHASE_LAST:
        msg = f"expected a phase from {PHASE_FIRST} to {PHASE_LAST}, saw {phase}"
        raise PlanError(msg)
    goal, here = Position(phase), standing.position
    if goal == here:
        found = _at_goal(standing, open_)
        if not found:
            msg = f"nothing to do: the stack stands at {standing.describe()}"
            raise PlanError(msg)
        return found
    direction = Direction.FORWARD if goal.index > here.index else Direction.BACK
    if here.phase == PHASE_LAST:
        msg = (
            f"phase {PHASE_LAST} has no way back: {standing.source}'s ZooKeeper is gone. The way "
            f"back is a new migration: `migrate start --exchange`, then `migrate start`"
        )
        raise PlanError(msg)
    found = list(_finish(standing, direction, open_))
    for transition in found:
        standing = transition.after(standing)
    found += _forward(standing, phase) if direction is Direction.FORWARD else _back(standing, phase)
    return tuple(found)


def _at_goal(standing: Standing, open_: Open | None) -> tuple[Transition, ...]:
    """At the right phase already: what is open is finished there."""
    if open_ is not None and open_.group is not None:
        return (move(open_.group, open_.direction, standing.groups[open_.group]),)
    if open_ is None or open_.edge is None:
        return ()
    if standing.position == phases.end_of(open_.edge, open_.direction):
        return (walk(open_.edge, open_.direction, standing.position),)
    other = _other(open_.direction)
    return (walk(open_.edge, other, standing.position),)


def _finish(standing: Standing, direction: Direction, open_: Open | None) -> tuple[Transition, ...]:
    """What of an open transition must be ended before walking in `direction`.

    At its end: whatever leads the same way, and every way back, which leaves the next way forward
    clean. At its beginning: turning round takes back what it did before its first update.
    """
    if open_ is None or open_.edge is None:
        return ()
    here = standing.position
    if here == phases.end_of(open_.edge, open_.direction):
        if open_.direction is direction or open_.direction is Direction.BACK:
            return (walk(open_.edge, open_.direction, here),)
        return ()
    if here == phases.start_of(open_.edge, open_.direction) and open_.direction is not direction:
        rest = walk(open_.edge, direction, here)
        return (rest,) if any(step.again for step in rest.steps) else ()
    return ()


def _forward(standing: Standing, phase: int) -> list[Transition]:
    found: list[Transition] = []
    while True:
        here = standing.position
        if here.is_settled and GROUPS_MOVE_FROM <= here.phase <= GROUPS_MOVE_TO:
            beyond = phase > GROUPS_MOVE_FROM
            for group, placement in standing.groups.items() if beyond else ():
                if placement is not Placement.TARGET:
                    found.append(move(group, Direction.FORWARD, placement))
                    standing = found[-1].after(standing)
        if here == Position(phase):
            return found
        found.append(walk(here.phase, Direction.FORWARD, here))
        standing = found[-1].after(standing)


def _back(standing: Standing, phase: int) -> list[Transition]:
    found: list[Transition] = []
    while standing.position.index > Position(phase).index:
        here = standing.position
        if here == Position(GROUPS_MOVE_FROM):
            for group, placement in standing.groups.items():
                if placement is not Placement.SOURCE:
                    found.append(move(group, Direction.BACK, placement))
                    standing = found[-1].after(standing)
        edge = here.phase - 1 if here.is_settled else here.phase
        found.append(walk(edge, Direction.BACK, here))
        standing = found[-1].after(standing)
    return found


def _to_side(
    standing: Standing, group: str, placement: Placement, open_: Open | None
) -> tuple[Transition, ...]:
    if group not in standing.groups:
        known = ", ".join(standing.groups) or "none"
        msg = f"expected one of the client groups ({known}), saw {group!r}"
        raise PlanError(msg)
    here = standing.groups[group]
    is_open = open_ is not None and open_.group == group
    if here is placement and not is_open:
        msg = f"nothing to do: client group {group!r} is on the {placement}"
        raise PlanError(msg)
    position = standing.position
    if not (position.is_settled and GROUPS_MOVE_FROM <= position.phase <= GROUPS_MOVE_TO):
        msg = (
            f"client groups move at phases {GROUPS_MOVE_FROM} to {GROUPS_MOVE_TO}, the stack "
            f"stands at {standing.describe()}. Run `migrate start --to {GROUPS_MOVE_FROM}` first"
        )
        raise PlanError(msg)
    direction = Direction.FORWARD if placement is Placement.TARGET else Direction.BACK
    return (move(group, direction, here),)


def _other(direction: Direction) -> Direction:
    return Direction.BACK if direction is Direction.FORWARD else Direction.FORWARD
