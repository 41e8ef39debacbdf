"""Puts fenced ACLs on one side of a subtree, and the originals back.

Both go through the tree again and again until a scan finds nothing left to do, so both may be
stopped at any point and called again. Each node's ACL is written at the aversion that was read with
it. The base holds the original before the fenced one is written, so it is never only in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from sync_engine import documents
from sync_engine.acl_fence import MARKER, fence, is_fenced, same_acl
from sync_engine.context import Subtree
from sync_engine.direction import Side
from sync_engine.errors import (
    BadVersionError,
    EngineBusyError,
    EngineRefusedError,
    NoAuthError,
    NoNodeError,
)
from sync_engine.link import Link
from sync_engine.rows import Row, Stamp
from sync_engine.wire import ANY_VERSION
from sync_engine.znode import Acl, Stat, Znode

# Each further pass is one that somebody raced who should not write.
_PASSES_MAX = 5

Plan = Callable[[str, Znode], tuple[Acl, ...] | None]
"""From a node to the ACL it should get; None leaves it."""


async def fence_side(subtree: Subtree, side: Side) -> list[str]:
    """Let nobody but the engine write there; returns relative paths whose ACL is not the base's
    (changed since they were copied), which are left as they are: copy them and call again.

    Raises:
        EngineBusyError: somebody keeps changing the tree.
    """
    changed: list[str] = []

    def plan(rel: str, node: Znode) -> tuple[Acl, ...] | None:
        if is_fenced(node.acl):
            return None
        row = subtree.base.get(rel)
        if row is None or not same_acl(row.acl, node.acl):
            changed.append(rel)
            return None
        return fence(node.acl)

    for _ in range(_PASSES_MAX):
        changed.clear()
        written = await _rewrite(subtree, side, plan)
        if changed or not written:
            return changed
    raise EngineBusyError(_unsettled(subtree, side))


async def restore_side(subtree: Subtree, side: Side) -> None:
    """Put the original ACLs back, also where the rules left something out since it was fenced.

    Raises:
        EngineRefusedError: nobody knows an original.
        EngineBusyError: somebody keeps changing the tree.
    """
    unknown: list[str] = []

    def plan(rel: str, node: Znode) -> tuple[Acl, ...] | None:
        if not is_fenced(node.acl):
            return None
        row = subtree.base.get(rel) or subtree.base.asleep(rel)
        if row is None or is_fenced(row.acl):
            unknown.append(rel)
            return None
        return row.acl

    for _ in range(_PASSES_MAX):
        unknown.clear()
        written = await _rewrite(subtree, side, plan, everything=True)
        for rel in unknown:
            await _restore_from_other(subtree, side, rel)
        if not written and not unknown:
            return
    raise EngineBusyError(_unsettled(subtree, side))


async def check_is_super(link: Link) -> None:
    """Make sure that a fence would not lock the engine itself out.

    Raises:
        EngineRefusedError: the engine is not the ensemble's super user.
    """
    path = f"{documents.ROOT}/fence-probe"
    with suppress(NoNodeError):
        await link.writer.delete(path, ANY_VERSION)
    await link.writer.create(path, b"", (MARKER,))
    try:
        await link.writer.set_data(path, b"", ANY_VERSION)
    except NoAuthError:
        msg = (
            f"expected the engine to be the super user of side {link.side.value}, saw it refused "
            "by an ACL: give it the super user's credentials, or a fence would lock it out as well"
        )
        raise EngineRefusedError(msg, type="NotSuper") from None
    finally:
        await link.writer.delete(path, ANY_VERSION)


async def check_no_ephemerals(subtree: Subtree, own: Sequence[int]) -> None:
    """Make sure that no client has an ephemeral on either side; `own` are the engine's sessions.

    Raises:
        EngineRefusedError: one has.
    """
    for side in Side:
        path = await _find_ephemeral(subtree, side, own)
        if path is not None:
            msg = (
                f"expected no ephemeral of a client in the subtree, saw {path} on side "
                f"{side.value}: stop its owner, or wait for its session to expire"
            )
            raise EngineRefusedError(msg, type="EphemeralsPresent")


async def _find_ephemeral(subtree: Subtree, side: Side, own: Sequence[int]) -> str | None:
    await subtree.catch_up(side)
    found: str | None = None
    async for nodes in subtree.scan(side):
        for node in nodes:
            if node.stat.ephemeral_owner and node.stat.ephemeral_owner not in own:
                found = found or node.path
    return found


async def _rewrite(subtree: Subtree, side: Side, plan: Plan, *, everything: bool = False) -> int:
    """One pass; returns how many nodes the plan wanted to change."""
    link = subtree.links[side]
    wanted = 0
    await subtree.catch_up(side)
    async for nodes in subtree.scan(side, everything=everything):
        subtree.fence.check_held()
        todo: list[tuple[str, Znode, tuple[Acl, ...]]] = []
        for node in nodes:
            rel = subtree.roots.rel(side, node.path)
            if rel is None or node.stat.ephemeral_owner:
                continue
            acl = plan(rel, node)
            if acl is not None:
                todo.append((rel, node, acl))
        wanted += len(todo)
        answers = await asyncio.gather(
            *(link.writer.set_acl(node.path, acl, node.stat.aversion) for _, node, acl in todo),
            return_exceptions=True,
        )
        changes: dict[str, Row | None] = {}
        for (rel, _, _), answer in zip(todo, answers, strict=True):
            if isinstance(answer, Stat):
                _note(subtree, side, rel, answer, changes)
            elif not isinstance(answer, BadVersionError | NoNodeError):
                raise answer
        if changes:
            subtree.base.put(changes)
    return wanted


def _note(
    subtree: Subtree, side: Side, rel: str, stat: Stat, changes: dict[str, Row | None]
) -> None:
    """The row after one side's ACL was written; its original does not change."""
    row = subtree.base.get(rel)
    if row is None:
        return
    stamp = row.stamp(side)
    # Only the ACL is known to be the engine's: a stamp that is behind in its data stays so.
    if stamp is not None and stamp.mzxid == stat.mzxid:
        other = row.stamp(side.other)
        changes[rel] = Row.of(side, Stamp.of(stat), other, (row.data_hash, row.acl))


async def _restore_from_other(subtree: Subtree, side: Side, rel: str) -> None:
    other = side.other
    node = await subtree.links[other].writer.read(subtree.roots.path(other, rel))
    path = subtree.roots.path(side, rel)
    if node is None or is_fenced(node.acl):
        msg = (
            f"expected the original ACL of {path} in the base or on side {other.value}, saw none: "
            "set the ACL by hand"
        )
        raise EngineRefusedError(msg, type="OriginalAclUnknown")
    lane = subtree.links[side].writer
    stat = await lane.exists(path)
    if stat is not None:
        await lane.set_acl(path, node.acl, stat.aversion)


def _unsettled(subtree: Subtree, side: Side) -> str:
    return (
        f"expected the tree of {subtree.roots.root(side)} on side {side.value} to stand still, saw "
        f"it change in each of {_PASSES_MAX} passes: stop its writers"
    )
