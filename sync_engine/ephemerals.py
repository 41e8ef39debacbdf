"""Copies clients' ephemerals as ephemerals of the engine, for subtrees whose rule says `own`.

An ephemeral belongs to a session, and a client's session exists on one side only; the copy belongs
to a session of the engine, which is re-attached after a crash, and ends when the engine is gone for
longer than its timeout. The base knows nothing of these: what is wanted is what stands on the
owner's side, what is there is what belongs to that session. Names that ZooKeeper numbered are not
copied, because an explicit create of such a name blocks the counter of its parent.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path

import structlog

from sync_engine import session_file
from sync_engine.acl_fence import is_unreadable, same_acl
from sync_engine.direction import Side
from sync_engine.errors import (
    AuthFailedError,
    ConnectionLostError,
    FencedError,
    LaneClosedError,
    SyncError,
)
from sync_engine.lane import Lane, LaneState
from sync_engine.link import Link
from sync_engine.replicator import Replicator
from sync_engine.wire import Create, Delete, Op, SetData
from sync_engine.znode import Znode

_log = structlog.get_logger()
_SEQUENTIAL = re.compile(r"\d{10}$")
# Watches tell of every change; this finds what stood in the way a moment ago.
_LOOK_AGAIN_S = 1.0
_DIRTY_MAX = 10_000
_BATCH = 200
_START_BOUND_S = 5.0
_START_PAUSE_S = 0.1


class EphemeralCopier:
    """The worker of one subtree's ephemerals; `replicator` is that of all else."""

    def __init__(self, replicator: Replicator, state_dir: Path) -> None:
        self._replicator = replicator
        self._subtree = replicator.subtree
        self._state_dir = state_dir
        self._target = self._subtree.owner.other
        self._lane = self._make_lane()
        # In their order: what failed goes behind the others.
        self._dirty: dict[str, None] = {}
        self._waiting: dict[str, None] = {}
        """What could not be copied, to be looked at again."""
        self._is_full_wanted = True
        self._scanned_at = 0.0
        self._wake = asyncio.Event()
        self.trouble: str | None = None

    @property
    def session_id(self) -> int:
        """The session that owns the copies."""
        return self._lane.session_id

    @property
    def source(self) -> Side:
        """The side whose ephemerals are copied."""
        return self._subtree.owner

    def notify(self, path: str) -> None:
        """Say that a path of the owner's side has changed."""
        rel = self._subtree.roots.rel(self.source, path)
        if rel is None or not self._subtree.covers(rel):
            return
        if len(self._dirty) >= _DIRTY_MAX:
            self.request_comparison()
        else:
            self._dirty[rel] = None
        self._wake.set()

    def request_comparison(self) -> None:
        """Say that anything may have changed."""
        self._is_full_wanted = True
        self._wake.set()

    async def run(self) -> None:
        """Copy for ever.

        Raises:
            FencedError: another engine has taken over.
            LaneError: credentials are refused, or the engine is ending.
        """
        await self._start()
        while True:
            self._wake.clear()
            try:
                await self._work()
                self.trouble = None
            except (FencedError, AuthFailedError, LaneClosedError):
                raise
            except SyncError as error:
                self.trouble = f"ephemerals of {self._subtree.name}: {error}"
                _log.warning("ephemerals.retry", subtree=self._subtree.name, error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN_S):
                    await self._wake.wait()
            self._scan_if_untold()

    def _scan_if_untold(self) -> None:
        """Look at everything once in a while on a side whose watches do not tell of changes."""
        subtree, now = self._subtree, asyncio.get_running_loop().time()
        is_due = now - self._scanned_at >= subtree.tuning.scan_interval_s
        if is_due and not subtree.source.tells_changes:
            self._scanned_at = now
            self._is_full_wanted = True

    async def close(self) -> None:
        """End; the copies last until the session is re-attached or expires."""
        await self._lane.close(keep_session=True)

    # Sessions

    def _make_lane(self) -> Lane:
        link: Link = self._subtree.links[self._target]
        lane = link.lane(session_file.load(self._file()))
        lane.on_state(self._on_state)
        return lane

    def _file(self) -> Path:
        name = f"ephemerals-{self._subtree.name}-{self._target.value}.session"
        return self._state_dir / name

    def _on_state(self, state: LaneState) -> None:
        if state is LaneState.CONNECTED:
            session_file.save(self._file(), self._lane.saved)
        self.request_comparison()

    async def _start(self) -> None:
        while True:
            try:
                await self._lane.start(bound_s=_START_BOUND_S)
                return
            except ConnectionLostError:
                await asyncio.sleep(_START_PAUSE_S)

    async def _follow_owner(self) -> None:
        """After a change of owner the copies go, and those of the other side come."""
        if self._target is self.source.other:
            return
        await self._lane.close()
        self._file().unlink(missing_ok=True)
        self._target = self.source.other
        self._lane = self._make_lane()
        await self._start()
        self._is_full_wanted = True

    # Work

    async def _work(self) -> None:
        await self._follow_owner()
        subtree = self._subtree
        for link in subtree.links.values():
            await link.proven.wait()
        if not self._may_write:
            # What is heard of meanwhile is kept.
            return
        if self._is_full_wanted:
            self._is_full_wanted = False
            try:
                self._dirty |= dict.fromkeys(await self._find_all())
            except BaseException:
                self._is_full_wanted = True
                raise
        while self._dirty and self._may_write:
            await self._copy_some(self._dirty)
        # A parent that is not there yet, or a session of before that has not ended. However many
        # there are, each event and each look again costs one batch, in turn.
        if self._waiting and self._may_write:
            await self._copy_some(self._waiting)

    @property
    def _may_write(self) -> bool:
        """Whether the other side is known to be the right one, and no operator is waited for."""
        return not (self._replicator.is_copying or self._replicator.stalled)

    async def _copy_some(self, todo: dict[str, None]) -> None:
        rels = list(islice(todo, _BATCH))
        for rel in rels:
            del todo[rel]
        with ExitStack() as undo:
            # Whatever ends it, a stop too: they are still to be done.
            undo.callback(todo.update, dict.fromkeys(rels))
            left = await self._copy(rels)
            undo.pop_all()
        for rel in rels:
            self._waiting.pop(rel, None)
        self._waiting.update(dict.fromkeys(left))

    async def _find_all(self) -> set[str]:
        """Ephemerals of the owner's side, and ours on the other."""
        found: set[str] = set()
        for side in Side:
            lane, root = self._subtree.links[side].reader, self._subtree.roots.root(side)
            await lane.sync(root)
            async for nodes in self._subtree.scan(side, on_unreadable=lambda _: None):
                for node in nodes:
                    rel = self._subtree.roots.rel(side, node.path)
                    owner = node.stat.ephemeral_owner
                    is_own = side is self._target and owner == self.session_id
                    if rel is not None and owner and (side is self.source or is_own):
                        found.add(rel)
        return found

    async def _copy(self, rels: list[str]) -> list[str]:
        """Bring paths to what the owner's side has; returns those to look at again."""
        subtree = self._subtree
        sources = await _read(subtree.source.reader, [subtree.source_path(r) for r in rels])
        targets = await _read(self._lane, [subtree.target_path(r) for r in rels])
        left: list[str] = []
        for rel, source, target in zip(rels, sources, targets, strict=True):
            wanted = source if source is not None and source.stat.ephemeral_owner else None
            if wanted is not None and not self._is_copyable(rel, wanted):
                continue
            try:
                if not await self._copy_one(subtree.target_path(rel), wanted, target):
                    left.append(rel)
            except (FencedError, ConnectionLostError):
                raise
            except SyncError as error:
                _log.info("ephemerals.again", path=subtree.target_path(rel), reason=str(error))
                left.append(rel)
        return left

    def _is_copyable(self, rel: str, node: Znode) -> bool:
        reason: str | None = None
        if _SEQUENTIAL.search(rel):
            reason = "sequential-ephemeral"
        elif is_unreadable(node.acl):
            reason = "acl-masked"
        if reason is not None:
            self._subtree.counters.skipped[rel] = reason
        return reason is None

    async def _copy_one(self, path: str, wanted: Znode | None, target: Znode | None) -> bool:
        """One path; False where it must be looked at again."""
        is_own = target is not None and target.stat.ephemeral_owner == self.session_id
        if wanted is None:
            if target is not None and is_own:
                await self._transact([Delete(path, target.stat.version)])
            return True
        if target is None:
            await self._transact([Create(path, wanted.data, wanted.acl, ephemeral=True)])
            return True
        if not is_own:
            # One of a session of ours that is about to expire goes by itself.
            return target.stat.ephemeral_owner == 0
        if target.data != wanted.data:
            await self._transact([SetData(path, wanted.data, target.stat.version)])
        if not same_acl(target.acl, wanted.acl):
            self._subtree.fence.check_held()
            await self._lane.set_acl(path, wanted.acl, target.stat.aversion)
        return True

    async def _transact(self, ops: list[Op]) -> None:
        # The session that sends it owns the ephemeral.
        await self._subtree.fence.transact(self._target, ops, lane=self._lane)


async def _read(lane: Lane, paths: list[str]) -> list[Znode | None]:
    _, nodes = await asyncio.gather(lane.sync(paths[0]), lane.read_many(paths))
    return nodes
