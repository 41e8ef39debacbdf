"""Looks for changes that no watch tells: those of ACLs, whatever a watch missed, and whether what
was put aside can be done by now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from sync_engine import wire
from sync_engine.context import Subtree
from sync_engine.errors import NoNodeError, SyncError, ZkError
from sync_engine.reader import gather_answers
from sync_engine.release import find_free
from sync_engine.replicator import Replicator
from sync_engine.rows import GONE, Stamp
from sync_engine.wire import OpCode

_STEP = 250
_PAUSE_S = 0.25
# Put aside until the znode itself changes, which its event tells.
_UNTIL_CHANGED = frozenset({"too-large", "bad-arguments"})
# Others are tried again in turns: each may cost a transaction of its own.
_AGAIN_MAX = 50


async def run_sweep(replicator: Replicator) -> None:
    """Look at all paths of one worker, for ever.

    Only stats are read, a few hundred a step, so that a pass over a large tree is spread out.
    """
    subtree = replicator.subtree
    while True:
        await asyncio.sleep(_sweep_pause_s(subtree))
        if replicator.stalled is not None:
            continue
        _try_again(replicator)
        if subtree.source.tells_changes:
            await _sweep_all(replicator)
        else:
            replicator.request_comparison()
        with suppress(SyncError):
            await _release(replicator)


async def _sweep_all(replicator: Replicator) -> None:
    rels = list(replicator.subtree.base.rows)
    for start in range(0, len(rels), _STEP):
        try:
            await _sweep(replicator, rels[start : start + _STEP])
        except SyncError:
            # The side is away or overloaded; the next pass looks again.
            return
        await asyncio.sleep(_PAUSE_S)


async def run_scans(marker: Replicator, workers: Callable[[], Iterable[Replicator]]) -> None:
    """Look at a lag marker, for ever, as seldom as at the slowest of the subtrees that go its way.

    Only while its side's watches do not tell it: the lag that is measured is then a change's own.
    """
    while True:
        subtrees = [
            worker.subtree
            for worker in workers()
            if worker.subtree.direction is marker.subtree.direction
        ]
        await asyncio.sleep(max(map(_sweep_pause_s, (marker.subtree, *subtrees))))
        if not marker.subtree.source.tells_changes:
            marker.request_comparison()


def _sweep_pause_s(subtree: Subtree) -> float:
    # A small tree is looked at often, since that costs next to nothing.
    return min(subtree.tuning.scan_interval_s, 1.0 + len(subtree.base) / 200)


def _try_again(replicator: Replicator) -> None:
    """Look at what was put aside: no event tells that a quota was raised or an ACL given back."""
    skipped = replicator.subtree.counters.skipped
    later = [rel for rel, reason in skipped.items() if reason not in _UNTIL_CHANGED]
    for rel in later[:_AGAIN_MAX]:
        # To the end of the queue.
        skipped[rel] = skipped.pop(rel)
        replicator.notify(rel)


async def _sweep(replicator: Replicator, rels: list[str]) -> None:
    subtree = replicator.subtree
    owner, reader = subtree.owner, subtree.source.reader
    # Futures without a task each: this is what an idle engine does.
    asked = [
        reader.submit(OpCode.EXISTS, wire.watchless_body(path), wire.read_stat, path)
        for path in map(subtree.source_path, rels)
    ]
    for rel, stat in zip(rels, await gather_answers(asked), strict=True):
        row = subtree.base.get(rel)
        stamp = None if row is None else row.stamp(owner)
        if stamp is None or subtree.owner is not owner:
            continue
        if stamp == GONE and isinstance(stat, NoNodeError):
            continue
        # An error is that it is gone, or that newer servers do not say so (ZOOKEEPER-2590).
        if isinstance(stat, ZkError) or Stamp.of(stat) != stamp:
            replicator.notify(rel)


async def _release(replicator: Replicator) -> None:
    """Look at what stays on one side for something below it that is gone by now."""
    skipped = replicator.subtree.counters.skipped
    for rel in await find_free(replicator.subtree, pause_s=_PAUSE_S):
        # What was put aside is tried again in turns.
        if rel not in skipped:
            replicator.notify(rel, forced=True)
