"""What a frame may cost whoever receives it: bounded, however small it was on its way."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from probe.report import wire
from probe.report.errors import DecodeError, TooLargeError
from probe.report.ledger import Ledger
from probe.report.mirror import Mirror

# Ten times what the largest frame costs that is known.
MEMORY_BYTES_MAX = 200_000_000
MANY = 4_000_000
EMPTY_LIST, EMPTY_TEXT, ZERO, NONE, LETTER = b"\x90", b"\xa0", b"\x00", b"\xc0", b"\xa1a"


def listed(one: bytes, count: int = MANY) -> bytes:
    """A list of the same again and again."""
    return b"\xdd" + count.to_bytes(4, "big") + one * count


def frame(symbols: bytes = EMPTY_LIST, tables: bytes = EMPTY_LIST) -> bytes:
    head = b"".join(map(msgspec.msgpack.encode, (0, "p", 1, 1, 1, 1, 0)))
    return b"PR\x01" + zlib.compress(b"\x99" + head + symbols + tables, 9)


def table(
    removed: bytes = EMPTY_LIST,
    added: bytes = EMPTY_LIST,
    ids: bytes = EMPTY_LIST,
    columns: bytes = EMPTY_LIST,
) -> bytes:
    return b"\x95" + msgspec.msgpack.encode("host") + removed + added + ids + columns


def column(rows: bytes, values: bytes) -> bytes:
    return b"\x93" + msgspec.msgpack.encode("x:a") + rows + values


def one(of: bytes) -> bytes:
    return b"\x91" + of


COLUMN = column(listed(b"\x01", 450_000), listed(EMPTY_LIST, 450_000))
# Made in the test that wants it: together they are a third of what collecting all tests costs.
HUGE: dict[str, Callable[[], bytes]] = {
    "symbols": lambda: frame(symbols=listed(EMPTY_TEXT)),
    "topologies": lambda: frame(tables=listed(table(), 2_000_000)),
    "removed rows": lambda: frame(tables=one(table(removed=listed(ZERO)))),
    "added rows": lambda: frame(tables=one(table(added=listed(ZERO), ids=listed(EMPTY_TEXT)))),
    "ids without rows": lambda: frame(tables=one(table(ids=listed(LETTER)))),
    "columns": lambda: frame(
        tables=one(table(columns=listed(column(EMPTY_LIST, EMPTY_LIST), 1_000_000)))
    ),
    "values without rows": lambda: frame(
        tables=one(table(columns=one(column(EMPTY_LIST, listed(EMPTY_LIST)))))
    ),
    "values": lambda: frame(
        tables=one(table(columns=one(column(listed(ZERO), listed(EMPTY_LIST)))))
    ),
    "values of several columns": lambda: frame(tables=one(table(columns=b"\x93" + COLUMN * 3))),
    "values of several topologies": lambda: frame(
        tables=b"\x93" + table(columns=b"\x91" + column(listed(ZERO), listed(NONE))) * 3
    ),
    "texts of one value": lambda: frame(
        tables=one(table(columns=one(column(one(ZERO), one(listed(LETTER))))))
    ),
    "texts of several values": lambda: frame(
        tables=one(
            table(
                columns=one(column(listed(ZERO, 40), b"\xdc\x00\x28" + listed(LETTER, 99_999) * 40))
            )
        )
    ),
    "depth": lambda: frame(tables=b"\x91" * MANY),
    "a length that is not there": lambda: frame(symbols=b"\xdd\xff\xff\xff\xff"),
}


@pytest.mark.parametrize("make", HUGE.values(), ids=HUGE.keys())
def test_a_small_post_costs_no_more_memory_than_there_is(make: Callable[[], bytes]) -> None:
    data = make()
    assert len(data) < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="expected"):
            wire.decode(data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < MEMORY_BYTES_MAX


def test_as_much_as_a_frame_may_hold_is_read() -> None:
    lists = 120_000
    rows, values = listed(b"\x01", lists), listed(one(LETTER), lists)
    told = frame(tables=one(table(columns=b"\x92" + column(rows, values) * 2)))
    tracemalloc.start()
    try:
        found = wire.decode(told)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert [one.values[-1] for one in found.tables[0].columns] == [["a"], ["a"]]
    assert most < MEMORY_BYTES_MAX


def test_more_values_than_a_frame_may_hold_are_said_to_be_too_many() -> None:
    data = frame(tables=one(table(columns=b"\x93" + COLUMN * 3)))
    with pytest.raises(TooLargeError, match=f"at most {wire.ITEMS_MAX} values"):
        wire.decode(data)


@pytest.mark.parametrize("text", ["plain", "\u4e16\u754c" * 20, "\u0410\u0430" * 30])
def test_texts_of_every_script_come_through_however_many(text: str) -> None:
    ledger = Ledger("p", 1)
    told: dict[str, Any] = {}
    for number in range(3_000):
        told = {"name": f"{text}{number}", "labels": [f"{text}={n}" for n in range(9)]}
        ledger["container"].put(f"c{number}", **told)
    ledger.delta(1, 1)
    mirror = Mirror()
    mirror.apply(wire.decode(wire.encode(ledger.snapshot(1, 1))))

    assert len(mirror.nodes("container")) == 3_000
    assert mirror.nodes("container")["c2999"] == told
