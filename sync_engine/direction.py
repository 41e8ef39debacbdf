"""The two sides of a pair of ensembles, and the two ways between them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sync_engine.znode import is_within


class Side(StrEnum):
    """One ensemble of the pair."""

    A = "a"
    B = "b"

    @property
    def other(self) -> Side:
        """The opposite side."""
        return Side.B if self is Side.A else Side.A


class Direction(StrEnum):
    """From the owner's side to the other."""

    A_TO_B = "a_to_b"
    B_TO_A = "b_to_a"

    @property
    def source(self) -> Side:
        """The side that is read."""
        return Side.A if self is Direction.A_TO_B else Side.B

    @property
    def target(self) -> Side:
        """The side that is written."""
        return self.source.other

    @staticmethod
    def leaving(side: Side) -> Direction:
        """The direction whose source is this side."""
        return Direction.A_TO_B if side is Side.A else Direction.B_TO_A


@dataclass(frozen=True, slots=True)
class Roots:
    """Where a subtree lies on each side. Paths relative to a root are "" or begin with a slash."""

    a: str
    b: str

    def root(self, side: Side) -> str:
        """The subtree's own path on a side."""
        return self.a if side is Side.A else self.b

    def path(self, side: Side, rel: str) -> str:
        """The full path of a relative one."""
        root = self.root(side)
        if root == "/":
            return rel or "/"
        return root + rel

    def rel(self, side: Side, path: str) -> str | None:
        """The relative path of a full one; None for a path outside the subtree."""
        root = self.root(side)
        if not is_within(path, root):
            return None
        if root == "/":
            return "" if path == "/" else path
        return path[len(root) :]


def depth(rel: str) -> int:
    """How many levels a relative path lies below its root."""
    return rel.count("/")
