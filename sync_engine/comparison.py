"""Comparison of a whole subtree with its base, or without one with the other side.

With a trusted base only the owner's side is read: a node whose stamp is the base's has not changed,
and a path of the base that the scan did not meet is looked at again. Without one, both sides are
read, of the other side only hashes are kept, and nothing is deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from sync_engine import wire
from sync_engine.acl_fence import is_fenced, same_acl
from sync_engine.context import Subtree
from sync_engine.decide import Action, Decision, View, assumed, view
from sync_engine.errors import MultiFailedError, NoAuthError, NodeExistsError, zk_error
from sync_engine.lane import Lane
from sync_engine.progress import SILENT, Progress
from sync_engine.reader import gather_answers
from sync_engine.rows import Row, Stamp
from sync_engine.settings import RESERVED_PATHS
from sync_engine.transaction import Work, target_acl
from sync_engine.unheard import Overwritten
from sync_engine.wire import Create, OpCode
from sync_engine.znode import WORLD_ALL, Stat, Znode, is_within, parent


async def compare(
    subtree: Subtree,
    *,
    trusted: bool,
    found_missing: Callable[[list[str]], None],
    progress: Progress = SILENT,
) -> AsyncGenerator[list[Work]]:
    """Read the owner's side and yield what must be done; parents come before children."""
    others = {} if trusted else await _other_side(subtree, progress)
    seen: set[str] = set()
    await subtree.catch_up(subtree.owner)
    # Everything is looked at anew.
    subtree.counters.unreadable.clear()
    on_unreadable = subtree.counters.unreadable.add
    async for nodes in subtree.scan(subtree.owner, on_unreadable=on_unreadable):
        progress.advance(len(nodes))
        works: list[Work] = []
        for node in nodes:
            rel = subtree.roots.rel(subtree.owner, node.path)
            if rel is None or is_reserved(node.path, subtree):
                continue
            if not node.stat.ephemeral_owner:
                seen.add(rel)
            work = _compare_one(subtree, rel, node, others, trusted=trusted)
            if work is not None:
                works.append(work)
        await _read_losers(subtree, works)
        if works:
            yield works
    if not trusted:
        # What the base knows is found missing below, where many of them are noticed.
        left = [rel for rel in others if rel not in seen and subtree.base.get(rel) is None]
        yield [_left_over(subtree, rel, others[rel]) for rel in left]
    unreadable = subtree.counters.unreadable
    owner = subtree.owner
    missing = [
        rel
        for rel, row in subtree.base.rows.items()
        # What was never on the owner's side is not missing there, nor is what is known to be gone.
        if rel not in seen and row.stamp(owner) is not None and not row.is_gone(owner)
    ]
    if unreadable:
        missing = [
            rel
            for rel in missing
            if not any(is_within(subtree.source_path(rel), path) for path in unreadable)
        ]
    if missing:
        found_missing(missing)


def learn_acl(subtree: Subtree, work: Work, node: Znode | None) -> Row | None:
    """A path's row, brought up if a side's copy has an ACL that the engine sent there without ever
    hearing the answer; `node` is the other side's. Its source's stamp stays behind: the path is
    still to be done.

    If it met a znode that was created again, whose ACL nobody had seen, that is written down.
    """
    rel = work.rel
    row, sent = subtree.base.get(rel), subtree.base.acl_writes.get(rel)
    if row is None or sent is None:
        return row
    is_target = sent.side is subtree.owner.other
    before, found = row.stamp(sent.side), node if is_target else work.source
    if before is None or found is None:
        return row
    if not same_acl(found.acl, target_acl(sent.acl, fenced=is_target and subtree.target_is_fenced)):
        return row
    if found.stat.czxid != before.czxid:
        if found.stat.aversion == before.aversion + 1:
            overwritten = Overwritten(subtree.conflicts, subtree.name, subtree.roots)
            overwritten.report(work.source if is_target else node, found, sent.side)
            # Said once: a row, though the same one, ends the note of what was sent.
            subtree.base.put({rel: row})
        return row
    if not is_target:
        # It went the other way, and what stands here is what it was a copy of.
        return row
    after = before._replace(aversion=found.stat.aversion)
    learned = Row.of(sent.side, after, row.stamp(subtree.owner), (row.data_hash, sent.acl))
    subtree.base.put({rel: learned})
    return learned


def is_reserved(path: str, subtree: Subtree) -> bool:
    """Whether a path is nobody's to copy. The engine's lag markers are the one exception."""
    if subtree.is_internal:
        return False
    return any(is_within(path, reserved) for reserved in RESERVED_PATHS)


async def _other_side(subtree: Subtree, progress: Progress) -> dict[str, View]:
    side = subtree.owner.other
    found: dict[str, View] = {}
    await subtree.catch_up(side)
    async for nodes in subtree.scan(side):
        progress.advance(len(nodes))
        for node in nodes:
            rel = subtree.roots.rel(side, node.path)
            if rel is None:
                continue
            seen = view(node, subtree.base.get(rel))
            if seen is not None:
                found[rel] = seen
    return found


