"""What each update of a migration may touch, as data.

Before an update runs, the steps of its preview are held against the contract of its move: what the
edge is not about must not change, whatever a configuration or a program says meanwhile.

Pure data and pure functions: no input or output.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stacks.topology import Position, Stage, Tier


class Side(StrEnum):
    """Whose resources a contract speaks of. Shared ones belong to no colour."""

    SOURCE = "source"
    TARGET = "target"
    SHARED = "shared"


@dataclass(frozen=True)
class Scope:
    """A part of a stack: a tier of one side, or what both share (engine, frameworks, clients)."""

    side: Side
    part: str


@dataclass(frozen=True)
class Contract:
    """What one update of an edge may do besides moving the gate. Replacing is never allowed."""

    restores: bool = False
    """Whether anything that the program declares may be created: an update that stays where it is
    makes up for what a killed one, or somebody, left out."""
    creates: frozenset[Scope] = frozenset()
    updates: frozenset[Scope] = frozenset()
    deletes: frozenset[Scope] = frozenset()


ENGINE = Scope(Side.SHARED, "engine")
FRAMEWORKS = Scope(Side.SHARED, Tier.FRAMEWORKS)
CLIENTS = Scope(Side.SHARED, Tier.CLIENTS)
GATE = Scope(Side.SHARED, "gate")


def _of(side: Side, *tiers: Tier) -> frozenset[Scope]:
    return frozenset(Scope(side, tier) for tier in tiers)


_T_ZOOKEEPER = _of(Side.TARGET, Tier.ZOOKEEPER)
_S_ZOOKEEPER = _of(Side.SOURCE, Tier.ZOOKEEPER)
_T_MASTERS = _of(Side.TARGET, Tier.MASTERS)
_S_MASTERS = _of(Side.SOURCE, Tier.MASTERS)
_T_AGENTS = _of(Side.TARGET, Tier.AGENTS)
_S_AGENTS = _of(Side.SOURCE, Tier.AGENTS)
_MOVING = frozenset({FRAMEWORKS})

_P = Position
_PREPARED = Stage.PREPARED


# From one position to the next, what the update may do. The key is (from, to).
CONTRACTS: dict[tuple[Position, Position], Contract] = {
    (_P(0), _P(1)): Contract(creates=_T_ZOOKEEPER | {ENGINE}),
    (_P(0), _P(0, _PREPARED)): Contract(creates=_T_ZOOKEEPER | {ENGINE}),
    (_P(0, _PREPARED), _P(1)): Contract(creates=_T_ZOOKEEPER | {ENGINE}),
    (_P(1), _P(0, _PREPARED)): Contract(creates=_T_ZOOKEEPER | {ENGINE}),
    (_P(0, _PREPARED), _P(0)): Contract(deletes=_T_ZOOKEEPER | {ENGINE}),
    (_P(1), _P(2)): Contract(creates=_T_MASTERS),
    (_P(1), _P(1, _PREPARED)): Contract(creates=_T_MASTERS),
    (_P(1, _PREPARED), _P(2)): Contract(creates=_T_MASTERS),
    (_P(2), _P(1, _PREPARED)): Contract(creates=_T_MASTERS),
    (_P(1, _PREPARED), _P(1)): Contract(deletes=_T_MASTERS),
    (_P(2), _P(2, _PREPARED)): Contract(updates=_MOVING, creates=_MOVING),
    (_P(2, _PREPARED), _P(2)): Contract(updates=_MOVING, creates=_MOVING),
    (_P(2, _PREPARED), _P(2, Stage.MOVED)): Contract(updates=_MOVING, creates=_MOVING),
    (_P(2, Stage.MOVED), _P(2, _PREPARED)): Contract(updates=_MOVING, creates=_MOVING | _S_MASTERS),
    (_P(2, Stage.MOVED), _P(3)): Contract(deletes=_S_MASTERS),
    (_P(3), _P(2, Stage.MOVED)): Contract(creates=_S_MASTERS),
    (_P(3), _P(4)): Contract(creates=_T_AGENTS),
    (_P(3), _P(3, _PREPARED)): Contract(creates=_T_AGENTS),
    (_P(3, _PREPARED), _P(4)): Contract(creates=_T_AGENTS),
    (_P(4), _P(3, _PREPARED)): Contract(creates=_T_AGENTS),
    (_P(3, _PREPARED), _P(3)): Contract(deletes=_T_AGENTS),
    (_P(4), _P(4, _PREPARED)): Contract(creates=_S_AGENTS),
    (_P(4, _PREPARED), _P(4)): Contract(creates=_S_AGENTS),
    (_P(4, _PREPARED), _P(5)): Contract(deletes=_S_AGENTS),
    (_P(5), _P(4, _PREPARED)): Contract(creates=_S_AGENTS),
    (_P(5), _P(4)): Contract(creates=_S_AGENTS),
    (_P(5), _P(5, _PREPARED)): Contract(),
    (_P(5, _PREPARED), _P(5)): Contract(),
    (_P(5, _PREPARED), _P(6)): Contract(deletes=_S_ZOOKEEPER | {ENGINE}),
}

# A client group stops and starts; nothing else changes.
GROUP_CONTRACT = Contract(updates=frozenset({CLIENTS}), creates=frozenset({CLIENTS}))
# After phase 6 the colours only change their roles: nothing that runs is touched.
EXCHANGE_CONTRACT = Contract()


def contract_of(old: Position, new: Position) -> Contract:
    """What an update between two positions may do.

    An update that stays where it is finishes an earlier one: it may do what led here, and create
    whatever is missing.
    """
    if old != new:
        return CONTRACTS[old, new]
    arriving = [contract for (_, to), contract in CONTRACTS.items() if to == new]
    return Contract(
        restores=True,
        updates=frozenset[Scope]().union(*(c.creates | c.updates for c in arriving)),
        deletes=frozenset[Scope]().union(*(c.deletes for c in arriving)),
    )
