"""Reads of changed paths on the owner's side of a subtree, never older than their changes.

The connection that reads may have an older server than the watch's. So a read counts only if its
server had reached the zxid of the event; where events tell none (before ZooKeeper 3.9), the zxid of
a transaction of ours that came after it. A `sync` alone proves nothing: a leader answers it before
it has applied all that it has committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from sync_engine.context import Subtree
from sync_engine.dirty import Dirty
from sync_engine.errors import NoAuthError
from sync_engine.reader import AclAt
from sync_engine.znode import Znode


class OwnersSide:
    """The side that is read, as one worker sees it."""

    def __init__(self, subtree: Subtree) -> None:
        self._subtree = subtree

    async def read_changed(self, changed: Mapping[str, Dirty]) -> list[Znode | None]:
        """Read changed paths, in their order."""
        subtree = self._subtree
        upto = self._moment(changed)
        if any(dirty.is_undated for dirty in changed.values()):
            upto = max(upto, await subtree.fence.barrier(subtree.owner))
        is_dated = all(dirty.zxid for dirty in changed.values())
        return await self.read(list(changed), upto, is_dated=is_dated)

    def _moment(self, changed: Mapping[str, Dirty]) -> int:
        """The zxid that a read of these must not be older than: of their changes, and of what the
        base knows of them, which may have come over another connection."""
        owner, base = self._subtree.owner, self._subtree.base
        # Where both sides are copied, the twin writes ACLs here, which move no zxid of a znode.
        both = self._subtree.policy.both
        upto = self._subtree.source.writer.last_zxid if both else 0
        for rel, dirty in changed.items():
            row = base.get(rel)
            stamp = None if row is None else row.stamp(owner)
            upto = max(upto, dirty.zxid, 0 if stamp is None else stamp.mzxid)
        return upto

    async def read(
        self, rels: Sequence[str], upto: int, *, is_dated: bool = True
    ) -> list[Znode | None]:
        """Read the owner's copies, no older than a zxid; without dates, as the leader has it.

        None is a path that is not there, or one that may not be read: `is_hidden` tells.
        """
        subtree = self._subtree
        paths = [subtree.source_path(rel) for rel in rels]
        reader = subtree.source.reader
        try:
            reading = reader.read_at(paths, self._known_acls(rels))
            if is_dated:
                nodes, reached = await reading
            else:
                # The sync goes first, on the same connection: its answer need not be waited for.
                _, (nodes, reached) = await asyncio.gather(reader.sync(paths[0]), reading)
            if reached < upto:
                await reader.sync(paths[0], upto=upto)
                nodes = await reader.read_many(paths)
            subtree.counters.unreadable.difference_update(paths)
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

    def is_hidden(self, rel: str) -> bool:
        """Whether a path could not be read the last time: nobody knows what is there."""
        hidden = self._subtree.counters.unreadable
        return bool(hidden) and self._subtree.source_path(rel) in hidden

    def _known_acls(self, rels: Sequence[str]) -> dict[str, AclAt]:
        """ACLs of the owner's side by path, where the base has them as they are."""
        subtree, owner = self._subtree, self._subtree.owner
        if subtree.doc.is_fenced(owner):
            return {}
        found: dict[str, AclAt] = {}
        for rel in rels:
            row = subtree.base.get(rel)
            stamp = None if row is None else row.stamp(owner)
            if row is not None and stamp is not None and not row.is_gone(owner):
                known = AclAt(stamp.czxid, stamp.aversion, row.acl)
                found[subtree.source_path(rel)] = known
        return found
