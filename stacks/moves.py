"""Which standings are next to each other, and what a step between two of them is.

The gate, the planner and the executor ask these rules; a step that they refuse changes nothing.
No input or output, and no library that does any.
"""

from __future__ import annotations

from dataclasses import dataclass

from stacks.topology import (
    LINE,
    PHASE_FIRST,
    PHASE_LAST,
    Color,
    Lifecycle,
    Placement,
    Position,
    Standing,
    Tier,
    Topology,
    TopologyError,
)

# Edges (named by their lower phase) whose upper phase has more than the lower one: forward, they
# create; the others remove. Creating needs no unprotected stage, so it may skip `p/prepared`.
CREATING_EDGES = frozenset({0, 1, 3})


@dataclass(frozen=True)
class Move:
    """A step between two standings that are next to each other.

    `removes` says whether it takes something away that holds state; such a move needs a permit.
    """

    old: Standing
    new: Standing
    removes: bool

    @property
    def name(self) -> str:
        """How a permit and a journal name this move: `2/moved>3`."""
        return f"{self.old.position}>{self.new.position}"


def neighbours(position: Position) -> tuple[Position, ...]:
    """Positions that one update may reach from here, forward ones first."""
    return tuple(
        sorted((p for p in LINE if _adjacent(position, p)), key=lambda p: (-p.index, p.index))
    )


def _adjacent(old: Position, new: Position) -> bool:
    if old.phase == PHASE_LAST:
        return False  # Only an exchange of the colours leaves the end.
    if abs(new.index - old.index) == 1:
        return True
    # Creating may skip the unprotected stage: what is new is protected at once.
    if old.is_settled and new.is_settled and abs(new.phase - old.phase) == 1:
        edge = min(old.phase, new.phase)
        creates = (edge in CREATING_EDGES) == (new.phase > old.phase)
        return creates and edge != 2 and PHASE_LAST not in {old.phase, new.phase}  # noqa: PLR2004 - the edge that moves
    return False


def check_first(new: Standing) -> None:
    """Refuse a stack that would begin anywhere but at phase 0.

    Raises:
        TopologyError: naming the phase seen.
    """
    if new.position != Position(PHASE_FIRST):
        msg = f"a new stack begins at phase {PHASE_FIRST}, saw position {new.position}"
        raise TopologyError(msg)


def check_move(old: Standing, new: Standing) -> Move | None:
    """Decide whether one update may take a stack from `old` to `new`; `None` when nothing moves.

    Raises:
        TopologyError: the two are not neighbours, saying what may come next.
    """
    if old == new:
        return None
    if (old.source, old.target) != (new.source, new.target):
        return _check_exchange(old, new)
    if old.position != new.position:
        if not _adjacent(old.position, new.position):
            _refuse(old, new)
        if dict(old.groups) != dict(new.groups):
            msg = "a move changes the position or a client group, not both in one update"
            raise TopologyError(msg)
        return Move(old, new, removes=_removes(old.position, new.position))
    _check_group_move(old, new)
    return Move(old, new, removes=False)


def _check_exchange(old: Standing, new: Standing) -> Move:
    exchanged = (new.source, new.target) == (old.target, old.source)
    home = all(placement is Placement.SOURCE for placement in new.groups.values())
    if old.position != Position(PHASE_LAST) or new.position != Position(PHASE_FIRST):
        msg = (
            f"colours change only from phase {PHASE_LAST} to phase {PHASE_FIRST}: the stack stands "
            f"at {old.describe()}, the configuration asks for {new.describe()}"
        )
        raise TopologyError(msg)
    if not exchanged or not home or set(old.groups) != set(new.groups):
        msg = f"after phase {PHASE_LAST} come only the colours exchanged, every group on the source"
        raise TopologyError(msg)
    return Move(old, new, removes=False)


def _check_group_move(old: Standing, new: Standing) -> None:
    changed = [name for name in {*old.groups, *new.groups} if _at(old, name) != _at(new, name)]
    if set(old.groups) != set(new.groups):
        # Groups are declared or withdrawn at rest, where it is plain on which side they start.
        if old.position.phase in {PHASE_FIRST, PHASE_LAST} and old.position.is_settled:
            return
        msg = (
            f"client groups {sorted(set(old.groups) ^ set(new.groups))} appear or disappear at "
            f"position {old.position}: declare groups at phase {PHASE_FIRST} or {PHASE_LAST}"
        )
        raise TopologyError(msg)
    if len(changed) != 1:
        msg = f"one client group moves at a time, saw {sorted(changed)}"
        raise TopologyError(msg)
    pair = {old.groups[changed[0]], new.groups[changed[0]]}
    if pair == {Placement.SOURCE, Placement.TARGET}:
        msg = (
            f"client group {changed[0]!r} goes from {old.groups[changed[0]]} to "
            f"{new.groups[changed[0]]}: its writers are stopped first, and its subtrees flipped"
        )
        raise TopologyError(msg)
    if not old.position.is_settled:
        msg = f"client groups move at a phase, not at position {old.position}"
        raise TopologyError(msg)


def _at(standing: Standing, group: str) -> Placement | None:
    return standing.groups.get(group)


def _refuse(old: Standing, new: Standing) -> None:
    if old.position.phase == PHASE_LAST:
        msg = (
            f"phase {PHASE_LAST} is the end, the source's ZooKeeper is gone: the way back is a new "
            f"migration, {new.target} -> {new.source}, which begins at phase {PHASE_FIRST}"
        )
        raise TopologyError(msg)
    reach = " or ".join(str(position) for position in neighbours(old.position))
    msg = (
        f"position {new.position} is not next to {old.position}: from {old.describe()} the next "
        f"update may reach {reach}. Let `migrate start` or `migrate rollback` take the steps"
    )
    raise TopologyError(msg)


def _removes(old: Position, new: Position) -> bool:
    before = Topology.at(Standing(position=old))
    after = Topology.at(Standing(position=new))
    gone = (
        before.lifecycle(color, tier) is not Lifecycle.ABSENT
        and after.lifecycle(color, tier) is Lifecycle.ABSENT
        for color in Color
        for tier in (Tier.ZOOKEEPER, Tier.MASTERS, Tier.AGENTS)
    )
    return any(gone)
