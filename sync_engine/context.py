"""What the workers of one subtree share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sync_engine.base import Base
from sync_engine.conflicts import ConflictJournal
from sync_engine.decide import Decision, View, decide, decide_two_way, hold_conflict
from sync_engine.direction import Direction, Roots, Side
from sync_engine.documents import Ownership
from sync_engine.fence import Fence
from sync_engine.globs import EVERYTHING, Selection
from sync_engine.held import HeldPaths
from sync_engine.link import Link
from sync_engine.merge import MergeRunner
from sync_engine.reader import ScanOptions
from sync_engine.rows import Row, Stamp
from sync_engine.settings import ENGINE_PATH, Tuning
from sync_engine.sizes import Sizes
from sync_engine.slots import SlotPool
from sync_engine.strategy import Policy
from sync_engine.znode import NodeKind, Znode, is_within

Applied = tuple[Stamp | None, float | None]
"""Of one applied path: the stamp of what was copied, and when its change was heard of."""


@dataclass(slots=True)
class Counters:
    """What one subtree's worker has done since the start."""

    echoes: int = 0
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    """Paths that are not copied, and why; ephemerals are only counted."""
    ephemerals: int = 0
    unreadable: set[str] = field(default_factory=set[str])
    compared: int = 0
    """Znodes of both sides that were read to prove them equal."""


@dataclass(slots=True)
class Shared:
    """What the workers of both ways of one subtree know together."""

    held: HeldPaths
    skew_ms: Callable[[], float | None]
    """By how much side b's clock is ahead of side a's; None while nobody knows."""
    merger: MergeRunner | None = None
    told_merges: dict[str, tuple[Stamp | None, Stamp | None]] = field(
        default_factory=dict[str, tuple[Stamp | None, Stamp | None]]
    )
    """Versions (a, b) of which the journal says that they are merged."""
    alive: set[str] = field(default_factory=set[str])
    """Paths that are gone on one side and have new children on the other."""
    resolved: dict[str, Side] = field(default_factory=dict[str, Side])
    """Whom an operator has just chosen."""
    released: set[str] = field(default_factory=set[str])
    """Paths that nobody knows of and that may go by an operator's word. Each one's row goes with
    the delete: whatever comes between, it is known that they wait."""
    may_be_sequential: bool = False
    """Whether an operator has confirmed that names in ten digits are no sequential ones."""
    sizes: Sizes = field(default_factory=lambda: Sizes(lambda: asyncio.get_running_loop().time()))
    """How large the base was a minute ago."""

    def settle(self, rel: str) -> None:
        """A path was applied: nothing waits and nothing is kept alive there."""
        self.held.drop(rel)
        self.alive.discard(rel)
        self.released.discard(rel)


@dataclass(slots=True)
class Subtree:
    """One subtree at run time. `doc` changes at a flip, while the replicator's lock is held."""

    name: str
    roots: Roots
    doc: Ownership
    base: Base
    slots: Mapping[Side, SlotPool]
    links: Mapping[Side, Link]
    fence: Fence
    conflicts: ConflictJournal
    tuning: Tuning
    on_applied: Callable[[Subtree, Sequence[Applied]], None]
    """Told of applied paths."""
    policy: Policy
    shared: Shared
    kind: Callable[[str], NodeKind]
    """What a relative path is created as."""
    selection: Selection = EVERYTHING
    """Which relative paths are the engine's; all others are left alone on both sides."""
    counters: Counters = field(default_factory=Counters)

    def decide(
        self,
        rel: str,
        source: View | None,
        target: View | None,
        row: Row | None,
        *,
        trusted: bool = True,
    ) -> Decision:
        """Decide one path by this subtree's rules."""
        policy, shared = self.policy, self.shared
        if rel in shared.released and target is not None and row is not None and row.is_unowned:
            row = None
        if rel in shared.resolved:
            policy = replace(policy, resolved=shared.resolved[rel])
        if policy.both:
            return decide_two_way(
                source,
                target,
                row,
                side=self.owner,
                policy=policy,
                skew_ms=shared.skew_ms(),
                alive=rel in shared.alive,
            )
        decision = decide(source, target, row, owner=self.owner, trusted=trusted)
        if decision.conflict == "deleted-by-other" and self.kind(rel).expires:
            # Its server deletes it by itself, and nobody did anything wrong.
            decision = replace(decision, conflict=None)
        return hold_conflict(decision, policy, source=self.owner)

    def mirrored(self, policy: Policy) -> Subtree:
        """The same subtree, copied the other way."""
        doc = self.doc.model_copy(update={"owner": self.owner.other})
        return replace(self, doc=doc, policy=policy, counters=Counters())

    def by_side(
        self, source: Stamp | None, target: Znode | None
    ) -> tuple[Stamp | None, Stamp | None]:
        """The stamps of both copies, side a's first."""
        other = None if target is None else Stamp.of(target.stat)
        return (source, other) if self.owner is Side.A else (other, source)

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

    def covers(self, rel: str) -> bool:
        """Whether a relative path is the engine's."""
        return self.selection.covers(rel)

    def scan(
        self,
        side: Side,
        *,
        on_unreadable: Callable[[str], None] | None = None,
        everything: bool = False,
    ) -> AsyncGenerator[list[Znode]]:
        """Read what is the engine's on a side, or all of it; see `Lane.scan`."""
        options = ScanOptions()
        if on_unreadable is not None:
            options["on_unreadable"] = on_unreadable
        if not (everything or self.selection.is_everything):
            options["is_wanted"] = lambda path: self.covers(self.roots.rel(side, path) or "")
        return self.links[side].reader.scan(self.roots.root(side), **options)

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
