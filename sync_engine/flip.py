"""The change of a subtree's owner from one side to the other, while its writers stand still.

The order is what keeps at every instant exactly one owner: everything that can be refused is
checked before anything is changed; the old side is fenced before the new side owns; and the write
of the owner's document on the new side is the moment of change. Killed before it, the old side owns
(perhaps fenced, so nobody writes) and calling again finishes; killed after it, the new side owns.
Every step may be done twice.

A flip to the side that owns already restores that side's ACLs if a flip away from it was given up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog

from sync_engine import documents
from sync_engine.audit import TreeSum, differing, sum_side
from sync_engine.context import Subtree
from sync_engine.direction import Side
from sync_engine.errors import EngineBusyError, EngineRefusedError
from sync_engine.fencing import check_is_super, check_no_ephemerals, fence_side, restore_side
from sync_engine.padding import pad
from sync_engine.pair import OwnershipStore
from sync_engine.release import find_free
from sync_engine.replicator import Replicator
from sync_engine.report import FlipReport
from sync_engine.wire import ANY_VERSION, SetData

_log = structlog.get_logger()
_POLL_S = 0.2
# Share of the caller's patience that goes to waiting for clients' sessions to end.
_EPHEMERALS_SHARE = 0.5
# Differences that a look at both sides removes are gone after one; more rounds only confirm it.
_EQUAL_ATTEMPTS_MAX = 3


class Flip:
    """One flip of one subtree; the caller makes sure that it is the only one."""

    def __init__(
        self, replicator: Replicator, owners: OwnershipStore, own_sessions: Callable[[], list[int]]
    ) -> None:
        self._replicator = replicator
        self._subtree: Subtree = replicator.subtree
        self._owners = owners
        self._own_sessions = own_sessions

    async def run(self, to: Side, timeout_s: float) -> FlipReport:
        """Make `to` the owner.

        Raises:
            EngineRefusedError: what must hold does not; nothing is changed.
            EngineBusyError: not within the time; calling again goes on.
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                if self._subtree.owner is not to:
                    # Replication goes on while clients' sessions end.
                    await self._await_no_ephemerals(timeout_s * _EPHEMERALS_SHARE)
                async with self._replicator.lock:
                    report = await self._run(to)
        except TimeoutError:
            msg = (
                f"expected the flip to be done within {timeout_s:g} s, saw it go on: call it again"
            )
            raise EngineBusyError(msg) from None
        return report.model_copy(update={"seconds": time.monotonic() - began})

    async def _run(self, to: Side) -> FlipReport:
        subtree = self._subtree
        old = to.other
        if subtree.owner is to:
            await self._unfence(to)
            return self._report(to, already_done=True)
        await self._equalise()
        await check_is_super(subtree.links[old])
        await self._check_zxids(to)
        await self._unfence(to)
        await self._save(subtree.doc.with_fenced(old, fenced=True), first=old)
        try:
            await self._fence(old)
            # From now on there is no new one; a lock that was taken meanwhile would outlive the
            # change of owner, and the other side's clients take it as well.
            await check_no_ephemerals(subtree, self._own_sessions())
            total = await self._equalise()
            padded = await pad(subtree, to)
            zxids = await self._check_zxids(to)
        except EngineRefusedError:
            await self._unfence(old)
            raise
        await subtree.links[to].follow(subtree.roots.root(to))
        await subtree.fence.raise_epoch()
        await self._save(subtree.doc.owned_by(to), first=to)
        self._replicator.turn()
        _log.info("flip.done", subtree=subtree.name, to=to, znodes=total.znodes, padded=padded)
        return self._report(to, already_done=False, total=total, padded=padded, zxids=zxids)

    async def _await_no_ephemerals(self, bound_s: float) -> None:
        deadline = time.monotonic() + bound_s
        while True:
            try:
                await check_no_ephemerals(self._subtree, self._own_sessions())
            except EngineRefusedError:
                if time.monotonic() > deadline:
                    raise
            else:
                return
            await asyncio.sleep(_POLL_S)

    async def _equalise(self) -> TreeSum:
        """Copy what is left, and prove by full digests that both sides are equal.

        Raises:
            EngineRefusedError: they are not, or replication waits for an operator.
        """
        replicator, subtree = self._replicator, self._subtree
        await self._release()
        paths: list[str] = []
        for _ in range(_EQUAL_ATTEMPTS_MAX):
            for rel in paths:
                replicator.notify(rel, forced=True)
            await replicator.drain()
            if replicator.stalled is not None:
                raise EngineRefusedError(replicator.stalled, type="Stalled")
            a, b = await asyncio.gather(sum_side(subtree, Side.A), sum_side(subtree, Side.B))
            if a.digest == b.digest:
                return a
            paths = differing(a, b)
        msg = (
            f"expected both sides to be equal, saw {len(paths)} paths differ, as "
            f"{subtree.source_path(paths[0])}: see the status for skipped paths; stop the writers"
        )
        raise EngineRefusedError(msg, type="SidesDiffer")

    async def _release(self) -> None:
        """Let go of what stayed on one side and need not: another owner would mean otherwise."""
        replicator, subtree = self._replicator, self._subtree
        tried: set[str] = set()
        while subtree.base.kept:
            await asyncio.gather(*map(subtree.catch_up, Side))
            free = [rel for rel in await find_free(subtree) if rel not in tried]
            if not free:
                return
            for rel in free:
                replicator.notify(rel, forced=True)
            await replicator.drain()
            tried.update(free)

    async def _fence(self, side: Side) -> None:
        changed: list[str] = []
        for _ in range(_EQUAL_ATTEMPTS_MAX):
            changed = await fence_side(self._subtree, side)
            if not changed:
                return
            for rel in changed:
                self._replicator.notify(rel, forced=True)
            await self._replicator.drain()
        msg = (
            f"expected every znode's ACL to be known, saw "
            f"{self._subtree.roots.path(side, changed[0])} change: stop the writers"
        )
        raise EngineRefusedError(msg, type="WritersActive")

    async def _unfence(self, side: Side) -> None:
        if not self._subtree.doc.is_fenced(side):
            return
        await restore_side(self._subtree, side)
        await self._save(self._subtree.doc.with_fenced(side, fenced=False), first=side)

    async def _save(self, doc: documents.Ownership, *, first: Side) -> None:
        await self._owners.save(self._subtree.name, doc, first=first)
        self._subtree.doc = doc

    async def _check_zxids(self, to: Side) -> Mapping[Side, int]:
        """A client that has seen a higher zxid than an ensemble's never connects to it.

        The way home (to side a) is open all the same: whoever goes it is started anew, and a new
        handle has seen nothing. Only where clients go to stay is a lower zxid a trap.
        """
        subtree = self._subtree
        note = SetData(documents.subtree_path(subtree.name), subtree.doc.encode(), ANY_VERSION)
        zxids = {side: (await subtree.fence.transact(side, [note])).zxid for side in Side}
        if to is Side.B and zxids[to] <= zxids[to.other]:
            msg = (
                f"expected side {to.value}'s zxid above 0x{zxids[to.other]:x} of side "
                f"{to.other.value}, saw 0x{zxids[to]:x}: clients that move there would never "
                "connect; start that ensemble with a higher epoch"
            )
            raise EngineRefusedError(msg, type="ZxidBehind")
        return zxids

    def _report(
        self,
        to: Side,
        *,
        already_done: bool,
        total: TreeSum | None = None,
        padded: int = 0,
        zxids: Mapping[Side, int] | None = None,
    ) -> FlipReport:
        links = self._subtree.links
        seen = zxids or {side: links[side].writer.last_zxid for side in Side}
        return FlipReport(
            subtree=self._subtree.name,
            from_side=to.other,
            to_side=to,
            seconds=0.0,
            already_done=already_done,
            znodes=len(self._subtree.base) if total is None else total.znodes,
            digest="" if total is None else total.digest,
            padded=padded,
            epoch=self._subtree.fence.epoch,
            zxid_a=seen[Side.A],
            zxid_b=seen[Side.B],
        )
