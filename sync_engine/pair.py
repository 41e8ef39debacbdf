"""Which two ensembles these are, and who owns what: the engine's documents on both sides.

There is no write that reaches both ensembles at once, so each document says by itself what is true:
of the two copies of a subtree's document, the one with the higher term. A change of owner is
written on the new owner's side first; that write is the moment it happens. A copy that is behind is
brought up at the next start.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress

import structlog

from sync_engine import documents
from sync_engine.direction import Side
from sync_engine.documents import Epoch, Identity, Ownership
from sync_engine.errors import (
    NodeExistsError,
    NoNodeError,
    SameEnsembleError,
    StateError,
    SyncError,
    UnprovenError,
)
from sync_engine.fence import Fence
from sync_engine.link import Link
from sync_engine.provenance import read_identity
from sync_engine.slots import ensure
from sync_engine.wire import ANY_VERSION, Create, Delete, Op, SetData
from sync_engine.znode import join

_log = structlog.get_logger()
# A folder of the engine's own holds slots and documents: two levels, a few entries each.
_OWN_DEPTH_MAX = 3
# Far below the size of a request, whatever the names.
_OPS_MAX = 200


async def prepare(links: Mapping[Side, Link]) -> None:
    """Create the engine's folders, and make sure that the sides are two ensembles.

    Raises:
        SameEnsembleError: both sides lead to the same ensemble.
    """
    for link in links.values():
        for path in documents.FOLDERS:
            await ensure(link, path)
        if await link.writer.exists(documents.EPOCH) is None:
            try:
                data = Epoch(epoch=0, holder="").encode()
                await link.writer.create(documents.EPOCH, data, link.own_acl)
            except NodeExistsError:
                pass
    await _check_apart(links)


async def _check_apart(links: Mapping[Side, Link]) -> None:
    probe = f"{documents.ROOT}/probe-{uuid.uuid4().hex}"
    a, b = links[Side.A], links[Side.B]
    # Ephemeral: an engine that dies or is cancelled here leaves nothing behind.
    await a.writer.create(probe, b"", a.own_acl, ephemeral=True)
    try:
        await b.writer.sync(probe)
        if await b.writer.exists(probe) is not None:
            msg = (
                "expected two ensembles, saw on side b what was written on side a: both lead to "
                "one; correct the rules' hosts"
            )
            raise SameEnsembleError(msg)
    except SyncError:
        # Not in a `finally`: when cancelled, its own failure would take the cancellation's place,
        # and whoever starts the engine would try again for ever.
        with suppress(SyncError):
            await _delete(a, probe)
        raise
    await _delete(a, probe)


async def check_unchanged(
    links: Mapping[Side, Link], judged: Mapping[Side, Identity | None]
) -> None:
    """Make sure that the sides are still of the pairs that they were when they were looked at: an
    engine that was held up before it took the fence must not undo what another has begun.

    Raises:
        UnprovenError: another engine has made them another pair, and so they are looked at anew.
    """
    for side, link in links.items():
        found = await _read_identity(link)
        if found != judged[side]:
            msg = (
                f"expected side {side.value} to be of {_named(judged[side])}, as it was before the "
                f"fence was taken, saw {_named(found)}: another engine began meanwhile, and both "
                "sides are looked at again"
            )
            raise UnprovenError(msg)


def _named(identity: Identity | None) -> str:
    return "no pair" if identity is None else f"pair {identity.pair} (side {identity.side.value})"


async def identify(
    links: Mapping[Side, Link], fence: Fence, *, renew: bool, keep_owners: bool = False
) -> str:
    """Read which pair this is, or make both sides a new one (`renew`).

    A new pair begins without slots and markers, and without owners and projections unless these are
    kept, whatever an earlier engine left on one of the sides. The caller has taken the fence, so an
    engine of the old pair no longer writes.

    Raises:
        StateError: the sides changed since they were looked at.
        FencedError: another engine has taken over since; its pair stays as it is.
    """
    if not renew:
        found = {side: await _read_identity(link) for side, link in links.items()}
        a, b = found[Side.A], found[Side.B]
        if a is not None and b is not None and (a.pair, a.side, b.side) == (b.pair, *Side):
            return a.pair
        msg = "expected sides a and b of one pair, saw them change meanwhile: start again"
        raise StateError(msg)
    pair = uuid.uuid4().hex
    owned = () if keep_owners else (documents.SUBTREES, documents.PROJECTIONS)
    for side, link in links.items():
        old: list[Op] = [
            Delete(path, ANY_VERSION)
            for folder in (*owned, documents.SLOTS, documents.MARKERS)
            for path in await _below(link, folder, _OWN_DEPTH_MAX)
        ]
        data = Identity(pair=pair, side=side).encode()
        named: list[Op] = [Create(documents.IDENTITY, data, link.own_acl)]
        if await link.writer.exists(documents.IDENTITY) is not None:
            named.insert(0, Delete(documents.IDENTITY, ANY_VERSION))
        # Each with the fence's check: an engine that was held up since it took the fence must not
        # undo what the next one has begun. The identity changes at once, and last.
        for begin in range(0, len(old), _OPS_MAX):
            await fence.transact(side, old[begin : begin + _OPS_MAX])
        await fence.transact(side, named)
    _log.info("pair.new", pair=pair, epoch=fence.epoch)
    return pair


async def _read_identity(link: Link) -> Identity | None:
    await link.writer.sync(documents.IDENTITY)
    return await read_identity(link.writer)


async def _delete(link: Link, path: str) -> None:
    try:
        await link.writer.delete(path, ANY_VERSION)
    except NoNodeError:
        pass


async def _below(link: Link, path: str, depth: int) -> list[str]:
    """All paths below one, children before parents."""
    if depth == 0:
        return []
    found: list[str] = []
    names, _ = await link.writer.children(path)
    for name in names:
        found += await _below(link, join(path, name), depth - 1)
        found.append(join(path, name))
    return found


class OwnershipStore:
    """Subtrees' documents on both sides."""

    def __init__(self, links: Mapping[Side, Link], fence: Fence) -> None:
        self._links = links
        self._fence = fence

    async def load(self, name: str, first: Ownership) -> Ownership:
        """The document that holds, brought up on both sides; `first` where there is none."""
        path = documents.subtree_path(name)
        copies: dict[Side, Ownership | None] = {}
        for side, link in self._links.items():
            await ensure(link, path)
            data, _ = await link.writer.get(path)
            copies[side] = documents.decode(Ownership, data, path) if data else None
        known = [doc for doc in copies.values() if doc is not None]
        truth = max(known, key=lambda doc: doc.term, default=first)
        for side, copy in copies.items():
            if copy != truth:
                await self._write(side, path, truth)
        return truth

    async def save(self, name: str, doc: Ownership, *, first: Side) -> None:
        """Write a document of a higher term; once it stands on side `first` it is the truth."""
        path = documents.subtree_path(name)
        await self._write(first, path, doc)
        await self._write(first.other, path, doc)

    async def _write(self, side: Side, path: str, doc: Ownership) -> None:
        # Only the holder of the epoch writes documents, so no version is expected.
        await self._fence.transact(side, [SetData(path, doc.encode(), ANY_VERSION)])
