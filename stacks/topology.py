"""Desired state of both colours, as values: what a phase *is*.

A migration is a walk over *standings*. A standing says which colour is left (the source), which is
reached (the target), at which position between them the stack is, and on which side each client
group runs. `Topology.at` turns a standing into the lifecycle of every tier of both colours. The
Pulumi program, the gate, the planner, the documentation and the tests all ask this one function.

Positions form a line, read from left to right when going forward::

    0 - 0/prepared - 1 - 1/prepared - 2 - 2/prepared - 2/moved - 3 - 3/prepared - 4 - 4/prepared
      - 5 - 5/prepared - 6

`p/prepared` is between phase p and phase p+1: whatever the two phases do not share exists and is
not protected. Only from there can anything be removed, in either direction. `2/moved` is the one
position after which what stood still runs again on the other side.

Not here: which standings are next to each other (stacks.moves), how a transition is run
(stacks.migration), and what a tier consists of (components).
No input or output, and no library that does any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

PHASE_FIRST = 0
PHASE_LAST = 6
# Client groups move one at a time while both ensembles hold all that clients need: after the
# frameworks' subtrees have moved (3) and before the source's ZooKeeper loses its protection (5).
GROUPS_MOVE_FROM = 3
GROUPS_MOVE_TO = 5


class TopologyError(ValueError):
    """A value that is no standing, or a move that no migration makes."""


class Color(StrEnum):
    """One of the two identities that a cluster can have; a name, never a role."""

    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Color:
        """The colour on the opposite side."""
        return Color.GREEN if self is Color.BLUE else Color.BLUE


class Tier(StrEnum):
    """A layer of a cluster that appears, moves and disappears as one."""

    ZOOKEEPER = "zookeeper"
    MASTERS = "masters"
    AGENTS = "agents"
    FRAMEWORKS = "frameworks"
    CLIENTS = "clients"


class Lifecycle(StrEnum):
    """What a tier of one colour should be."""

    ABSENT = "absent"
    STANDBY = "standby"
    ACTIVE = "active"
    DRAINING = "draining"


class Stage(StrEnum):
    """Where a position lies between its phase and the next one."""

    SETTLED = "settled"
    PREPARED = "prepared"
    MOVED = "moved"


class Placement(StrEnum):
    """Where a client group, or the frameworks, run. `STOPPED` keeps the resource: only its
    processes do not run."""

    SOURCE = "source"
    STOPPED = "stopped"
    TARGET = "target"


@dataclass(frozen=True)
class Position:
    """A place on the line above.

    Raises:
        TopologyError: the phase is not 0..6, or the line has no such stage after it.
    """

    phase: int
    stage: Stage = Stage.SETTLED

    def __post_init__(self) -> None:
        if not PHASE_FIRST <= self.phase <= PHASE_LAST:
            msg = f"a phase is a number from {PHASE_FIRST} to {PHASE_LAST}, not {self.phase}"
            raise TopologyError(msg)
        if self.stage is not Stage.SETTLED and self.phase == PHASE_LAST:
            msg = f"nothing comes after phase {PHASE_LAST}: there is no {self.phase}/{self.stage}"
            raise TopologyError(msg)
        if self.stage is Stage.MOVED and self.phase != 2:  # noqa: PLR2004 - the edge that moves
            msg = f"only the way from 2 to 3 has a moved stage: there is no {self.phase}/moved"
            raise TopologyError(msg)

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read `3` or `2/prepared`, as `str` writes it.

        Raises:
            TopologyError: the text names no position.
        """
        phase, _, stage = text.strip().partition("/")
        try:
            return cls(int(phase), Stage(stage) if stage else Stage.SETTLED)
        except TopologyError:
            raise
        except ValueError:
            known = ", ".join(str(position) for position in LINE)
            msg = f"expected a position (one of {known}), saw {text!r}"
            raise TopologyError(msg) from None

    def __str__(self) -> str:
        return str(self.phase) if self.stage is Stage.SETTLED else f"{self.phase}/{self.stage}"

    @property
    def is_settled(self) -> bool:
        """Whether this is a phase and not a place between two."""
        return self.stage is Stage.SETTLED

    @property
    def index(self) -> int:
        """Place on the line, counted from 0; a lower index is closer to the source."""
        return LINE.index(self)


def _line() -> tuple[Position, ...]:
    places: list[Position] = []
    for phase in range(PHASE_FIRST, PHASE_LAST + 1):
        places.append(Position(phase))
        if phase < PHASE_LAST:
            places.append(Position(phase, Stage.PREPARED))
        if phase == 2:  # noqa: PLR2004 - the edge that moves
            places.append(Position(phase, Stage.MOVED))
    return tuple(places)


LINE: tuple[Position, ...] = _line()


@dataclass(frozen=True)
class Standing:
    """Where a stack stands: the input of the gate, and what stack configuration declares.

    Raises:
        TopologyError: source and target are one colour, or a client group is on a side that the
            position does not allow.
    """

    source: Color = Color.BLUE
    target: Color = Color.GREEN
    position: Position = Position(0)
    groups: Mapping[str, Placement] = field(default_factory=dict[str, Placement])

    def __post_init__(self) -> None:
        if self.source is self.target:
            msg = f"source and target are both {self.source}: a migration leaves one for the other"
            raise TopologyError(msg)
        object.__setattr__(self, "groups", MappingProxyType(dict(sorted(self.groups.items()))))
        for name, placement in self.groups.items():
            allowed = _placements_at(self.position)
            if placement not in allowed:
                expected = " or ".join(allowed)
                msg = (
                    f"client group {name!r} is {placement} at position {self.position}, where only "
                    f"{expected} is possible: groups move between phases {GROUPS_MOVE_FROM} and "
                    f"{GROUPS_MOVE_TO}"
                )
                raise TopologyError(msg)

    def __hash__(self) -> int:
        return hash((self.source, self.target, self.position, tuple(self.groups.items())))

    def at(self, position: Position) -> Standing:
        """The same colours and groups at another position."""
        return replace(self, position=position)

    def with_group(self, name: str, placement: Placement) -> Standing:
        """The same standing with one client group elsewhere."""
        return replace(self, groups={**self.groups, name: placement})

    def describe(self) -> str:
        """Text for people: `position 3 of blue -> green, traffic on target`."""
        groups = "".join(f", {name} {where}" for name, where in self.groups.items())
        return f"position {self.position} of {self.source} -> {self.target}{groups}"


