"""The table of the migration, as data: what each edge does, in which order, and may touch.

An *edge* joins two phases, or two placements of a client group. A transition runs along it forward
or back. Its steps are listed here in the order in which they are carried out; what a step does is
said in stacks.migration.acts, who runs it in stacks.migration.executor. What a position means for
resources is stacks.topology's business; this table only says which updates lead there, and
stacks.migration.contracts what they may touch.

Pure data and pure functions: no input or output.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stacks.topology import Placement, Position, Stage


class Direction(StrEnum):
    """Which way along an edge: towards the target's phase 6, or back towards phase 0."""

    FORWARD = "forward"
    BACK = "back"


class StepKind(StrEnum):
    """What a step is, which decides how it is run again after a crash.

    Guards and proofs read; acts and updates find out what already holds before they do the rest.
    """

    GUARD = "guard"
    BACKUP = "backup"
    UPDATE = "update"
    ACT = "act"
    PROOF = "proof"
    RECORD = "record"


@dataclass(frozen=True)
class Step:
    """One line of a transition.

    `to` (or `placement`) is set for updates: where they lead. `again` marks acts that a walk takes
    also when it begins later on the edge: what they establish may have been undone meanwhile.
    """

    name: str
    kind: StepKind
    to: Position | None = None
    placement: Placement | None = None
    again: bool = False


OPENING_GUARDS = "guards"
REMOVAL_GUARDS = "guards before removal"


def _guard(name: str = OPENING_GUARDS) -> Step:
    return Step(name, StepKind.GUARD)


def _act(name: str, *, again: bool = False) -> Step:
    return Step(name, StepKind.ACT, again=again)


def _proof(name: str) -> Step:
    return Step(name, StepKind.PROOF)


def _update(phase: int, stage: Stage = Stage.SETTLED) -> Step:
    position = Position(phase, stage)
    return Step(f"update to {position}", StepKind.UPDATE, to=position)


_BACKUP = Step("backup", StepKind.BACKUP)
_RECORD = Step("record", StepKind.RECORD)
_PREPARED = Stage.PREPARED

FORWARD: dict[int, tuple[Step, ...]] = {
    0: (
        _guard(),
        _BACKUP,
        _act("choose target epoch"),
        _update(1),
        _act("first copy"),
        _act("audit"),
        _act("soak"),
        _proof("verify"),
        _RECORD,
    ),
    1: (
        _guard(),
        _BACKUP,
        _update(2),
        _act("await target masters"),
        _act("replay registry"),
        _proof("verify"),
        _RECORD,
    ),
    2: (
        _guard(),
        _BACKUP,
        _act("inventory", again=True),
        _update(2, _PREPARED),
        # Only now: a new leader of the source ends every framework that cannot change masters.
        _act("raise election numbers"),
        _act("inventory at rest"),
        _act("last replay"),
        _act("flip framework subtrees"),
        _act("project leader"),
        _act("await agents on target"),
        _act("replay deactivations"),
        _act("persist projection"),
        _act("fence election path"),
        _update(2, Stage.MOVED),
        # The way back lifts the fence before it takes its first update, and may have stopped there.
        _act("keep election path fenced", again=True),
        _act("await frameworks on target"),
        _guard(REMOVAL_GUARDS),
        _update(3),
        _proof("verify"),
        _RECORD,
    ),
    3: (
        _guard(),
        _BACKUP,
        _update(4),
        _act("await target agents"),
        _act("reactivate target agents"),
        _act("restore app sizes"),
        _act("canary"),
        _proof("verify"),
        _RECORD,
    ),
    4: (
        _guard(),
        _BACKUP,
        _act("inventory", again=True),
        _update(4, _PREPARED),
        _act("deactivate source agents"),
        _act("move tasks to target"),
        _act("drain source agents"),
        _guard(REMOVAL_GUARDS),
        _update(5),
        _proof("verify"),
        _RECORD,
    ),
    5: (
        _guard(),
        _BACKUP,
        _update(5, _PREPARED),
        _act("await no foreign session"),
        _act("final digest"),
        _guard(REMOVAL_GUARDS),
        _update(6),
        _proof("verify"),
        _RECORD,
    ),
}

