"""Checkpoint slots of one subtree on both sides, and the repair of the base from them.

A slot is used by one transaction at a time, and its rows are in the base before it is used again:
so whatever was applied and is not in the base after a crash stands in some slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import structlog

from sync_engine import checkpoint, documents
from sync_engine.base import Base, SlotMark
from sync_engine.checkpoint import Record
from sync_engine.direction import Side
from sync_engine.errors import ConnectionLostError, NodeExistsError
from sync_engine.link import Link
from sync_engine.rows import Row
from sync_engine.unheard import Overwritten

_log = structlog.get_logger()
SLOTS_PER_SIDE = 4
"""Transactions under way at once: enough to hide one round trip and one fsync behind another."""

_PAUSE_S = 0.05


@dataclass(slots=True)
class Slot:
    """One slot, as it stands in the ensemble as far as we know."""

    side: Side
    number: int
    path: str
    version: int
    seq: int
    unsettled: bool = False
    """A transaction's answer was lost: it must be looked up before the slot is used again."""


class SlotPool:
    """The slots of one side, lent to one transaction at a time."""

    def __init__(self, slots: Iterable[Slot]) -> None:
        self._all = tuple(slots)
        self._free: asyncio.Queue[Slot] = asyncio.Queue()
        for slot in self._all:
            self._free.put_nowait(slot)

    @property
    def unsettled(self) -> list[Slot]:
        """Slots to look up before anything is decided: the base may lack what they record."""
        return [slot for slot in self._all if slot.unsettled]

    @property
    def is_unused(self) -> bool:
        """Whether no transaction was ever sent to that side."""
        return all(slot.seq == 0 for slot in self._all)

    async def take(self) -> Slot:
        """Wait for a free slot, first come, first served."""
        return await self._free.get()

    def give_back(self, slot: Slot) -> None:
        """Let others use a slot."""
        self._free.put_nowait(slot)


async def load(
    name: str, links: Mapping[Side, Link], base: Base, overwritten: Overwritten
) -> dict[Side, SlotPool]:
    """Read a subtree's slots, create missing ones, and repair the base from what they record."""
    slots: dict[Side, list[Slot]] = {}
    applied: list[tuple[int, Record, SlotMark]] = []
    for side, link in links.items():
        folder = f"{documents.SLOTS}/{name}"
        await ensure(link, folder)
        slots[side] = []
        for number in range(SLOTS_PER_SIDE):
            path = f"{folder}/{number}"
            await ensure(link, path)
            data, stat = await link.writer.get(path)
            record = checkpoint.decode(data)
            slots[side].append(Slot(side, number, path, stat.version, record.seq))
            if record.seq > base.slot_seq(side, number):
                applied.append((stat.mzxid, record, SlotMark(side, number, record.seq)))
    # Without rows there is nothing to repair: a full comparison comes anyway.
    is_new = not len(base) and not base.is_trusted
    for zxid, record, mark in sorted(applied, key=lambda entry: entry[0]):
        changes = {} if is_new else checkpoint.repairs(base.rows, record, zxid)
        again = await overwritten.look(record, zxid, links[mark.side])
        put_applied(base, record, changes, mark, again)
        _log.info(
            "slots.replayed", subtree=name, side=mark.side, slot=mark.number, rows=len(changes)
        )
    return {side: SlotPool(found) for side, found in slots.items()}


def put_applied(
    base: Base,
    record: Record,
    changes: Mapping[str, Row | None],
    mark: SlotMark,
    again: Collection[str],
) -> None:
    """Write rows that follow from an applied record. Those of `again` (paths whose znode there is
    another than was meant) are looked at once more: its ACL may be another one, too."""
    base.put(changes, mark)
    acls = {intent.rel: intent.acl for intent in record.intents if intent.rel in again}
    base.note_acl_writes(mark.side, acls)


async def ensure(link: Link, path: str) -> None:
    """Create one of the engine's own znodes unless it is there."""
    if await link.writer.exists(path) is None:
        try:
            await link.writer.create(path, b"", link.own_acl)
        except NodeExistsError:
            pass


async def look_up(slot: Slot, link: Link) -> tuple[Record, int, int]:
    """What a slot holds now: its record, the zxid of its transaction and its version.

    Waits for the ensemble as long as it is away. A `sync` on the session that sent a transaction is
    answered after everything that this session had under way.
    """
    while True:
        await link.writer.connected.wait()
        try:
            await link.writer.sync(slot.path)
            data, stat = await link.writer.get(slot.path)
        except ConnectionLostError:
            await asyncio.sleep(_PAUSE_S)
            continue
        return checkpoint.decode(data), stat.mzxid, stat.version
