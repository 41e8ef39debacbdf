"""What the workers of one subtree share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sync_engine.base import Base
from sync_engine.conflicts import ConflictJournal
from sync_engine.direction import Direction, Roots, Side
from sync_engine.documents import Ownership
from sync_engine.fence import Fence
from sync_engine.link import Link
from sync_engine.rows import Stamp
from sync_engine.settings import ENGINE_PATH, Tuning
from sync_engine.slots import Slot
from sync_engine.znode import is_within


@dataclass(slots=True)
class Counters:
    """What one subtree's worker has done since the start."""

    echoes: int = 0
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    """Paths that are not copied, and why; ephemerals are only counted."""
    ephemerals: int = 0
    unreadable: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class Subtree:
    """One subtree at run time. `doc` changes at a flip, while the replicator's lock is held."""

    name: str
    roots: Roots
    doc: Ownership
    base: Base
    slots: Mapping[Side, list[Slot]]
    links: Mapping[Side, Link]
    fence: Fence
    conflicts: ConflictJournal
    tuning: Tuning
    on_applied: Callable[[Subtree, str, Stamp | None, float | None], None]
    """Told of each applied path: relative path, source's stamp, when its change was heard of."""
    counters: Counters = field(default_factory=Counters)

    @property
    def owner(self) -> Side:
        """The side that clients write."""
        return self.doc.owner

    @property
    def direction(self) -> Direction:
        """The way changes go."""
        return Direction.leaving(self.owner)

    @property
    def source(self) -> Link:
        """Connections to the owner's side."""
        return self.links[self.owner]

    @property
    def target(self) -> Link:
        """Connections to the other side."""
        return self.links[self.owner.other]

    def source_path(self, rel: str) -> str:
        """Full path on the owner's side."""
        return self.roots.path(self.owner, rel)

    def target_path(self, rel: str) -> str:
        """Full path on the other side."""
        return self.roots.path(self.owner.other, rel)

    async def catch_up(self, side: Side) -> None:
        """Let later reads of a side's reader see all that was acknowledged there before."""
        upto = await self.fence.barrier(side)
        await self.links[side].reader.sync(self.roots.root(side), upto=upto)

    @property
    def is_internal(self) -> bool:
        """Whether these are znodes of the engine itself, which nobody can lose anything in."""
        return is_within(self.roots.a, ENGINE_PATH)

    @property
    def target_is_fenced(self) -> bool:
        """Whether new nodes on the other side get fenced ACLs."""
        return self.doc.is_fenced(self.owner.other)
