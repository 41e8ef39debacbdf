"""Keeps the other side of one subtree equal to its owner's side.

Watch events only name paths: a set of dirty paths is all that is remembered, however often they
change, and what is copied is what a read after the event finds. The connection that reads may have
an older server than the watch's, so every read follows a `sync` on its own connection, and counts
only if that server had reached the event's zxid; where events tell none (before ZooKeeper 3.9), the
zxid of a transaction of ours that came after. Events that were lost with a connection are made up
for by a comparison (`comparison.py`).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog

from sync_engine.applier import Applier, Outcome
from sync_engine.comparison import compare, ensure_above, learn_acl
from sync_engine.context import Subtree
from sync_engine.decide import Action, assumed, decide, is_mass_delete, view
from sync_engine.errors import (
    AuthFailedError,
    FencedError,
    LaneClosedError,
    NoAuthError,
    NoNodeError,
    StateError,
    SyncError,
)
from sync_engine.patience import Patience
from sync_engine.transaction import Work
from sync_engine.znode import Znode

_log = structlog.get_logger()
# One round's paths: at 1,000 writes/s a round holds ten or so; more at once only let others wait.
ROUND_MAX = 2_000
# Decisions on one path that were overtaken by writes on the other side; then it waits for the next
# look at it.
_ATTEMPTS_MAX = 8
_PAUSE_MIN_S = 0.05
_PAUSE_MAX_S = 1.0


@dataclass(slots=True)
class Dirty:
    """Why a path is to be looked at. Forced: the target is read too, not assumed."""

    heard_at: float | None
    forced: bool = False
    zxid: int = 0
    """The highest that an event told; a read must not be older."""
    is_undated: bool = False
    """Whether an event told none."""


class Replicator:
    """The worker of one subtree. `lock` is held while anything is read, decided or written."""

    def __init__(self, subtree: Subtree) -> None:
        self.subtree = subtree
        self.lock = asyncio.Lock()
        self.stalled: str | None = None
        self.is_copying = not subtree.base.is_trusted
        self.last_failure: str | None = None
        self._applier = Applier(subtree)
        self._patience = Patience()
        self._dirty: dict[str, Dirty] = {}
        self._busy = 0
        self._compare_wanted = True
        self._confirmed = False
        self._wake = asyncio.Event()
        self._wake.set()

    @property
    def backlog(self) -> int:
        """Paths that are known to have changed and are not applied."""
        return len(self._dirty) + self._busy

    @property
    def is_idle(self) -> bool:
        """Whether nothing is known to be left to do."""
        return not (self.backlog or self._compare_wanted)

    def notify(
        self,
        rel: str,
        heard_at: float | None = None,
        *,
        forced: bool = False,
        zxid: int | None = None,
    ) -> None:
        """Say that a path has changed. More than `backlog_max` of them become one comparison.

        `zxid` is the change's; with a time it was heard at and no zxid, a server that does not
        tell it is taken for the one that told of the change.
        """
        known = self._dirty.get(rel)
        is_undated = heard_at is not None and zxid is None
        if known is not None:
            known.forced |= forced
            known.zxid = max(known.zxid, zxid or 0)
            known.is_undated |= is_undated
        elif len(self._dirty) >= self.subtree.tuning.backlog_max:
            self._dirty.clear()
            self.request_comparison()
        else:
            self._dirty[rel] = Dirty(heard_at, forced, zxid or 0, is_undated)
        self._wake.set()

    def request_comparison(self) -> None:
        """Say that anything may have changed."""
        self._compare_wanted = True
        self._wake.set()

    def confirm(self) -> None:
        """Let the deletes that replication waits for happen."""
        self._confirmed = True
        kept = [
            rel
            for rel, row in self.subtree.base.rows.items()
            if row.stamp(self.subtree.owner) is None
        ]
        if kept:
            self.subtree.base.put(dict.fromkeys(kept))
            for rel in kept:
                self.notify(rel, forced=True)
        self.stalled = None
        self.request_comparison()

    async def run(self) -> None:
        """Work for ever.

        Whatever else goes wrong is tried again and shown in the status: an engine that ends for one
        odd answer would leave its other subtrees behind.

        Raises:
            FencedError: another engine has taken over.
            StateError: what the engine keeps of itself cannot be used.
            LaneError: credentials are refused, or the engine is ending.
        """
        pause_s = _PAUSE_MIN_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                async with self.lock:
                    await self.work()
            except (FencedError, StateError, AuthFailedError, LaneClosedError):
                raise
            except SyncError as error:
                self.last_failure = str(error)
                _log.warning("replicator.retry", subtree=self.subtree.name, error=str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_MAX_S)
                self._wake.set()
            else:
                pause_s = _PAUSE_MIN_S
                self.last_failure = None

    async def work(self) -> None:
        """Do what there is to do; the caller holds `lock`."""
        if self.stalled is not None:
            return
        if self._compare_wanted:
            self._compare_wanted = False
            try:
                await self._compare()
            except BaseException:
                # Cancelled, too: a comparison that was not made to its end is still wanted.
                self._compare_wanted = True
                raise
        while self._dirty and self.stalled is None:
            await self._round()
        if not self._dirty and not self._compare_wanted:
            self._confirmed = False

    async def drain(self) -> None:
        """Compare with the owner's side as it is now, and apply all; the caller holds `lock`."""
        self._compare_wanted = True
        while not self.is_idle and self.stalled is None:
            await self.work()

    def turn(self) -> None:
        """Forget what was heard from the side that owned the subtree; the caller holds `lock`."""
        self._dirty.clear()
        self.request_comparison()

    async def _compare(self) -> None:
        subtree = self.subtree
        trusted = subtree.base.is_trusted
        async for works in compare(subtree, trusted=trusted, found_missing=self._found_missing):
            await self._apply(works)
        for rel in subtree.base.acl_writes:
            self.notify(rel, forced=True)
        if not trusted:
            subtree.base.trust()
        self.is_copying = False

    def _found_missing(self, rels: list[str]) -> None:
        """Take paths of the base that a comparison did not find on the owner's side."""
        if self._guard(len(rels)):
            return
        for rel in rels:
            self.notify(rel)

    def _guard(self, deletes: int) -> bool:
        """Stop if so much vanished that the source may have lost its data."""
        tuning, rows = self.subtree.tuning, len(self.subtree.base)
        if self._confirmed or not is_mass_delete(
            deletes, rows, share_max=tuning.delete_share_max, deletes_min=tuning.delete_count_free
        ):
            return False
        self.stalled = (
            f"{deletes} of {rows} znodes are gone on side {self.subtree.owner.value}: if its "
            "clients deleted them, confirm; if the ensemble lost its data, restore it first"
        )
        _log.error("replicator.stalled", subtree=self.subtree.name, reason=self.stalled)
        self.request_comparison()
        return True

    async def _round(self) -> None:
        """Look at some dirty paths and apply what they need."""
        batch = dict(list(self._dirty.items())[:ROUND_MAX])
        for rel in batch:
            del self._dirty[rel]
        self._busy = len(batch)
        try:
            works = await self._decide(batch)
            deletes = sum(w.decision.action is Action.DELETE for w in works)
            if self._guard(deletes):
                self._put_back(batch)
                return
            await self._apply(works)
        except BaseException:
            # Cancelled, too: a path that is forgotten is a write that is lost.
            self._put_back(batch)
            raise
        finally:
            self._busy = 0

    def _put_back(self, batch: dict[str, Dirty]) -> None:
        for rel, dirty in batch.items():
            newer = self._dirty.setdefault(rel, dirty)
            newer.forced |= dirty.forced
            newer.zxid = max(newer.zxid, dirty.zxid)
            newer.is_undated |= dirty.is_undated
            if newer is not dirty and dirty.heard_at is not None:
                newer.heard_at = dirty.heard_at

    async def _decide(self, batch: dict[str, Dirty]) -> list[Work]:
        subtree = self.subtree
        rels = list(batch)
        upto = max(dirty.zxid for dirty in batch.values())
        if any(dirty.is_undated for dirty in batch.values()):
            upto = max(upto, await subtree.fence.barrier(subtree.owner))
        sources = await self._read_sources(rels, upto)
        works: list[Work] = []
        for rel, source in zip(rels, sources, strict=True):
            row = subtree.base.get(rel)
            seen = view(source, row)
            target = assumed(row, subtree.owner.other)
            decision = decide(seen, target, row, owner=subtree.owner)
            if decision.action is Action.NOTHING and row is not None and batch[rel].heard_at:
                subtree.counters.echoes += 1
            works.append(Work(rel, source, seen, target, row, decision, batch[rel].heard_at))
        # A delete's version does not tell of another ACL, and nothing is left to find it by later.
        forced = [
            work
            for work in works
            if batch[work.rel].forced
            or work.decision.action is Action.DELETE
            or work.rel in subtree.base.acl_writes
        ]
        if forced:
            await self._decide_again(forced)
        return works

    async def _read_sources(self, rels: list[str], upto: int) -> list[Znode | None]:
        """Read the owner's copies, no older than a zxid."""
        subtree = self.subtree
        paths = [subtree.source_path(rel) for rel in rels]
        reader = subtree.source.reader
        try:
            # The sync is sent first, on the same connection, so its answer need not be waited for.
            reached, nodes = await asyncio.gather(reader.sync(paths[0]), reader.read_many(paths))
            if reached < upto:
                await reader.sync(paths[0], upto=upto)
                nodes = await reader.read_many(paths)
        except NoAuthError:
            await reader.sync(paths[0], upto=upto)
            nodes: list[Znode | None] = []
            for path in paths:
                try:
                    nodes.append(await reader.read(path))
                    subtree.counters.unreadable.discard(path)
                except NoAuthError:
                    subtree.counters.unreadable.add(path)
                    nodes.append(None)
        return nodes

    async def _decide_again(self, works: list[Work]) -> None:
        """Decide with the other side's copy read instead of assumed."""
        subtree = self.subtree
        lane = subtree.target.writer
        paths = [subtree.target_path(work.rel) for work in works]
        _, nodes = await asyncio.gather(lane.sync(paths[0]), lane.read_many(paths))
        for work, node in zip(works, nodes, strict=True):
            work.row = learn_acl(subtree, work.rel, node)
            work.view = view(work.source, work.row)
            original = None if work.view is None else work.view.acl
            work.target = view(node, work.row, original=original)
            work.decision = decide(work.view, work.target, work.row, owner=subtree.owner)
            work.loser = node

    async def _apply(self, works: list[Work]) -> None:
        """Apply works until each is done, refused or overtaken too often."""
        for _ in range(_ATTEMPTS_MAX):
            works = [work for work in works if not self._put_aside(work)]
            if not works:
                return
            if any(work.rel == "" and work.decision.action is Action.CREATE for work in works):
                await ensure_above(self.subtree)
            outcome = await self._applier.apply(works)
            for work, reason in outcome.refused:
                self._quarantine(work.rel, reason)
            works = await self._after(outcome)
            if outcome.first:
                # They come after what stands in their way.
                break
            if works:
                await self._decide_again(works)
        for work in works:
            self.notify(work.rel, work.heard_at, forced=True)

    async def _after(self, outcome: Outcome) -> list[Work]:
        """Take note of what was done, and look at what stands in the way of the rest."""
        for work in outcome.done:
            self.subtree.counters.skipped.pop(work.rel, None)
        aside = self._patience.put_aside(outcome)
        for rel, reason in aside.items():
            self._quarantine(rel, reason)
        for rel in sorted(outcome.first):
            if not self._patience.is_over(rel):
                await self._look_around(rel)
        return [work for work in outcome.stale if work.rel not in aside]

    async def _look_around(self, rel: str) -> None:
        """Mark a path and its children on the other side to be looked at on both sides."""
        self.notify(rel, forced=True)
        try:
            names, _ = await self.subtree.target.writer.children(self.subtree.target_path(rel))
        except NoNodeError:
            return
        for name in names:
            self.notify(f"{rel}/{name}", forced=True)

    def _put_aside(self, work: Work) -> bool:
        """Take out a work that is not copied, and say why."""
        if work.decision.action is not Action.SKIP:
            return False
        reason = work.decision.reason or "skipped"
        if reason == "ephemeral" and work.decision.conflict is None:
            self.subtree.counters.ephemerals += 1
        else:
            self._quarantine(work.rel, reason)
        return True

    def _quarantine(self, rel: str, reason: str) -> None:
        path = self.subtree.source_path(rel)
        if self.subtree.counters.skipped.get(rel) != reason:
            _log.warning("replicator.skipped", subtree=self.subtree.name, path=path, reason=reason)
        self.subtree.counters.skipped[rel] = reason


def now() -> float:
    """The clock of `heard_at`."""
    return time.monotonic()
