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

from sync_engine.context import Subtree
from sync_engine.decide import Action, view
from sync_engine.delete_guard import Stall
from sync_engine.direction import Side
from sync_engine.errors import BadVersionError, MergeError, MultiFailedError, NoNodeError
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
        subtree.conflicts.record(
            subtree=subtree.name,
            reason=work.decision.conflict or "conflict",
            winner=source,
            loser=target,
            loser_side=subtree.owner.other,
            why=f"merged into {len(merged)} bytes",
        )
        subtree.shared.held.note_merge(work.rel, data_hash(merged), Stamp.of(target.stat))
        write = SetData(subtree.source_path(work.rel), merged, source.stat.version)
        try:
            result = await subtree.fence.transact(subtree.owner, [write])
        except MultiFailedError as error:
            if error.code not in _CHANGED:
                raise
            # It was changed meanwhile, and its event brings it here again.
            work.decision = replace(work.decision, action=Action.YIELD)
            return
        stat = result.stats[0]
        assert stat is not None
        work.source = replace(source, data=merged, stat=stat)
        work.view = view(work.source, work.row)
        assert work.target is not None
        work.decision = replace(
            work.decision,
            action=Action.UPDATE,
            data=work.target.data_hash != data_hash(merged),
            conflict=None,
        )
