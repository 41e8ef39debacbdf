"""The bytes of a report: frames of a stream, columnar, in MessagePack, compressed.

A frame is a snapshot (everything; the stream begins anew with it) or a delta (what changed since
the frame before). A frame without changes keeps the lease. `docs/reference/report.md` describes
every field. Nothing of what comes in is trusted: sizes are bounded before anything is allocated,
types are checked while decoding, what remains is checked by `Mirror` when a frame is applied.

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
FRAME_BYTES_MAX = 64 * 1024 * 1024
PACKED_BYTES_MAX = 16 * 1024 * 1024
ROWS_MAX = 1_000_000
SYMBOLS_MAX = 100_000
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


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


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
        frame = _decoder.decode(_unpack(data[_HEAD_BYTES:]))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        msg = f"expected a frame, saw {str(error)[:200]}: run probe and app of one release"
        raise DecodeError(msg) from None
    _check(frame)
    return frame


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


def _check(frame: Frame) -> None:
    if frame.epoch < 0 or frame.seq < 0 or frame.lease_ms < 0 or frame.time_ms < 0:
        _refuse("numbers of at least 0", "a negative epoch, sequence number, time or lease")
    if frame.symbols_from < 0 or frame.symbols_from + len(frame.symbols) > SYMBOLS_MAX:
        _refuse(f"at most {SYMBOLS_MAX} symbols", f"{frame.symbols_from}+{len(frame.symbols)}")
    for table in frame.tables:
        if len(table.added) != len(table.ids):
            _refuse("one id for each added row", f"{len(table.ids)} for {len(table.added)}")
        for column in table.columns:
            if len(column.rows) != len(column.values):
                seen = f"{len(column.values)} for {len(column.rows)} in {column.name[:40]!r}"
                _refuse("one value for each row", seen)


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
