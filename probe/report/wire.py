"""The bytes of a report: frames of a stream, columnar, in MessagePack, compressed.

A frame is a snapshot (everything; the stream begins anew with it) or a delta (what changed since
the frame before). A frame without changes keeps the lease. `docs/reference/report.md` describes
every field. Nothing of what comes in is trusted: how much there is is counted before any of it is
made into values, of which one may cost a hundred times its byte; types are checked while decoding,
what remains is checked by `Mirror` when a frame is applied.

::

    b"PR"  version (1 byte)  zlib of: [kind, probe, epoch, seq, time_ms, lease_ms,
                                       symbols_from, symbols, tables]
    table: [topology, removed rows, added rows, ids of them, columns]
    column: [name, rows, values]

Rows are written as the difference to the one before: columns of metrics that all move become runs
of ones, which compress to nearly nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import NoReturn

import msgspec

from probe.report.errors import DecodeError, TooLargeError, VersionError
from probe.report.schema import Value
from probe.report.validity import valid

VERSION = 1
CONTENT_TYPE = "application/vnd.probe.report"
MAGIC = b"PR"
# A snapshot of 1,000 containers and 10,000 connections is 3 MB before compression.
FRAME_BYTES_MAX = 16 * 1024 * 1024
PACKED_BYTES_MAX = 8 * 1024 * 1024
ROWS_MAX = 1_000_000
SYMBOLS_MAX = 100_000
# Rows, ids, symbols, values, and texts of those that are lists. The same snapshot has 300,000.
ITEMS_MAX = 1_500_000
TABLES_MAX = 256
COLUMNS_MAX = 4_096
"""Of one table."""
# More than one level saves 3 % and costs twice the time.
_LEVEL = 3
_HEAD_BYTES = len(MAGIC) + 1


class Kind(IntEnum):
    """Of a frame."""

    SNAPSHOT = 0
    DELTA = 1


class ColumnChange(msgspec.Struct, array_like=True, frozen=True):
    """New values of one column, of these rows."""

    name: str
    rows: list[int]
    values: list[Value]


class TableChange(msgspec.Struct, array_like=True, frozen=True):
    """Changes of one topology. Removals come before additions, which may take a freed row."""

    topology: str
    removed: list[int]
    added: list[int]
    ids: list[str]
    columns: list[ColumnChange]


class Frame(msgspec.Struct, array_like=True, frozen=True):
    """One frame. (`epoch`, `seq`) orders all frames of a probe; `seq` counts up by one.

    `lease_ms` is how long the probe's nodes stay believed without another frame. `symbols` are
    numbered on from `symbols_from`.
    """

    kind: Kind
    probe: str
    epoch: int
    seq: int
    time_ms: int
    lease_ms: int
    symbols_from: int
    symbols: list[str]
    tables: list[TableChange]


class _RawFrame(msgspec.Struct, array_like=True, frozen=True):
    kind: Kind
    probe: str
    epoch: int
    seq: int
    time_ms: int
    lease_ms: int
    symbols_from: int
    symbols: msgspec.Raw
    tables: msgspec.Raw


class _RawTable(msgspec.Struct, array_like=True, frozen=True):
    topology: str
    removed: msgspec.Raw
    added: msgspec.Raw
    ids: msgspec.Raw
    columns: msgspec.Raw


class _RawColumn(msgspec.Struct, array_like=True, frozen=True):
    name: str
    rows: msgspec.Raw
    values: msgspec.Raw


_encoder = msgspec.msgpack.Encoder()
_frames = msgspec.msgpack.Decoder(_RawFrame)
_tables = msgspec.msgpack.Decoder(list[_RawTable])
_columns = msgspec.msgpack.Decoder(list[_RawColumn])
_numbers = msgspec.msgpack.Decoder(list[int])
_texts = msgspec.msgpack.Decoder(list[str])
_values = msgspec.msgpack.Decoder(list[Value])
_raws = msgspec.msgpack.Decoder(list[msgspec.Raw])
# How lists begin in MessagePack: up to 15 long, or with their length in so many bytes.
_SHORT_LIST, _SHORT_LIST_MASK, _SHORT_LENGTH = 0x90, 0xF0, 0x0F
_LISTS = {0xDC: 2, 0xDD: 4}
# Bytes that may begin a list, or one of its texts, as MessagePack has them; others' may be so, too.
_UNSURE_MAX = 500_000
_BEGINS = bytes((*range(0x90, 0xC0), 0xD9, 0xDA, 0xDB, 0xDC, 0xDD))


def encode(frame: Frame) -> bytes:
    """Write a frame; what cannot be written is made valid first."""
    try:
        body = _encoder.encode(frame)
    except (UnicodeEncodeError, OverflowError):
        body = _encoder.encode(valid(msgspec.to_builtins(frame)))
    packed = zlib.compress(body, _LEVEL)
    return b"".join((MAGIC, bytes((VERSION,)), packed))


def decode(data: bytes) -> Frame:
    """Read a frame.

    Raises:
        VersionError: it is of another version.
        TooLargeError: it holds more than a frame may.
        DecodeError: it is none.
    """
    if len(data) > PACKED_BYTES_MAX:
        _too_large(PACKED_BYTES_MAX, len(data))
    if data[: len(MAGIC)] != MAGIC or len(data) < _HEAD_BYTES:
        msg = f"expected a frame that begins with {MAGIC!r}, saw {data[:8]!r}: is this a probe?"
        raise DecodeError(msg)
    if data[len(MAGIC)] != VERSION:
        raise VersionError(expected=VERSION, seen=data[len(MAGIC)])
    try:
        frame = _Reading().frame(_unpack(data[_HEAD_BYTES:]))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        msg = f"expected a frame, saw {str(error)[:200]}: run probe and app of one release"
        raise DecodeError(msg) from None
    return frame


class _Reading:
    """Reads one frame; nothing is made of a list whose length was not counted before."""

    def __init__(self) -> None:
        self._left = ITEMS_MAX
        self._unsure = _UNSURE_MAX

    def frame(self, body: bytes) -> Frame:
        raw = _frames.decode(body)
        if raw.epoch < 0 or raw.seq < 0 or raw.lease_ms < 0 or raw.time_ms < 0:
            _refuse("numbers of at least 0", "a negative epoch, sequence number, time or lease")
        symbols = self._counted(raw.symbols)
        if raw.symbols_from < 0 or raw.symbols_from + symbols > SYMBOLS_MAX:
            _refuse(f"at most {SYMBOLS_MAX} symbols", f"{raw.symbols_from}+{symbols}")
        if (tables := _length(raw.tables)) > TABLES_MAX:
            _refuse(f"at most {TABLES_MAX} topologies", str(tables))
        return Frame(
            *(raw.kind, raw.probe, raw.epoch, raw.seq, raw.time_ms, raw.lease_ms),
            raw.symbols_from,
            _texts.decode(raw.symbols),
            [self._table(one) for one in _tables.decode(raw.tables)],
        )

    def _table(self, raw: _RawTable) -> TableChange:
        added, ids = self._counted(raw.added), self._counted(raw.ids)
        if added != ids:
            _refuse("one id for each added row", f"{ids} for {added}")
        self._counted(raw.removed)
        if (columns := _length(raw.columns)) > COLUMNS_MAX:
            _refuse(f"at most {COLUMNS_MAX} columns of a topology", str(columns))
        return TableChange(
            raw.topology,
            _numbers.decode(raw.removed),
            _numbers.decode(raw.added),
            _texts.decode(raw.ids),
            [self._column(one) for one in _columns.decode(raw.columns)],
        )

    def _column(self, raw: _RawColumn) -> ColumnChange:
        rows, values = self._counted(raw.rows), self._counted(raw.values)
        if rows != values:
            _refuse("one value for each row", f"{values} for {rows} in {raw.name[:40]!r}")
        packed = bytes(raw.values)
        # At most so many lists, and texts in them. Where that is much, they are counted themselves.
        unsure = len(packed) - len(packed.translate(None, _BEGINS))
        if unsure <= self._unsure:
            self._unsure -= unsure
        else:
            for one in _raws.decode(packed):
                if _is_list(one):
                    self._counted(one)
        return ColumnChange(raw.name, _numbers.decode(raw.rows), _values.decode(packed))

    def _counted(self, raw: msgspec.Raw) -> int:
        length = _length(raw)
        self._left -= length
        if self._left < 0:
            msg = f"expected a frame of at most {ITEMS_MAX} values, saw more: split what this probe"
            msg = f"{msg} watches"
            raise TooLargeError(msg)
        return length


def _is_list(raw: msgspec.Raw) -> bool:
    first = memoryview(raw)[0]
    return first & _SHORT_LIST_MASK == _SHORT_LIST or first in _LISTS


def _length(raw: msgspec.Raw) -> int:
    """How many a list has, by its head."""
    head = memoryview(raw)
    if not _is_list(raw):
        _refuse("a list", "something else")
    digits = _LISTS.get(head[0])
    return head[0] & _SHORT_LENGTH if digits is None else int.from_bytes(head[1 : 1 + digits])


def _unpack(packed: bytes) -> bytes:
    inflate = zlib.decompressobj()
    try:
        whole = inflate.decompress(packed, FRAME_BYTES_MAX)
    except zlib.error as error:
        msg = f"expected a compressed frame, saw {error}: was it cut or changed on its way?"
        raise DecodeError(msg) from None
    if inflate.unconsumed_tail:
        _too_large(FRAME_BYTES_MAX, None)
    if not inflate.eof or inflate.unused_data:
        msg = "expected one whole frame, saw one that was cut or has something after its end"
        raise DecodeError(msg)
    return whole


def _refuse(expected: str, seen: str) -> NoReturn:
    msg = f"expected {expected}, saw {seen}: the probe that sent it is broken or no probe"
    raise DecodeError(msg)


def _too_large(limit: int, seen: int | None) -> NoReturn:
    size = "more" if seen is None else str(seen)
    msg = f"expected a frame of at most {limit} bytes, saw {size}: split what this probe watches"
    raise TooLargeError(msg)


def pack_rows(rows: Sequence[int]) -> list[int]:
    """Sorted rows as differences, each to the one before."""
    previous = 0
    packed: list[int] = []
    for row in rows:
        packed.append(row - previous)
        previous = row
    return packed


def unpack_rows(packed: Iterable[int]) -> list[int]:
    """The other way.

    Raises:
        DecodeError: they do not rise, or leave the bounds.
    """
    rows = list(accumulate(packed))
    if rows and (rows[0] < 0 or rows[-1] >= ROWS_MAX or any(a >= b for a, b in pairwise(rows))):
        _refuse(f"rising rows below {ROWS_MAX}", "others")
    return rows
