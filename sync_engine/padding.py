"""Moves the new owner's sequence counters on to where the old owner's stand.

The number of the next sequential child is the number of children ever created under its parent, and
a copied tree has had fewer. Left alone, the next node would sort before live ones, or collide.
Counters only go up by creating, so a node with a name that no election and no queue reads is
created and deleted in one transaction, as often as it takes; nobody ever sees it. Only while the
subtree's writers stand still.
"""

from __future__ import annotations

from dataclasses import dataclass

from sync_engine.context import Subtree
from sync_engine.direction import Side
from sync_engine.wire import Create, Delete, Op
from sync_engine.znode import join

_NAME = "zksync-pad"
_PAIRS_MAX = 250
_ANY_VERSION = -1


@dataclass(frozen=True, slots=True)
class Pad:
    """A parent whose counter is behind."""

    path: str
    count: int


async def pad(subtree: Subtree, to: Side) -> int:
    """Move all counters on side `to` on; returns by how many in all. May be called again."""
    todo = await find_behind(subtree, to)
    for entry in todo:
        await _pad_one(subtree, to, entry)
    return sum(entry.count for entry in todo)


async def find_behind(subtree: Subtree, to: Side) -> list[Pad]:
    """Parents on side `to` whose counters are behind the other side's."""
    old = await _counters(subtree, to.other)
    new = await _counters(subtree, to)
    return [
        Pad(subtree.roots.path(to, rel), creates - new[rel])
        for rel, creates in old.items()
        if rel in new and new[rel] < creates
    ]


async def _counters(subtree: Subtree, side: Side) -> dict[str, int]:
    found: dict[str, int] = {}
    await subtree.catch_up(side)
    async for nodes in subtree.scan(side):
        for node in nodes:
            rel = subtree.roots.rel(side, node.path)
            if rel is not None and not node.stat.ephemeral_owner:
                found[rel] = node.stat.creates
    return found


async def _pad_one(subtree: Subtree, to: Side, entry: Pad) -> None:
    path = join(entry.path, _NAME)
    acl = subtree.links[to].own_acl
    left = entry.count
    while left > 0:
        pairs = min(left, _PAIRS_MAX)
        ops: list[Op] = []
        for _ in range(pairs):
            ops += [Create(path, None, acl), Delete(path, _ANY_VERSION)]
        await subtree.fence.transact(to, ops)
        left -= pairs