def _compare_one(
    subtree: Subtree, rel: str, node: Znode, others: dict[str, View], *, trusted: bool
) -> Work | None:
    row = subtree.base.get(rel)
    owner = subtree.owner
    if trusted and row is not None and row.stamp(owner) == Stamp.of(node.stat):
        return None
    if trusted and rel in subtree.base.acl_writes:
        # What the other side has is not known: the replicator looks at it.
        return None
    seen = view(node, row)
    target = assumed(row, owner.other) if trusted else _unfenced(others.get(rel), seen)
    decision = subtree.decide(rel, seen, target, row, trusted=trusted)
    if decision.action is Action.NOTHING:
        return None
    return Work(rel, node, seen, target, row, decision)


def _unfenced(target: View | None, source: View | None) -> View | None:
    # Without a row the original of a fenced ACL is the owner's, or there is none.
    if target is None or source is None or not is_fenced(target.acl):
        return target
    return View(target.stamp, target.data_hash, source.acl, target.ephemeral, fenced=True)


def _left_over(subtree: Subtree, rel: str, target: View) -> Work:
    row = subtree.base.get(rel)
    decision = subtree.decide(rel, None, target, row, trusted=False)
    return Work(rel, None, None, target, row, decision)


async def _read_losers(subtree: Subtree, works: list[Work]) -> None:
    losing = [w for w in works if w.decision.conflict is not None and w.target is not None]
    if not losing:
        return
    paths = [subtree.target_path(work.rel) for work in losing]
    for work, node in zip(losing, await subtree.target.writer.read_many(paths), strict=True):
        work.loser = node


async def decide_again(subtree: Subtree, works: Sequence[Work]) -> None:
    """Decide with the other side's copy read instead of assumed."""
    lane = subtree.target.writer
    paths = [subtree.target_path(work.rel) for work in works]
    is_shared = subtree.policy.both
    gone = [work for work in works if is_shared and work.source is None and work.rel]
    above = {parent(subtree.target_path(work.rel)) for work in gone}
    # In this order on one connection: what is created after a parent was counted is not missed.
    _, creates, nodes = await asyncio.gather(
        lane.sync(paths[0]), _creates(lane, sorted(above)), _read_there(lane, paths)
    )
    for work in gone:
        work.siblings = creates.get(parent(subtree.target_path(work.rel)))
    for work, node in zip(works, nodes, strict=True):
        if isinstance(node, NoAuthError):
            # What may not be read must not be written over, and must not keep the others waiting.
            work.decision = Decision(Action.SKIP, reason="no-auth")
            continue
        work.row = learn_acl(subtree, work, node)
        work.view = view(work.source, work.row)
        original = None if work.view is None else work.view.acl
        work.target = view(node, work.row, original=original)
        if (work.view is None) == (work.target is None):
            subtree.shared.alive.discard(work.rel)
        work.decision = subtree.decide(work.rel, work.view, work.target, work.row)
        work.loser = node


async def _read_there(lane: Lane, paths: Sequence[str]) -> Sequence[Znode | NoAuthError | None]:
    """The other side's copies, one by one where some of them may not be read."""
    try:
        return await lane.read_many(paths)
    except NoAuthError:
        pass
    found: list[Znode | NoAuthError | None] = []
    for path in paths:
        try:
            found.append(await lane.read(path))
        except NoAuthError as error:
            found.append(error)
    return found


async def _creates(lane: Lane, paths: Sequence[str]) -> dict[str, int]:
    """How many children each of these ever had; those that cannot be asked are left out."""
    # Asked for before this first waits, so that it stays behind a sync and before a read.
    asked = [
        lane.submit(OpCode.EXISTS, wire.watchless_body(path), wire.read_stat, path)
        for path in paths
    ]
    answers = await gather_answers(asked)
    return {
        path: answer.creates
        for path, answer in zip(paths, answers, strict=True)
        if isinstance(answer, Stat)
    }


async def ensure_above(subtree: Subtree) -> None:
    """Create what is missing above the other side's root, with the ACL of the source's parent."""
    lane = subtree.target.writer
    root = subtree.target_path("")
    above = parent(root)
    if above == "/" or await lane.exists(above) is not None:
        return
    source_parent = parent(subtree.source_path(""))
    acl, _ = await subtree.source.reader.get_acl(source_parent)
    if any(entry.is_masked for entry in acl):
        acl = WORLD_ALL
    steps = above.split("/")
    for depth in range(2, len(steps) + 1):
        path = "/".join(steps[:depth])
        if await lane.exists(path) is None:
            try:
                await subtree.fence.transact(subtree.target.side, [Create(path, b"", acl)])
            except MultiFailedError as error:
                if error.code != NodeExistsError.code:
                    raise zk_error(error.code, path) from None