def _placements_at(position: Position) -> tuple[Placement, ...]:
    if position.index < Position(GROUPS_MOVE_FROM).index:
        return (Placement.SOURCE,)
    if position.index > Position(GROUPS_MOVE_TO).index:
        return (Placement.TARGET,)
    return tuple(Placement)


@dataclass(frozen=True)
class TierState:
    """What a tier of one colour should be, and whether Pulumi must refuse to delete it."""

    lifecycle: Lifecycle
    protect: bool = False

    @property
    def exists(self) -> bool:
        """Whether the tier has resources at all."""
        return self.lifecycle is not Lifecycle.ABSENT


@dataclass(frozen=True)
class Topology:
    """Both colours' tiers at one standing.

    `projection` is true where the target's leader must stand in the source's election path, and
    None where the acts of a transition change it. `frameworks` says on which side the frameworks
    run; where a client group runs is the standing's word.
    """

    standing: Standing
    tiers: Mapping[tuple[Color, Tier], TierState]
    engine: TierState
    frameworks: Placement
    projection: bool | None

    @classmethod
    def at(cls, standing: Standing) -> Topology:
        """The one function from a standing to desired state."""
        position = standing.position
        tiers: dict[tuple[Color, Tier], TierState] = {}
        for tier, states in _tier_states(position).items():
            tiers[standing.source, tier] = states[0]
            tiers[standing.target, tier] = states[1]
        engine_exists = 0 < position.index < Position(PHASE_LAST).index
        loose = position in {Position(0, Stage.PREPARED), Position(5, Stage.PREPARED)}
        return cls(
            standing=standing,
            tiers=MappingProxyType(tiers),
            engine=TierState(
                Lifecycle.ACTIVE if engine_exists else Lifecycle.ABSENT,
                protect=engine_exists and not loose,
            ),
            frameworks=_frameworks(position),
            projection=_projection(position),
        )

    def tier(self, color: Color, tier: Tier) -> TierState:
        """State of the ZooKeeper, masters or agents tier of a colour."""
        return self.tiers[color, tier]

    def lifecycle(self, color: Color, tier: Tier) -> Lifecycle:
        """Lifecycle of the ZooKeeper, masters or agents tier of a colour."""
        return self.tiers[color, tier].lifecycle

    @property
    def framework_color(self) -> Color | None:
        """The colour that the frameworks run against; None while they stand still."""
        return self._color(self.frameworks)

    def group_color(self, group: str) -> Color | None:
        """The colour that a client group runs against; None while it stands still."""
        return self._color(self.standing.groups[group])

    def _color(self, placement: Placement) -> Color | None:
        if placement is Placement.STOPPED:
            return None
        standing = self.standing
        return standing.source if placement is Placement.SOURCE else standing.target


def _tier_states(position: Position) -> dict[Tier, tuple[TierState, TierState]]:
    """(source, target) of each tier. `protect` is off only right beside a removal."""
    here = position.index

    def until(last: Position, *, loose_from: Position) -> TierState:
        if here > last.index:
            return TierState(Lifecycle.ABSENT)
        leaving = here >= loose_from.index
        return TierState(Lifecycle.ACTIVE, protect=not leaving)

    def since(first: Position, *, active_from: Position) -> TierState:
        if here < first.index:
            return TierState(Lifecycle.ABSENT)
        lifecycle = Lifecycle.ACTIVE if here >= active_from.index else Lifecycle.STANDBY
        return TierState(lifecycle, protect=position != first)

    prepared_0, prepared_1, prepared_3 = (Position(p, Stage.PREPARED) for p in (0, 1, 3))
    prepared_2, moved_2 = Position(2, Stage.PREPARED), Position(2, Stage.MOVED)
    prepared_4, prepared_5 = Position(4, Stage.PREPARED), Position(5, Stage.PREPARED)
    agents_source = until(prepared_4, loose_from=prepared_4)
    if position == prepared_4:
        agents_source = TierState(Lifecycle.DRAINING)
    return {
        Tier.ZOOKEEPER: (
            until(prepared_5, loose_from=prepared_5),
            since(prepared_0, active_from=Position(3)),
        ),
        Tier.MASTERS: (
            until(moved_2, loose_from=prepared_2),
            since(prepared_1, active_from=moved_2),
        ),
        Tier.AGENTS: (agents_source, since(prepared_3, active_from=Position(4))),
    }


def _frameworks(position: Position) -> Placement:
    stopped = Position(2, Stage.PREPARED)
    if position == stopped:
        return Placement.STOPPED
    return Placement.SOURCE if position.index < stopped.index else Placement.TARGET


def _projection(position: Position) -> bool | None:
    stopped = Position(2, Stage.PREPARED)
    if position == stopped:
        return None
    return stopped.index < position.index < Position(PHASE_LAST).index
