"""What a worker does about paths that it cannot settle by writing to its target.

Some belong to the worker of the other way, some wait for an operator, and some are merged by a
hook. A merge is two writes in two ensembles: the merged data is written to the side that is read,
as a client's would be, and then copied like any other change; what was written is noted before, so
that a crash between the two does not merge a merged version again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from sync_engine.applier import HOPELESS, TOO_LARGE
from sync_engine.batch import frame_bytes
from sync_engine.context import Subtree
from sync_engine.decide import Action, view
from sync_engine.delete_guard import Stall
from sync_engine.direction import Side
from sync_engine.errors import (
    BadVersionError,
    ConnectionLostError,
    MergeError,
    MultiFailedError,
    NoNodeError,
    RequestTooLargeError,
)
from sync_engine.held import HELD_MAX
from sync_engine.merge import Versions
from sync_engine.rows import Stamp, data_hash
from sync_engine.transaction import Work
from sync_engine.wire import SetData
from sync_engine.znode import Znode

_log = structlog.get_logger()
# What ZooKeeper appends to a sequential name.
_SEQUENTIAL = re.compile(r"\d{10}$")
_CHANGED = (BadVersionError.code, NoNodeError.code)


class Twin(Protocol):
    """The worker of the other way."""

    def notify(
        self,
        rel: str,
        heard_at: float | None = None,
        *,
        forced: bool = False,
        zxid: int | None = None,
    ) -> None:
        """Say that a path is to be looked at."""
        ...


class Arbiter:
    """Settles works of one worker; `stall` stops it, with a reason."""

    def __init__(self, subtree: Subtree, stall: Stall) -> None:
        self._subtree = subtree
        self._stall = stall
        self.twin: Twin | None = None

    async def settle(self, works: Sequence[Work]) -> list[Work]:
        """Take out what is not for this worker to write; returns the rest.

        Raises:
            FencedError: another engine has taken over.
            ConnectionLostError: a side is away.
        """
        if self._meets_sequential(works):
            return []
        left: list[Work] = []
        for work in works:
            if work.decision.action is Action.ASK:
                await self._merge(work)
            match work.decision.action:
                case Action.YIELD:
                    if self.twin is not None:
                        self.twin.notify(work.rel, forced=True)
                case Action.HOLD:
                    self._hold(work, work.decision.why or "manual")
                case _:
                    left.append(work)
        return left

    def _meets_sequential(self, works: Sequence[Work]) -> bool:
        subtree = self._subtree
        if not subtree.policy.both or subtree.shared.may_be_sequential:
            return False
        for work in works:
            if work.source is not None and _SEQUENTIAL.search(work.rel):
                self._stall(
                    f"expected no sequential znode where both sides are copied, saw "
                    f"{subtree.source_path(work.rel)}: two sides would give out one number; give "
                    "the subtree one direction, or confirm if no client numbers names there",
                    self._allow_sequential,
                )
                return True
        return False

    def _allow_sequential(self) -> None:
        self._subtree.shared.may_be_sequential = True

    def _hold(self, work: Work, why: str) -> None:
        """Let a path wait, and write both versions down."""
        subtree = self._subtree
        held = subtree.shared.held
        if work.rel not in held.entries and held.is_full:
            self._stall(
                f"expected at most {HELD_MAX} conflicts to wait, saw more: resolve some, then "
                "confirm",
                None,
            )
            return
        reason = work.decision.conflict or "conflict"
        if not held.put(work.rel, reason, why, subtree.by_side(work.source_stamp, work.loser)):
            return
        subtree.conflicts.record(
            subtree=subtree.name,
            reason=reason,
            winner=work.source,
            loser=work.loser,
            loser_side=subtree.owner.other,
            why=why,
            is_held=True,
        )
        path = subtree.source_path(work.rel)
        _log.warning("replicator.held", subtree=subtree.name, path=path, reason=reason, why=why)

    async def _merge(self, work: Work) -> None:
        """Turn a work that asks a hook into one that writes, yields or waits."""
        subtree, runner = self._subtree, self._subtree.shared.merger
        source, target = work.source, work.loser
        if runner is None or source is None or target is None or work.target is None:
            work.decision = replace(work.decision, action=Action.HOLD, why="merge: no hook")
            return
        if subtree.shared.held.is_merged(work.rel, data_hash(source.data), work.target.stamp):
            work.decision = replace(work.decision, action=Action.UPDATE, why="merged before")
            return
        a, b = (source, target) if subtree.owner is Side.A else (target, source)
        try:
            merged = await runner.merge(Versions(subtree.name, work.rel, a.data, b.data))
        except MergeError as error:
            work.decision = replace(work.decision, action=Action.HOLD, why=str(error))
            return
        if merged == target.data:
            work.decision = replace(work.decision, action=Action.YIELD)
            if self.twin is not None:
                subtree.shared.held.note_merge(work.rel, data_hash(merged), Stamp.of(source.stat))
        elif merged == source.data:
            work.decision = replace(work.decision, action=Action.UPDATE, why="merged")
        else:
            await self._write_merged(work, source, target, merged)

    async def _write_merged(self, work: Work, source: Znode, target: Znode, merged: bytes) -> None:
        subtree = self._subtree
        write = SetData(subtree.source_path(work.rel), merged, source.stat.version)
        size, frames = frame_bytes([write]), subtree.source.frames
        if frames.is_known and await frames.refuses(size):
            self._hold_merged(work, merged, TOO_LARGE)
            return
        self._record_merge(work, source, target, merged)
        subtree.shared.held.note_merge(work.rel, data_hash(merged), Stamp.of(target.stat))
        try:
            result = await subtree.fence.transact(subtree.owner, [write])
        except MultiFailedError as error:
            if error.code in HOPELESS:
                self._hold_merged(work, merged, HOPELESS[error.code])
            elif error.code in _CHANGED:
                # It was changed meanwhile, and its event brings it here again.
                work.decision = replace(work.decision, action=Action.YIELD)
            else:
                raise
            return
        except RequestTooLargeError:
            self._hold_merged(work, merged, TOO_LARGE)
            return
        except ConnectionLostError as error:
            if not (error.sent and await frames.measure(size)):
                raise
            self._hold_merged(work, merged, TOO_LARGE)
            return
        stat = result.stats[0]
        assert stat is not None
        if stat.czxid != source.stat.czxid:
            self._report_created_again(work, target)
            return
        work.source = replace(source, data=merged, stat=stat)
        work.view = view(work.source, work.row)
        assert work.target is not None
        work.decision = replace(
            work.decision,
            action=Action.UPDATE,
            data=work.target.data_hash != data_hash(merged),
            conflict=None,
        )

    def _record_merge(self, work: Work, source: Znode, target: Znode, merged: bytes) -> None:
        """Write both versions down before one is overwritten; once, however often it is tried."""
        subtree = self._subtree
        told = subtree.shared.told_merges
        stamps = subtree.by_side(work.source_stamp, target)
        if told.get(work.rel) == stamps:
            return
        waits = subtree.shared.held.entries.get(work.rel)
        is_known = waits is not None and (waits.a, waits.b) == stamps
        if waits is not None and is_known and waits.why.startswith(_refusal(merged)):
            # The same merge was refused before a restart.
            return
        subtree.conflicts.record(
            subtree=subtree.name,
            reason=work.decision.conflict or "conflict",
            winner=source,
            loser=target,
            loser_side=subtree.owner.other,
            why=f"merged into {len(merged)} bytes",
        )
        if len(told) >= HELD_MAX:
            told.clear()
        told[work.rel] = stamps

    def _report_created_again(self, work: Work, target: Znode) -> None:
        """The merged data took the place of a znode at an equal version that nobody had read."""
        subtree = self._subtree
        subtree.conflicts.record(
            subtree=subtree.name,
            reason="created-again-by-other",
            winner=target,
            loser=None,
            loser_side=subtree.owner,
            why="its own version was not seen: merged data took its place",
        )
        # What else it has, as its ACL, is not known: the event of this write brings it here again.
        work.decision = replace(work.decision, action=Action.YIELD)

    def _hold_merged(self, work: Work, merged: bytes, reason: str) -> None:
        """Leave to an operator what the side that is read does not take, and say so."""
        why = f"{_refusal(merged)}: {reason}"
        work.decision = replace(work.decision, action=Action.HOLD, why=why)
        # Each sweep looks at it again, as at all that is put aside: no event tells of room.
        self._subtree.counters.skipped[work.rel] = f"merged-{reason}"


def _refusal(merged: bytes) -> str:
    return f"merge: {len(merged)} bytes were refused"
