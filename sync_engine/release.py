"""Finds what stayed on one side for something below it, and need not any more.

The rules leave something out below a znode that its owner has deleted, so it stays on the other
side, alone, and the base remembers that it is gone on the owner's (`obstacles`). Once nothing left
out is below it any more, it goes. Where its side has become the owner's meanwhile, nobody but the
owner deletes there: it is the owner's znode like any other, and is copied.
"""

from __future__ import annotations

import asyncio

from sync_engine.context import Subtree
from sync_engine.direction import Side
from sync_engine.znode import Stat

_STEP = 250


async def find_free(subtree: Subtree, *, pause_s: float = 0.0) -> list[str]:
    """Paths of this worker that may go or be copied, to be looked at on both sides.

    Where both sides' writes are copied, either worker has those that are gone on its own side.

    Raises:
        SyncError: a side does not answer.
    """
    owner = subtree.owner
    gone = [rel for rel in subtree.base.kept if _is_gone(subtree, owner, rel)]
    stats = await _stats(subtree, owner.other, gone, pause_s)
    free = [rel for rel, stat in stats.items() if stat is None or not stat.num_children]
    if subtree.policy.both:
        return free
    owned = [rel for rel in subtree.base.kept if _is_gone(subtree, owner.other, rel)]
    return [*free, *to_copy(await _stats(subtree, owner, owned, pause_s))]


def to_copy(stats: dict[str, Stat | None]) -> list[str]:
    """Of all that stays on the owner's side, what nothing left out is below of, parents first.

    What stays below one that still has to is not copied either: its parent is not there. Pure.
    """
    own: dict[str, int] = dict.fromkeys(stats, 0)
    free: set[str] = set()
    for rel in sorted(stats, key=_depth, reverse=True):
        stat = stats[rel]
        if stat is not None and stat.num_children != own[rel]:
            continue
        free.add(rel)
        if stat is not None and (above := _above(rel)) in own:
            own[above] += 1
    found: list[str] = []
    for rel in sorted(free, key=_depth):
        if _above(rel) not in stats or _above(rel) in free:
            found.append(rel)
        else:
            free.discard(rel)
    return found


def _above(rel: str) -> str | None:
    """The relative path above; that of the root, which is empty, is nobody's."""
    return rel.rpartition("/")[0] if rel else None


def _depth(rel: str) -> int:
    return rel.count("/")


def _is_gone(subtree: Subtree, side: Side, rel: str) -> bool:
    row = subtree.base.get(rel)
    return row is not None and row.is_gone(side)


async def _stats(
    subtree: Subtree, side: Side, rels: list[str], pause_s: float
) -> dict[str, Stat | None]:
    reader = subtree.links[side].reader
    found: dict[str, Stat | None] = {}
    for start in range(0, len(rels), _STEP):
        if start:
            await asyncio.sleep(pause_s)
        some = rels[start : start + _STEP]
        read = await asyncio.gather(*(reader.exists(subtree.roots.path(side, r)) for r in some))
        found.update(zip(some, read, strict=True))
    return found
