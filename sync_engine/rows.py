"""One row of the base table, as values. Pure.

A row holds the stamps of both copies of a path as they were last equal, a hash of the data and the
original ACL. A row whose source stamp is None was found on the other side when no base was there to
say whose it is: it is kept until an operator confirms that it may go. A row whose one stamp is
`GONE` is of a path that was deleted on that side and stays on the other, because something stands
below it that is not the engine's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sync_engine.direction import Side
from sync_engine.znode import Acl, Stat

_HASH_BYTES = 16


class Stamp(NamedTuple):
    """What of a stat tells that a copy has changed. `aversion` is the only trace of a setACL."""

    czxid: int
    mzxid: int
    version: int
    aversion: int

    @staticmethod
    def of(stat: Stat) -> Stamp:
        """The stamp of a stat."""
        return Stamp(stat.czxid, stat.mzxid, stat.version, stat.aversion)


GONE = Stamp(0, 0, 0, 0)
"""The stamp of no znode: this side's copy was deleted, and the other's could not be."""


def stamp_text(stamp: Stamp | None) -> str | None:
    """A stamp as it stands in a file."""
    if stamp is None:
        return None
    return f"{stamp.czxid},{stamp.mzxid},{stamp.version},{stamp.aversion}"


def stamp_of_text(text: str | None) -> Stamp | None:
    """The stamp of a text."""
    return None if text is None else Stamp(*map(int, text.split(",")))


@dataclass(frozen=True, slots=True)
class Row:
    """One path as it was last equal on both sides."""

    a: Stamp | None
    b: Stamp | None
    data_hash: bytes
    acl: tuple[Acl, ...]

    def stamp(self, side: Side) -> Stamp | None:
        """The stamp of one side's copy."""
        return self.a if side is Side.A else self.b

    def is_gone(self, side: Side) -> bool:
        """Whether the path was deleted on this side and stays on the other."""
        return self.stamp(side) == GONE

    @property
    def is_kept(self) -> bool:
        """Whether one side's copy stays that was deleted on the other."""
        return GONE in (self.a, self.b)

    @property
    def is_unowned(self) -> bool:
        """Whether only the side that does not own it has the path, and no base says why."""
        return None in (self.a, self.b)

    @staticmethod
    def of(
        side: Side,
        source: Stamp | None,
        target: Stamp | None,
        content: tuple[bytes, tuple[Acl, ...]],
    ) -> Row:
        """A row from the stamps of a source side and its other side."""
        a, b = (source, target) if side is Side.A else (target, source)
        return Row(a, b, *content)


def data_hash(data: bytes | None) -> bytes:
    """Hash of the data alone; null and empty differ."""
    prefix = b"\0" if data is None else b"\1"
    return hashlib.sha256(prefix + (data or b"")).digest()[:_HASH_BYTES]


def encode_acl(acl: Iterable[Acl]) -> str:
    """An ACL as text."""
    return json.dumps([[e.perms, e.scheme, e.id] for e in acl], separators=(",", ":"))


def decode_acl(text: str) -> tuple[Acl, ...]:
    """The ACL of a text."""
    return tuple(Acl(int(p), str(s), str(i)) for p, s, i in json.loads(text))