BACK: dict[int, tuple[Step, ...]] = {
    0: (
        _guard(),
        _BACKUP,
        _update(0, _PREPARED),
        _guard(REMOVAL_GUARDS),
        _update(0),
        _proof("verify"),
        _RECORD,
    ),
    1: (
        _guard(),
        _BACKUP,
        _update(1, _PREPARED),
        _guard(REMOVAL_GUARDS),
        _update(1),
        _proof("verify"),
        _RECORD,
    ),
    2: (
        _guard(),
        _BACKUP,
        _act("inventory", again=True),
        # Masters of the source could not enter their own election behind the fence.
        _act("lift fence", again=True),
        _update(2, Stage.MOVED),
        _act("await source masters", again=True),
        _update(2, _PREPARED),
        _act("inventory at rest"),
        _act("flip framework subtrees back"),
        _act("drop projection"),
        _act("return registry"),
        _act("await agents on source"),
        _act("return deactivations"),
        _update(2),
        _act("await frameworks on source"),
        _act("reset target masters"),
        _act("replay registry"),
        _proof("verify"),
        _RECORD,
    ),
    3: (
        _guard(),
        _BACKUP,
        _act("inventory", again=True),
        _update(3, _PREPARED),
        _act("deactivate target agents"),
        _act("move tasks to source"),
        _act("drain target agents"),
        _guard(REMOVAL_GUARDS),
        _update(3),
        _proof("verify"),
        _RECORD,
    ),
    4: (
        _guard(),
        _BACKUP,
        _update(4, _PREPARED),
        _act("await source agents"),
        _act("reactivate source agents"),
        _act("restore app sizes"),
        _update(4),
        _proof("verify"),
        _RECORD,
    ),
    5: (
        # Phase 6 has no way back; this edge is walked back only from its middle.
        _guard(),
        _update(5),
        _proof("verify"),
        _RECORD,
    ),
}


def group_steps(direction: Direction) -> tuple[Step, ...]:
    """Steps that take a client group to the target (forward) or home to the source (back)."""
    forward = direction is Direction.FORWARD
    there = Placement.TARGET if forward else Placement.SOURCE
    return (
        _guard(),
        _BACKUP,
        Step("stop group", StepKind.UPDATE, placement=Placement.STOPPED),
        _act("flip group subtrees" if forward else "flip group subtrees back"),
        Step("start group", StepKind.UPDATE, placement=there),
        _act("await group"),
        _proof("verify"),
        _RECORD,
    )


EXCHANGE_STEPS: tuple[Step, ...] = (
    _guard(),
    Step("exchange colours", StepKind.UPDATE, to=Position(0)),
    _RECORD,
)


def steps_of(edge: int, direction: Direction) -> tuple[Step, ...]:
    """All steps of the edge between phase `edge` and `edge + 1`."""
    return (FORWARD if direction is Direction.FORWARD else BACK)[edge]


def start_of(edge: int, direction: Direction) -> Position:
    """The phase at which a walk along an edge begins."""
    return Position(edge if direction is Direction.FORWARD else edge + 1)


def end_of(edge: int, direction: Direction) -> Position:
    """The phase at which a walk along an edge ends."""
    return Position(edge + 1 if direction is Direction.FORWARD else edge)


def steps_from(edge: int, direction: Direction, position: Position) -> tuple[Step, ...]:
    """The steps that remain for a stack that stands on an edge.

    What lies before the update that leads to `position` has been done, or lies on the other side
    of it, but for acts marked `again`. Opening guards and the backup are taken again on the edge;
    at its end nothing is left to guard.
    """
    steps = steps_of(edge, direction)
    if position == start_of(edge, direction):
        return steps
    for index, step in enumerate(steps):
        if step.to == position:
            at_end = position == end_of(edge, direction)
            opening = (s for s in steps[:index] if s.again or (not at_end and _opens(s)))
            return (*opening, *steps[index + 1 :])
    return steps


def group_steps_from(direction: Direction, placement: Placement) -> tuple[Step, ...]:
    """The steps that remain for a client group that runs, or stands still, somewhere."""
    steps = group_steps(direction)
    for index, step in enumerate(steps):
        if step.placement is placement:
            at_end = placement is not Placement.STOPPED
            opening = (s for s in steps[:index] if not at_end and _opens(s))
            return (*opening, *steps[index + 1 :])
    return steps


def _opens(step: Step) -> bool:
    return step.kind is StepKind.BACKUP or step.name == OPENING_GUARDS
