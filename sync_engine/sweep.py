"""Looks for changes that no watch tells: those of ACLs, and whatever a watch missed."""

from __future__ import annotations

import asyncio

from sync_engine import wire
from sync_engine.context import Subtree
from sync_engine.errors import SyncError, ZkError
from sync_engine.reader import gather_answers
from sync_engine.replicator import Replicator
from sync_engine.rows import Stamp
from sync_engine.wire import OpCode

_STEP = 250
_PAUSE_S = 0.25


async def run_sweep(replicator: Replicator) -> None:
    """Look at all paths of one worker, for ever.

    Only stats are read, a few hundred a step, so that a pass over a large tree is spread out.
    """
    subtree = replicator.subtree
    while True:
        await asyncio.sleep(_sweep_pause_s(subtree))
        if replicator.stalled is not None:
            continue
        if not subtree.source.watch.supports_persistent:
            replicator.request_comparison()
            continue
        rels = list(subtree.base.rows)
        for start in range(0, len(rels), _STEP):
            try:
                await _sweep(replicator, rels[start : start + _STEP])
            except SyncError:
                # The side is away or overloaded; the next pass looks again.
                break
            await asyncio.sleep(_PAUSE_S)


def _sweep_pause_s(subtree: Subtree) -> float:
    # A small tree is looked at often, since that costs next to nothing.
    return min(subtree.tuning.scan_interval_s, 1.0 + len(subtree.base) / 200)


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
        # An error is that it is gone, or that newer servers do not say so (ZOOKEEPER-2590).
        if isinstance(stat, ZkError) or Stamp.of(stat) != stamp:
            replicator.notify(rel)
