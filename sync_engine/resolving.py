"""Conflicts as an operator sees them: those that wait, and how one is resolved.

A choice holds for one path and one moment: it is made under the worker's lock, for the versions
that the operator has seen.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sync_engine.conflicts import ConflictJournal
from sync_engine.context import Subtree
from sync_engine.direction import Side
from sync_engine.errors import EngineBusyError, EngineRefusedError
from sync_engine.held import HeldPath
from sync_engine.replicator import Replicator
from sync_engine.report import (
    CONFLICTS_MAX,
    ConflictPage,
    ConflictRecord,
    Copy,
    HeldConflict,
)
from sync_engine.rows import Stamp
from sync_engine.znode import Znode

_POLL_S = 0.05
# An answer is put together between other work; both versions of one conflict may take 3 MB.
_PAGE_BYTES_MAX = 1024 * 1024


def find(workers: Iterable[Replicator], id_: int) -> tuple[Replicator, HeldPath]:
    """The worker and the conflict of an id.

    Raises:
        EngineRefusedError: none waits under it.
    """
    for worker in workers:
        for entry in worker.subtree.shared.held.entries.values():
            if entry.id == id_:
                return worker, entry
    msg = f"expected the id of a conflict that waits, saw {id_}: list them"
    raise EngineRefusedError(msg, type="UnknownConflict")


def describe(subtree: Subtree, entry: HeldPath) -> HeldConflict:
    """A conflict without its versions."""
    return HeldConflict(
        id=entry.id,
        subtree=subtree.name,
        path_a=subtree.roots.path(Side.A, entry.rel),
        path_b=subtree.roots.path(Side.B, entry.rel),
        at=entry.at,
        reason=entry.reason,
        why=entry.why,
        seen=entry.seen,
    )


async def show(worker: Replicator, entry: HeldPath) -> HeldConflict:
    """A conflict with both versions as they are now; `seen` names these."""
    subtree = worker.subtree
    a, b = await _read_both(subtree, entry.rel)
    now = replace(entry, a=_stamp(a), b=_stamp(b))
    return describe(subtree, now).model_copy(update={"a": copy_of(a), "b": copy_of(b)})


@dataclass(frozen=True, slots=True)
class Choice:
    """What an operator says: who wins, of which versions (None: whatever they are), how long."""

    winner: Side
    seen: str | None
    timeout_s: float


async def resolve(
    worker: Replicator, twin: Replicator | None, entry: HeldPath, choice: Choice
) -> None:
    """Copy the winner's version to the other side.

    Raises:
        EngineRefusedError: the versions are not those that were seen, or the path cannot be copied.
        EngineBusyError: not within the time.
    """
    subtree, winner, seen = worker.subtree, choice.winner, choice.seen
    if seen is not None and (await show(worker, entry)).seen != seen:
        msg = (
            f"expected the versions that were shown as {seen}, saw others by now: look at them "
            "again"
        )
        raise EngineRefusedError(msg, type="ChangedSince")
    if subtree.owner is winner:
        reader = worker
    elif twin is not None:
        reader = twin
    else:
        # Copied one way: for this one path, by an operator's word, it goes the other way.
        policy = replace(subtree.policy, both=True)
        reader = Replicator(subtree.mirrored(policy))
        reader.lock = worker.lock
    subtree.shared.resolved[entry.rel] = winner
    try:
        async with asyncio.timeout(choice.timeout_s):
            await reader.resolve(entry.rel)
            while entry.rel in subtree.shared.held.entries:
                # What stands in its way, as children, is under way as well.
                await asyncio.sleep(_POLL_S)
                await reader.resolve(entry.rel)
    except TimeoutError:
        skipped = reader.subtree.counters.skipped.get(entry.rel)
        msg = (
            f"expected side {winner.value}'s version on both sides within {choice.timeout_s:g} s, "
            f"saw {skipped or 'the conflict go on'}: look at what stands below the path"
        )
        raise EngineBusyError(msg) from None
    finally:
        subtree.shared.resolved.pop(entry.rel, None)


async def page(journal: ConflictJournal, after: int, limit: int) -> ConflictPage:
    """A part of the journal, oldest first; read in a thread, for replication goes on meanwhile."""

    def read() -> ConflictPage:
        found = journal.read(
            after=after, count_max=min(limit, CONFLICTS_MAX), bytes_max=_PAGE_BYTES_MAX
        )
        return ConflictPage(
            conflicts=[ConflictRecord.model_validate(line) for line in found],
            total=journal.count,
        )

    return await asyncio.to_thread(read)


def copy_of(node: Znode | None) -> Copy | None:
    """A version as it goes over HTTP."""
    if node is None:
        return None
    stat = node.stat
    return Copy(
        path=node.path,
        data=None if node.data is None else base64.b64encode(node.data).decode(),
        acl=[(entry.perms, entry.scheme, entry.id) for entry in node.acl],
        czxid=stat.czxid,
        mzxid=stat.mzxid,
        version=stat.version,
        aversion=stat.aversion,
        mtime=stat.mtime,
    )


async def _read_both(subtree: Subtree, rel: str) -> tuple[Znode | None, Znode | None]:
    async def read(side: Side) -> Znode | None:
        lane, path = subtree.links[side].reader, subtree.roots.path(side, rel)
        await lane.sync(path)
        return await lane.read(path)

    a, b = await asyncio.gather(read(Side.A), read(Side.B))
    return a, b


def _stamp(node: Znode | None) -> Stamp | None:
    return None if node is None else Stamp.of(node.stat)
