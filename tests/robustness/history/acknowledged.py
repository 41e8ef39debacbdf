"""Acknowledged writes, and both sides' trees at the end, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sync_engine.direction import Side
from sync_engine.znode import Acl

AclSet = frozenset[Acl]


class Kind(StrEnum):
    """What a client did to a path."""

    CREATE = "create"
    SET = "set"
    SET_ACL = "set-acl"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Write:
    """One acknowledged write. `order` counts over both sides; `owned`: its side was the owner.

    `data` and `acl` are what it wrote, of either only where its kind writes it. One that is not
    `acknowledged` was sent, and nobody knows whether it was applied. `began` is when it was sent,
    on the scale of `order`; None: at the moment it was acknowledged. `took` is the mzxid of the
    version that it replaced or removed, where that is known.
    """

    order: int
    side: Side
    rel: str
    kind: Kind
    zxid: int
    owned: bool
    data: bytes | None = None
    acl: AclSet = frozenset()
    aversion: int = 0
    acknowledged: bool = True
    began: int | None = None
    took: int | None = None

    @property
    def sent(self) -> int:
        """The earliest moment at which it may have been applied."""
        return self.order if self.began is None else self.began


@dataclass(frozen=True, slots=True)
class Node:
    """What must be equal on both sides."""

    data: bytes | None
    acl: AclSet


Nodes = Mapping[str, Node]
"""Persistent znodes by relative path."""


@dataclass(slots=True)
class History:
    """One run. `lost_base`: when bases were lost; `rests`: when nothing was under way; by order.

    `unheard`: by order, deletes whose answer an engine cannot have heard, because it died or lost
    the connection; that alone would have told it that the znode had been created again. `copied`:
    data that an engine wrote, by side and path. `standing`: writes of the side that does not own
    that nothing has to become of, because they stand in a znode that is kept.
    """

    writes: list[Write] = field(default_factory=list[Write])
    lost_base: list[int] = field(default_factory=list[int])
    rests: list[int] = field(default_factory=list[int])
    unheard: dict[tuple[Side, str], list[int]] = field(
        default_factory=dict[tuple[Side, str], list[int]]
    )
    copied: set[tuple[Side, str, bytes | None]] = field(
        default_factory=set[tuple[Side, str, bytes | None]]
    )
    standing: list[Write] = field(default_factory=list[Write])
