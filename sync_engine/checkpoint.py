"""What a checkpoint slot holds, and what it means. Pure.

Every multi writes its slot in the target ensemble, in the same transaction: a sequence number and
the intents, that is what this transaction does to which paths. The slot's own mzxid is the
transaction's zxid. So whoever reads the slot knows whether the transaction was applied, and can
write the base rows that follow from it (`rows_after`); the running engine and the one that repairs
a crash use the same function.

Layout: magic, sequence number, source side, ACL table, intents; all integers big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from sync_engine.direction import Side
from sync_engine.errors import StateError
from sync_engine.rows import Row, Stamp, decode_acl, encode_acl
from sync_engine.znode import Acl

_MAGIC = b"zks1"
_HEAD = struct.Struct(">4sqcHI")
_STAMP = struct.Struct(">qqii")
_INTENT = struct.Struct(">BBHH16s")
_LENGTH = struct.Struct(">I")
_HAS_SOURCE = 1
_HAS_TARGET = 2
INTENT_BYTES = _INTENT.size + 2 * _STAMP.size
"""Most that an intent takes beside its path."""


class Kind(IntEnum):
    """What an intent does to the target."""

    CREATE = 1
    UPDATE = 2
    DELETE = 3


@dataclass(frozen=True, slots=True)
class Intent:
    """One path of a transaction. `target` is the stamp of the copy that is replaced, if any.

    `data_hash` and `acl` are the content after the transaction (the original ACL on a fenced side).
    """

    rel: str
    kind: Kind
    source: Stamp | None
    target: Stamp | None
    data_hash: bytes
    acl: tuple[Acl, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """All that one transaction does."""

    seq: int
    source_side: Side
    intents: tuple[Intent, ...]


EMPTY = Record(0, Side.A, ())


def encode(record: Record) -> bytes:
    """A record as a slot's data."""
    acls: dict[tuple[Acl, ...], int] = {}
    for intent in record.intents:
        acls.setdefault(intent.acl, len(acls))
    side = record.source_side.value.encode()
    parts = [_HEAD.pack(_MAGIC, record.seq, side, len(acls), len(record.intents))]
    parts.extend(_sized(encode_acl(acl).encode()) for acl in acls)
    parts.extend(_encode_intent(intent, acls[intent.acl]) for intent in record.intents)
    return b"".join(parts)


def _encode_intent(intent: Intent, acl: int) -> bytes:
    source, target = intent.source, intent.target
    flags = (_HAS_SOURCE if source else 0) | (_HAS_TARGET if target else 0)
    path = intent.rel.encode()
    head = _INTENT.pack(intent.kind, flags, acl, len(path), intent.data_hash)
    stamps = [_STAMP.pack(*stamp) for stamp in (source, target) if stamp is not None]
    return b"".join((head, path, *stamps))


def decode(data: bytes | None) -> Record:
    """The record of a slot's data.

    Raises:
        StateError: it is none of ours; writing on would be a guess.
    """
    if not data:
        return EMPTY
    try:
        return _decode(data)
    except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        msg = (
            f"expected a checkpoint record of this version, saw {len(data)} other bytes ({error}): "
            "use the engine that wrote it, or delete /.zksync/slots and compare in full"
        )
        raise StateError(msg) from None


def _decode(data: bytes) -> Record:
    magic, seq, side, acl_count, count = _HEAD.unpack_from(data, 0)
    if magic != _MAGIC:
        msg = f"magic {magic!r}"
        raise ValueError(msg)
    at = _HEAD.size
    acls: list[tuple[Acl, ...]] = []
    for _ in range(int(acl_count)):
        length = int(_LENGTH.unpack_from(data, at)[0])
        at += _LENGTH.size
        acls.append(decode_acl(data[at : at + length].decode()))
        at += length
    intents: list[Intent] = []
    for _ in range(count):
        intent, at = _decode_intent(data, at, acls)
        intents.append(intent)
    if at != len(data):
        msg = f"{len(data) - at} bytes too many"
        raise ValueError(msg)
    return Record(seq, Side(side.decode()), tuple(intents))


def _decode_intent(data: bytes, at: int, acls: Sequence[tuple[Acl, ...]]) -> tuple[Intent, int]:
    kind, flags, acl, length, hashed = _INTENT.unpack_from(data, at)
    at += _INTENT.size
    path = data[at : at + length].decode()
    at += length
    stamps: list[Stamp | None] = []
    for flag in (_HAS_SOURCE, _HAS_TARGET):
        if flags & flag:
            stamps.append(Stamp(*_STAMP.unpack_from(data, at)))
            at += _STAMP.size
        else:
            stamps.append(None)
    known: tuple[Acl, ...] = acls[int(acl)]
    return Intent(path, Kind(kind), stamps[0], stamps[1], hashed, known), at


def _sized(raw: bytes) -> bytes:
    return _LENGTH.pack(len(raw)) + raw


def rows_after(record: Record, zxid: int) -> dict[str, Row | None]:
    """The base rows that follow from an applied record; None where the row goes.

    ZooKeeper gives every operation of a transaction the same zxid and counts versions up by one, so
    the stamps of the copies are known without reading them.
    """
    found: dict[str, Row | None] = {}
    for intent in record.intents:
        if intent.kind is Kind.DELETE:
            found[intent.rel] = None
            continue
        if intent.target is None:
            target = Stamp(zxid, zxid, 0, 0)
        else:
            before = intent.target
            target = Stamp(before.czxid, zxid, before.version + 1, before.aversion)
        content = (intent.data_hash, intent.acl)
        found[intent.rel] = Row.of(record.source_side, intent.source, target, content)
    return found


def repairs(rows: Mapping[str, Row], record: Record, zxid: int) -> dict[str, Row | None]:
    """What an applied record changes in a base that may be older or newer than it."""
    side = record.source_side.other
    changes: dict[str, Row | None] = {}
    for rel, after in rows_after(record, zxid).items():
        row = rows.get(rel)
        stamp = None if row is None else row.stamp(side)
        if stamp is not None and stamp.mzxid >= zxid:
            continue
        if after is None and row is None:
            continue
        changes[rel] = after
    return changes
