"""What stands in the way of a delete or a create on the other side.

A create that found no parent, and a delete that found children, wait for these to be looked at. A
deleted znode may also hold what the rules leave out, which is nobody's to delete: then it stays on
that side, alone, and the base remembers that it is gone on the owner's. The sweep deletes it once
nothing stands below it any more; its owner may create it again before. Where that side has become
the owner's until then, the sweep has it copied instead.
"""

from __future__ import annotations

from sync_engine.context import Subtree
from sync_engine.decide import Action
from sync_engine.errors import NoNodeError
from sync_engine.rows import GONE, Row
from sync_engine.transaction import Work
from sync_engine.znode import parent


async def look_around(
    subtree: Subtree, rel: str, works: list[Work], *, both_ways: bool
) -> list[str]:
    """Paths to look at on both sides because `rel` failed: itself among them unless it stays."""
    try:
        names, _ = await subtree.target.writer.children(subtree.target_path(rel))
    except NoNodeError:
        row = subtree.base.get(rel)
        if row is not None and row.is_gone(subtree.owner.other):
            # Deleted there, and kept here: what was created below it since then needs it again.
            subtree.base.put({rel: None})
        elif both_ways and any(_is_below(work, rel) for work in works):
            # Deleted there, and what has won over its own deletion needs it.
            subtree.shared.alive.add(rel)
        return [rel]
    children = [f"{rel}/{name}" for name in names]
    found = [child for child in children if subtree.covers(child) and not _is_gone(subtree, child)]
    deleted = next((w for w in works if w.rel == rel and w.decision.action is Action.DELETE), None)
    if deleted is not None and len(found) < len(children):
        # Whatever becomes of those that are ours: it holds something that is not.
        _keep(subtree, deleted)
        return found
    if both_ways and any(subtree.base.get(child) is None for child in found):
        subtree.shared.alive.add(rel)
    return [rel, *found]


def _is_below(work: Work, rel: str) -> bool:
    """Whether a path directly below another is to be created."""
    is_created = work.decision.action is Action.CREATE and work.rel != rel
    return is_created and parent(work.rel) == (rel or "/")


def is_settled(subtree: Subtree, work: Work) -> bool:
    """Whether a delete need not be tried again, because its path stays."""
    return work.decision.action is Action.DELETE and _is_gone(subtree, work.rel)


def _is_gone(subtree: Subtree, rel: str) -> bool:
    row = subtree.base.get(rel)
    return row is not None and row.is_gone(subtree.owner)


def _keep(subtree: Subtree, work: Work) -> None:
    assert work.target is not None
    content = (work.target.data_hash, work.target.acl)
    row = Row.of(subtree.owner, GONE, work.target.stamp, content)
    subtree.base.put({work.rel: row})
    subtree.counters.skipped.pop(work.rel, None)
    subtree.shared.settle(work.rel)
