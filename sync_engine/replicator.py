"""Keeps the other side of one subtree equal to its owner's side.

Watch events only name paths: a set of dirty paths is all that is remembered, however often they
change, and what is copied is what a read after the event finds (`owners_side.py`). Events that were
lost with a connection are made up for by a comparison (`comparison.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable

import structlog

from sync_engine.applier import Applier, Outcome
from sync_engine.arbiter import Arbiter
from sync_engine.comparison import compare, decide_again, ensure_above
from sync_engine.context import Subtree
from sync_engine.decide import Action, Decision, assumed, view
from sync_engine.delete_guard import DeleteGuard
from sync_engine.dirty import Dirty, DirtySet
from sync_engine.errors import (
    AuthFailedError,
    FencedError,
    LaneClosedError,
    NoAuthError,
    StateError,
    SyncError,
)
from sync_engine.first_copy import why_wait
from sync_engine.obstacles import is_settled, look_around
from sync_engine.owners_side import OwnersSide
from sync_engine.patience import Patience
from sync_engine.rounds import Overlap, Rounds, Turn
from sync_engine.transaction import Work

_log = structlog.get_logger()
# Decisions on one path that were overtaken by writes on the other side; then it waits for the next
# look at it.
_ATTEMPTS_MAX = 8
_PAUSE_MIN_S = 0.05
_PAUSE_MAX_S = 1.0


class Replicator:
    """The worker of one subtree, or of one of its two ways: then the other worker is its twin.

    `lock` is held while anything is read, decided or written; twins share it.
    """

    def __init__(self, subtree: Subtree, *, twin: Replicator | None = None) -> None:
        self.subtree = subtree
        self.lock = Turn() if twin is None else twin.lock
        self._arbiter = Arbiter(subtree, self.stall)
        self._twin: Replicator | None = None
        if twin is not None:
            self._pair(twin)
            twin._pair(self)  # noqa: SLF001 - both are of this class
        self.stalled: str | None = None
        self._allow: Callable[[], None] | None = None
        self.is_copying = not subtree.base.is_trusted
        self.last_failure: str | None = None
        self._source = OwnersSide(subtree)
        self._applier = Applier(subtree)
        self._patience = Patience()
        self._dirty = DirtySet(subtree.tuning.backlog_max)
        self._rounds = Rounds(self._dirty, self._round)
        self._deletes = DeleteGuard(subtree, self.stall)
        self._compare_wanted = True
        self._is_comparing = False
        self._may_overwrite = False
        self._wake = asyncio.Event()
        self._wake.set()

    @property
    def backlog(self) -> int:
        """Paths that are known to have changed and are not applied."""
        return len(self._dirty) + len(self._rounds)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is known to be left to do."""
        return not (self.backlog or self._compare_wanted)

    def oldest_pending(self) -> int | None:
        """The zxid of the first change that is not applied: None where all that was heard of is,
        0 where nobody knows which that is."""
        if self._compare_wanted or self._is_comparing or self.stalled is not None:
            return 0
        found = [each for each in (self._dirty.oldest(), self._rounds.oldest()) if each is not None]
        return min(found, default=None)

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
        is_undated = heard_at is not None and zxid is None
        if not self._dirty.add(rel, Dirty(heard_at, forced, zxid or 0, is_undated, zxid or 0)):
            self.request_comparison()
        self._rounds.wake()
        self._wake.set()

    def request_comparison(self) -> None:
        """Say that anything may have changed."""
        self._compare_wanted = True
        self._wake.set()

    def _pair(self, twin: Replicator) -> None:
        self._twin = self._arbiter.twin = twin

    def stall(self, reason: str, allow: Callable[[], None] | None) -> None:
        """Stop, both ways, until an operator confirms; then `allow` is called."""
        for worker in (self, self._twin):
            if worker is not None:
                worker.stalled, worker._allow = reason, allow  # noqa: SLF001 - both are of this class
                worker.request_comparison()
        _log.error("replicator.stalled", subtree=self.subtree.name, reason=reason)

    async def resolve(self, rel: str) -> None:
        """Look at a path on both sides now; `shared.resolved` says who wins."""
        async with self.lock:
            upto = await self.subtree.fence.barrier(self.subtree.owner)
            (source,) = await self._source.read([rel], upto)
            if source is None and self._source.is_hidden(rel):
                raise NoAuthError(self.subtree.source_path(rel))
            work = Work(rel, source, None, None, None, Decision(Action.NOTHING))
            await decide_again(self.subtree, [work])
            await self._apply([work])

    def go_on(self) -> None:
        """Let happen what both ways stopped for, and nothing else."""
        if self._allow is not None:
            self._allow()
        for worker in (self, self._twin):
            if worker is not None:
                worker.stalled = worker._allow = None  # noqa: SLF001 - both are of this class
                worker.request_comparison()

    def delete_unowned(self) -> None:
        """Delete what only the other side has and nobody knows of."""
        self.subtree.shared.released |= self.subtree.base.unowned
        self._look_at(self.subtree.shared.released, forced=True)

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
        for link in self.subtree.links.values():
            await link.proven.wait()
        # Before anything is read or decided: what was applied unheard is not in the base yet.
        await self._applier.settle()
        if self._compare_wanted:
            self._compare_wanted, self._is_comparing = False, True
            try:
                await self._compare()
            except BaseException:
                # Cancelled, too: a comparison that was not made to its end is still wanted.
                self._compare_wanted = True
                raise
            finally:
                self._is_comparing = False
        self._deletes.note()
        await self._rounds.run(self._goes_on)
        if self._dirty:
            # Somebody waits for the lock.
            self._wake.set()
        self._end_confirmation()

    def _goes_on(self, begun: int) -> bool:
        if self.stalled is not None or self._compare_wanted:
            return False
        # Whoever waits for the lock gets it soon, but two that wait for each other get on as well.
        return not begun or not self.lock.is_wanted

    async def drain(self) -> None:
        """Compare with the owner's side as it is now, and apply all; the caller holds `lock`."""
        self._compare_wanted = True
        try:
            while not self.is_idle and self.stalled is None:
                await self.work()
        except BaseException:
            # Whoever asked gives up, cancelled too; what is left is the worker's, who sleeps.
            self._wake.set()
            raise

    def turn(self) -> None:
        """Forget what was heard from the side that owned the subtree; the caller holds `lock`."""
        self._dirty.clear()
        self.request_comparison()

    async def _compare(self) -> None:
        subtree = self.subtree
        trusted = subtree.base.is_trusted
        if not self._may_overwrite and (reason := await why_wait(subtree)) is not None:
            self.stall(reason, self._overwrite)
            return
        found = compare(subtree, trusted=trusted, found_missing=self._found_missing)
        async with contextlib.aclosing(found), Overlap() as copying:
            left: list[Work] = []
            async for works in found:
                left += works
                if len(left) < subtree.tuning.batch_ops_max:
                    continue
                # Parents go before children: transactions are applied in the order of their start.
                await copying.add(self._copy(left))
                left = []
                if self.stalled is not None:
                    return
            await copying.add(self._copy(left))
        if self.stalled is not None:
            return
        self._look_at([*subtree.base.acl_writes, *subtree.shared.released], forced=True)
        if not trusted:
            subtree.base.trust()
            self._deletes.begin()
        self.is_copying = False

    def _overwrite(self) -> None:
        self._may_overwrite = True

    async def _copy(self, works: list[Work]) -> None:
        held = [work for work in works if work.rel in self.subtree.shared.held.entries]
        if held:
            await decide_again(self.subtree, held)
        if works and self.stalled is None:
            await self._apply(works)

    def _found_missing(self, rels: list[str]) -> None:
        """Take paths of the base that a comparison did not find on the owner's side."""
        self._check_proven()
        if self._deletes.refuses_missing(len(rels)):
            return
        self._look_at(rels)

    def _look_at(self, rels: Iterable[str], *, forced: bool = False) -> None:
        """Look at paths of the base: more than `backlog_max` would only be found again."""
        self._dirty.put_back({rel: Dirty(None, forced) for rel in rels})
        self._rounds.wake()
        self._wake.set()

    def _check_proven(self) -> None:
        for link in self.subtree.links.values():
            link.check_proven()

    async def _round(self, batch: dict[str, Dirty]) -> bool:
        """Look at dirty paths and apply what they need; False if that must wait."""
        works = await self._decide(batch)
        deletes = [w.rel for w in works if w.decision.action is Action.DELETE]
        if self._deletes.refuses_more(deletes):
            return False
        with self._deletes.deleting(deletes):
            await self._apply(works)
        self.last_failure = None
        if len(self._rounds) == len(batch):
            self._end_confirmation()
        return True

    def _end_confirmation(self) -> None:
        """An operator's word holds for what is known to be left to do; nothing else is under way.

        Where there is never a moment without anything to do, the guard ends it after a while.
        """
        if not self._dirty and not self._compare_wanted:
            self._deletes.end_word()

    async def _decide(self, batch: dict[str, Dirty]) -> list[Work]:
        subtree = self.subtree
        sources = await self._source.read_changed(batch)
        works: list[Work] = []
        for rel, source in zip(batch, sources, strict=True):
            if source is None and self._source.is_hidden(rel):
                # What may not be read is not gone.
                continue
            row = subtree.base.get(rel)
            seen = view(source, row)
            target = assumed(row, subtree.owner.other)
            decision = subtree.decide(rel, seen, target, row)
            if decision.action is Action.NOTHING and row is not None and batch[rel].heard_at:
                subtree.counters.echoes += 1
            works.append(Work(rel, source, seen, target, row, decision, batch[rel].heard_at))
        held = subtree.shared.held.entries
        # A delete's version does not tell of another ACL, and nothing is left to find it by later;
        # and what loses a conflict must be read before it is journalled.
        forced = [
            work
            for work in works
            if batch[work.rel].forced
            or work.decision.conflict is not None
            or work.rel in held
            or work.decision.action is Action.DELETE
            or work.rel in subtree.base.acl_writes
        ]
        if forced:
            await decide_again(self.subtree, forced)
        return works

    async def _apply(self, works: list[Work]) -> None:
        """Apply works until each is done, refused or overtaken too often."""
        self._check_proven()
        for _ in range(_ATTEMPTS_MAX):
            works = [work for work in works if not self._put_aside(work)]
            works = await self._arbiter.settle(works)
            if not works:
                return
            if any(work.rel == "" and work.decision.action is Action.CREATE for work in works):
                await ensure_above(self.subtree)
            outcome = Outcome()
            try:
                await self._applier.apply(works, outcome)
            finally:
                # Whatever else went wrong: what was refused is not tried again with the rest.
                for work, reason in outcome.refused:
                    self._quarantine(work.rel, reason)
            works = await self._after(outcome)
            if outcome.first:
                # They come after what stands in their way.
                break
            if works:
                await decide_again(self.subtree, works)
        for work in works:
            self.notify(work.rel, work.heard_at, forced=True)

    async def _after(self, outcome: Outcome) -> list[Work]:
        """Take note of what was done, and look at what stands in the way of the rest."""
        for work in outcome.done:
            self.subtree.counters.skipped.pop(work.rel, None)
            self.subtree.shared.settle(work.rel)
        aside = self._patience.put_aside(outcome)
        for rel, reason in aside.items():
            self._quarantine(rel, reason)
        subtree, both = self.subtree, self._twin is not None
        for rel in sorted(outcome.first):
            if not self._patience.is_over(rel):
                for path in await look_around(subtree, rel, outcome.stale, both_ways=both):
                    self.notify(path, forced=True)
        stale = [work for work in outcome.stale if work.rel not in aside]
        return [work for work in stale if not is_settled(subtree, work)]

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
