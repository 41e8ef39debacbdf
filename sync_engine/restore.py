"""Writes an exported tree (`tree.py`) back to an ensemble.

The whole file is verified, and what is there already is looked at, before anything is written: a
damaged file, or one that does not fit, changes nothing. Every write expects what was seen before
it, so a client that writes meanwhile ends the import with an error and loses nothing; calling again
goes on. Containers and TTL znodes come back as persistent ones, because no file knows them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TypeVar

from sync_engine.acl_fence import same_acl
from sync_engine.ensemble import EnsembleAddress, open_lane
from sync_engine.errors import EnsembleError, NodeExistsError, ZkError
from sync_engine.lane import Lane
from sync_engine.progress import SILENT, Progress
from sync_engine.rules import RESERVED_PATHS
from sync_engine.tree import StoredZnode, stored, verify
from sync_engine.verb_report import ImportReport
from sync_engine.wire import Create, Op, SetData
from sync_engine.znode import Znode, is_within, parent

_CHUNK = 200
_BYTES_MAX = 512 * 1024
_OP_BYTES = 256
T = TypeVar("T")


class Existing(StrEnum):
    """What happens to znodes that are there already with another content."""

    REFUSE = "refuse"
    SKIP = "skip"
    REPLACE = "replace"


@dataclass(slots=True)
class _Plan:
    """What one chunk needs."""

    creates: list[StoredZnode] = field(default_factory=list[StoredZnode])
    differing: list[tuple[StoredZnode, Znode]] = field(
        default_factory=list[tuple[StoredZnode, Znode]]
    )
    unchanged: int = 0


async def restore(
    address: EnsembleAddress,
    file: Path,
    *,
    existing: Existing = Existing.REFUSE,
    progress: Progress = SILENT,
) -> ImportReport:
    """Write a file's znodes.

    Raises:
        TreeFileError: the file is damaged; nothing was written.
        EnsembleUnreachableError: no server takes the connection, or it broke; call again.
        EnsembleError: a znode is there with another content, or changed meanwhile.
    """
    total = verify(file).znodes
    created = replaced = unchanged = left = 0
    async with open_lane(address) as lane:
        if existing is Existing.REFUSE:
            progress.expect(total, "looking what is there")
            await _check_fits(lane, file, progress)
        progress.expect(total, "writing")
        for chunk in _chunks(_wanted(file), _CHUNK):
            plan = await _plan(lane, chunk)
            try:
                await _create(lane, plan.creates)
                if existing is Existing.REPLACE:
                    await _replace(lane, plan.differing)
            except ZkError as error:
                raise EnsembleError(_changed(error)) from None
            if plan.differing and existing is Existing.REFUSE:
                raise EnsembleError(_differs(plan.differing[0][0].path))
            is_replaced = existing is Existing.REPLACE
            created += len(plan.creates)
            replaced += len(plan.differing) if is_replaced else 0
            left += 0 if is_replaced else len(plan.differing)
            unchanged += plan.unchanged
            progress.advance(len(chunk))
    return ImportReport(
        znodes=created + replaced + unchanged + left,
        created=created,
        replaced=replaced,
        unchanged=unchanged,
        left=left,
    )


def _wanted(file: Path) -> Generator[StoredZnode]:
    """The file's znodes without those of ZooKeeper and of engines, which are of one ensemble."""
    for znode in stored(file):
        if znode.path != "/" and not any(is_within(znode.path, path) for path in RESERVED_PATHS):
            yield znode


async def _check_fits(lane: Lane, file: Path, progress: Progress) -> None:
    for chunk in _chunks(_wanted(file), _CHUNK):
        plan = await _plan(lane, chunk)
        if plan.differing:
            raise EnsembleError(_differs(plan.differing[0][0].path))
        progress.advance(len(chunk))


async def _plan(lane: Lane, chunk: list[StoredZnode]) -> _Plan:
    plan = _Plan()
    for want, have in zip(chunk, await lane.read_many([z.path for z in chunk]), strict=True):
        if have is None:
            plan.creates.append(want)
        elif have.data == want.data and same_acl(have.acl, want.acl):
            plan.unchanged += 1
        else:
            plan.differing.append((want, have))
    return plan


async def _create(lane: Lane, znodes: list[StoredZnode]) -> None:
    """Create in order, parents first; what is above the first of them may be missing too."""
    if znodes:
        await _ensure_above(lane, znodes[0])
    ops: list[Op] = []
    size = 0
    for znode in znodes:
        need = _OP_BYTES + 4 * len(znode.path) + len(znode.data or b"")
        if ops and size + need > _BYTES_MAX:
            await lane.multi(ops)
            ops, size = [], 0
        ops.append(Create(znode.path, znode.data, znode.acl))
        size += need
    if ops:
        await lane.multi(ops)


async def _ensure_above(lane: Lane, znode: StoredZnode) -> None:
    """Create what is missing above an exported root, under the root's own ACL."""
    missing: list[str] = []
    path = parent(znode.path)
    while path != "/" and await lane.exists(path) is None:
        missing.append(path)
        path = parent(path)
    for each in reversed(missing):
        try:
            await lane.create(each, b"", znode.acl)
        except NodeExistsError:
            continue


async def _replace(lane: Lane, pairs: list[tuple[StoredZnode, Znode]]) -> None:
    async def one(want: StoredZnode, have: Znode) -> None:
        # The ACL first: the data must never stand under a wider one than its own.
        if not same_acl(want.acl, have.acl):
            await lane.set_acl(want.path, want.acl, have.stat.aversion)
        if want.data != have.data:
            await lane.multi([SetData(want.path, want.data, have.stat.version)])

    await asyncio.gather(*(one(want, have) for want, have in pairs))


def _chunks(items: Iterable[T], size: int) -> Generator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _differs(path: str) -> str:
    return (
        f"expected {path} not to be there, or to be as in the file, saw another content: choose "
        "what happens to such znodes (skip or replace)"
    )


def _changed(error: ZkError) -> str:
    return f"expected nobody else to write meanwhile, saw: {error}; stop the writers and call again"
