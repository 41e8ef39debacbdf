"""Writes decided works to the other side: the only place that writes clients' znodes.

Each transaction goes with its checkpoint slot; rows of the base follow from the slot's record
alone, the same way after an answer and after a crash. ACLs cannot stand in a transaction: they are
written before it, each at its expected aversion, so that data never stands under a wider ACL than
its source's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from sync_engine import checkpoint, slots, transaction
from sync_engine.base import SlotMark
from sync_engine.batch import Batch
from sync_engine.checkpoint import Record
from sync_engine.context import Subtree
from sync_engine.decide import Action
from sync_engine.errors import (
    BadArgumentsError,
    BadVersionError,
    ConnectionLostError,
    InvalidAclError,
    MultiFailedError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NoNodeError,
    NotEmptyError,
    QuotaExceededError,
    RequestTooLargeError,
    UnimplementedError,
    ZkError,
)
from sync_engine.identity import Guards
from sync_engine.oversize import LARGE_BYTES
from sync_engine.rows import Row, Stamp
from sync_engine.slots import Slot, SlotPool
from sync_engine.transaction import Work
from sync_engine.unheard import Overwritten
from sync_engine.wire import SetData
from sync_engine.znode import Stat, parent

_log = structlog.get_logger()
HOPELESS = {
    InvalidAclError.code: "invalid-acl",
    BadArgumentsError.code: "bad-arguments",
    QuotaExceededError.code: "quota-exceeded",
    NoAuthError.code: "no-auth",
    NoChildrenForEphemeralsError.code: "parent-is-ephemeral",
    # A server without extendedTypesEnabled, asked for a time to live.
    UnimplementedError.code: "kind-not-enabled",
}
"""Answers that no other decision would change: the node is put aside, for this reason."""
_WRITES = {Action.CREATE, Action.UPDATE, Action.DELETE}
TOO_LARGE, _TOO_LARGE_THERE = "too-large", "too-large-for-the-other-side"
# Conflicts remembered, so that trying again does not journal them again.
_TOLD_MAX = 10_000


@dataclass(slots=True)
class Outcome:
    """What became of works."""

    done: list[Work] = field(default_factory=list[Work])
    stale: list[Work] = field(default_factory=list[Work])
    """The target was not what it was taken for: read it and decide again."""
    first: set[str] = field(default_factory=set[str])
    """Paths that must be looked at, target included, before the stale ones can succeed."""
    refused: list[tuple[Work, str]] = field(default_factory=list[tuple[Work, str]])


class Applier:
    """Applies works of one subtree."""

    def __init__(self, subtree: Subtree) -> None:
        self._subtree = subtree
        self._told: dict[str, tuple[object, ...]] = {}
        self._guards = Guards()
        self._overwritten = Overwritten(subtree.conflicts, subtree.name, subtree.roots)

    async def apply(self, works: Sequence[Work], outcome: Outcome) -> None:
        """Apply works, each path at most once; `outcome` tells of each, also where this raises.

        Raises:
            FencedError: another engine has taken over.
            ConnectionLostError: the target is away; what was applied is in the base.
        """
        self._record_conflicts(works)
        await self._apply_acls([w for w in works if w.decision.acl and _is_update(w)], outcome)
        stale = {id(w) for w in outcome.stale} | {id(w) for w, _ in outcome.refused}
        todo = [w for w in works if id(w) not in stale]
        self._note_without_writing(
            [w for w in todo if not transaction.needs_transaction(w)], outcome
        )
        sending = transaction.ordered(w for w in todo if transaction.needs_transaction(w))
        if sending:
            await self._send_all(sending, outcome)
        for work in outcome.done:
            self._told.pop(work.rel, None)
        self._tell(outcome.done)

    def _record_conflicts(self, works: Sequence[Work]) -> None:
        subtree = self._subtree
        for work in works:
            if work.decision.conflict is None or subtree.is_internal:
                continue
            loser = None if work.loser is None else Stamp.of(work.loser.stat)
            what = (work.decision.conflict, work.source_stamp, loser)
            if self._told.get(work.rel) == what:
                # The same decision, tried again.
                continue
            if len(self._told) >= _TOLD_MAX:
                self._told.clear()
            self._told[work.rel] = what
            subtree.conflicts.record(
                subtree=subtree.name,
                reason=work.decision.conflict,
                winner=work.source,
                loser=work.loser,
                loser_side=subtree.owner.other,
                why=work.decision.why,
            )
            _log.warning(
                "replicator.conflict",
                subtree=subtree.name,
                path=subtree.target_path(work.rel),
                reason=work.decision.conflict,
            )

    async def _apply_acls(self, works: Sequence[Work], outcome: Outcome) -> None:
        subtree = self._subtree
        if not works:
            return
        subtree.fence.check_held()
        acls = {w.rel: w.view.acl for w in works if w.view is not None}
        subtree.base.note_acl_writes(subtree.owner.other, acls)
        answers = await asyncio.gather(*map(self._set_acl, works), return_exceptions=True)
        lost: ConnectionLostError | None = None
        for work, answer in zip(works, answers, strict=True):
            if isinstance(answer, Stat):
                assert work.target is not None
                if answer.czxid != work.target.stamp.czxid:
                    self._report_created_again(work, outcome)
                    outcome.stale.append(work)
                else:
                    work.note_acl(answer.aversion)
            elif isinstance(answer, BadVersionError | NoNodeError):
                outcome.stale.append(work)
            elif isinstance(answer, ZkError) and answer.code in HOPELESS:
                outcome.refused.append((work, HOPELESS[answer.code]))
            elif isinstance(answer, ConnectionLostError):
                lost = answer
            else:
                raise answer
        if lost is not None:
            raise lost

    async def _set_acl(self, work: Work) -> Stat:
        subtree = self._subtree
        assert work.view is not None
        assert work.target is not None
        acl = transaction.target_acl(work.view.acl, fenced=subtree.target_is_fenced)
        path = subtree.target_path(work.rel)
        return await subtree.target.writer.set_acl(path, acl, work.target.stamp.aversion)

    def _note_without_writing(self, works: Sequence[Work], outcome: Outcome) -> None:
        """Rows of works that write nothing, or have written their ACL."""
        changes: dict[str, Row | None] = {}
        owner = self._subtree.owner
        for work in works:
            action = work.decision.action
            if action is Action.FORGET:
                changes[work.rel] = None
            elif action is Action.KEEP and work.target is not None:
                content = (work.target.data_hash, work.target.acl)
                changes[work.rel] = Row.of(owner, None, work.target.stamp, content)
            elif action in (Action.MERGE, Action.UPDATE):
                assert work.view is not None
                assert work.target is not None
                content = (work.view.data_hash, work.view.acl)
                changes[work.rel] = Row.of(owner, work.view.stamp, work.target.stamp, content)
            outcome.done.append(work)
        if changes:
            self._subtree.base.put(changes)

    async def _send_all(self, works: list[Work], outcome: Outcome) -> None:
        subtree = self._subtree
        pending = transaction.batches(
            works,
            bytes_max=subtree.tuning.batch_bytes_max,
            ops_max=subtree.tuning.batch_ops_max,
            path_bytes=4 * len(subtree.target_path("")),
        )
        self._guards.spread(pending)
        pool = subtree.slots[subtree.owner.other]
        if len(pending) == 1:
            await self._send_with(pool, await pool.take(), pending[0], outcome)
            return
        sending: list[asyncio.Task[None]] = []
        try:
            for batch in pending:
                slot = await pool.take()
                if any(task.done() and task.exception() for task in sending):
                    pool.give_back(slot)
                    break
                # Tasks begin in the order in which they are made, so batches keep theirs.
                sending.append(asyncio.create_task(self._send_with(pool, slot, batch, outcome)))
            # All of them end before anything is raised, so that all is noted that was applied.
            ends = await asyncio.gather(*sending, return_exceptions=True)
        except asyncio.CancelledError:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
            raise
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def settle(self) -> None:
        """Look up transactions whose answers nobody waited for."""
        # A twin's too: both write rows of one base.
        for pool in self._subtree.slots.values():
            for slot in pool.unsettled:
                await self._settle(slot, set())

    async def _send_with(
        self, pool: SlotPool, slot: Slot, works: list[Work], outcome: Outcome
    ) -> None:
        try:
            await self._send(slot, works, outcome)
        finally:
            pool.give_back(slot)

    async def _send(self, slot: Slot, works: list[Work], outcome: Outcome) -> None:
        """One transaction, with its slot."""
        subtree = self._subtree
        if slot.unsettled:
            await self._settle(slot, outcome.first)
        record = Record(slot.seq + 1, subtree.owner, tuple(map(transaction.intent, works)))
        note = SetData(slot.path, checkpoint.encode(record), slot.version)
        guards = self._guards.plan(works)
        batch = Batch(subtree, note, works, guards)
        frames = subtree.target.frames
        if frames.is_known and await frames.refuses(batch.frame_bytes):
            await self._send_smaller(slot, works, outcome, _TOO_LARGE_THERE)
            return
        # Until an answer says what became of it, whether we wait for one or not.
        slot.unsettled = True
        try:
            result = await subtree.fence.transact(slot.side, batch.ops)
        except MultiFailedError as error:
            slot.unsettled = False
            if error.index == 0:
                # Only a transaction of ours whose answer was lost can have moved the slot.
                await self._settle(slot, outcome.first)
                outcome.stale.extend(works)
            else:
                self._explain(works, batch, error, outcome)
        except ConnectionLostError as error:
            slot.unsettled = error.sent
            if error.sent and await self._settle(slot, outcome.first) == record:
                outcome.done.extend(works)
            elif error.sent and await frames.measure(batch.frame_bytes):
                await self._send_smaller(slot, works, outcome, _TOO_LARGE_THERE)
            else:
                raise
        except RequestTooLargeError:
            slot.unsettled = False
            await self._send_smaller(slot, works, outcome, TOO_LARGE)
        else:
            slot.unsettled = False
            slot.version += 1
            slot.seq = record.seq
            mark = SlotMark(slot.side, slot.number, record.seq)
            subtree.base.put(checkpoint.rows_after(record, result.zxid), mark)
            self._check_identity(batch.identities(result.stats), outcome)
            self._guards.note_held(guards)
            outcome.done.extend(works)

    async def _send_smaller(
        self, slot: Slot, works: list[Work], outcome: Outcome, reason: str
    ) -> None:
        if len(works) == 1:
            outcome.refused.append((works[0], reason))
            return
        for part in _parts(works):
            await self._send(slot, part, outcome)

    async def _settle(self, slot: Slot, first: set[str]) -> Record | None:
        """Look up what the slot holds, and write the base rows of a record that is news; `first`
        takes paths that must be looked at, target included."""
        subtree = self._subtree
        base, link = subtree.base, subtree.links[slot.side]
        while True:
            record, zxid, version = await slots.look_up(slot, link)
            slot.version = version
            if record.seq <= slot.seq:
                slot.unsettled = False
                return None
            try:
                again = await self._overwritten.look(record, zxid, link)
            except ConnectionLostError:
                continue
            break
        slot.unsettled = False
        slot.seq = record.seq
        mark = SlotMark(slot.side, slot.number, record.seq)
        changes = checkpoint.repairs(base.rows, record, zxid)
        slots.put_applied(base, record, changes, mark, again)
        first |= again
        return record

    def _check_identity(self, czxids: Iterable[tuple[Work, int]], outcome: Outcome) -> None:
        """Find nodes that were created again at an equal version: their write hid another one."""
        for work, czxid in czxids:
            if work.decision.action is Action.CREATE or work.target is None:
                continue
            if czxid != work.target.stamp.czxid:
                self._report_created_again(work, outcome)

    def _report_created_again(self, work: Work, outcome: Outcome) -> None:
        self._overwritten.report(work.source, work.loser, self._subtree.owner.other)
        # Its row has the old identity; a look at both sides puts that right.
        outcome.first.add(work.rel)

    def _explain(
        self, works: list[Work], batch: Batch, error: MultiFailedError, outcome: Outcome
    ) -> None:
        """Sort works of a failed transaction; only the first failure in it is known."""
        work, code = batch.part(error.index), error.code
        if not isinstance(work, Work):
            if work is not None:
                self._guards.note_vain(work, is_final=code in HOPELESS)
            outcome.stale.extend(works)
            return
        if code == NoAuthError.code and batch.is_proof(error.index):
            # Whoever may not write a znode may delete it all the same.
            work.is_unproven = True
        elif code in HOPELESS:
            outcome.refused.append((work, HOPELESS[code]))
            outcome.stale.extend(w for w in works if w is not work)
            return
        outcome.stale.extend(works)
        if code == NotEmptyError.code:
            outcome.first.add(work.rel)
        elif code == NoNodeError.code and work.decision.action is Action.CREATE and work.rel:
            above = parent(work.rel)
            outcome.first.add("" if above == "/" else above)

    def _tell(self, works: Sequence[Work]) -> None:
        written = [work for work in works if work.decision.action in _WRITES]
        if written:
            self._subtree.on_applied(
                self._subtree, [(work.source_stamp, work.heard_at) for work in written]
            )


def _is_update(work: Work) -> bool:
    return work.decision.action is Action.UPDATE


def _parts(works: list[Work]) -> list[list[Work]]:
    """Smaller transactions in the same order: large works alone, or halves where none is large."""
    parts: list[list[Work]] = [[]]
    for work in works:
        if transaction.size(work) >= LARGE_BYTES:
            parts += [[work], []]
        else:
            parts[-1].append(work)
    if len(parts) == 1:
        half = len(works) // 2
        parts = [works[:half], works[half:]]
    return [part for part in parts if part]
