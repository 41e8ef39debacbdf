"""A receiver of frames holds what the sender holds, whatever is lost, doubled or changed."""

from __future__ import annotations

import contextlib
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.report import wire
from probe.report.errors import (
    DecodeError,
    GapError,
    ReportError,
    TooLargeError,
    VersionError,
)
from probe.report.ledger import Ledger
from probe.report.mirror import Mirror
from probe.report.table import Symbols
from probe.report.topologies import TOPOLOGIES
from probe.report.wire import Frame
from tests.probe.properties import patient
from tests.probe.receiver import all_told

LEASE_MS = 10_000
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "name": st.none() | st.text(max_size=8),
    "image_name": st.none() | st.sampled_from(["nginx", "redis", "a", ""]),
    "pid": st.none() | st.integers(0, 1 << 40),
    "cpu_percent": st.none() | st.floats(0, 100),
    "host_network": st.none() | st.booleans(),
    "labels": st.none() | st.lists(st.text(max_size=4), max_size=3),
    "x:plugin": st.none() | st.text(max_size=3) | st.integers(0, 9),
}
IDS = [f"c{n}" for n in range(6)]
NOTHING: dict[str, Any] = {}
PUTS = st.tuples(st.just("put"), st.sampled_from(IDS), st.fixed_dictionaries({}, optional=COLUMNS))
REMOVALS = st.tuples(st.just("remove"), st.sampled_from(IDS), st.just(NOTHING))
# Also what only happens on the way: a frame is sent, doubled, lost.
WAYS = st.tuples(st.sampled_from(["send", "double", "lose"]), st.just(""), st.just(NOTHING))
HISTORIES = st.lists(PUTS | REMOVALS | WAYS, max_size=40)


def held(ledger: Ledger) -> dict[str, dict[str, Any]]:
    return {id_: dict(values) for id_, values in ledger["container"]}


def seen(mirror: Mirror) -> dict[str, dict[str, Any]]:
    return {id_: dict(values) for id_, values in mirror.nodes("container").items()}


def sent(frame: Frame) -> Frame:
    return wire.decode(wire.encode(frame))


@patient
@given(HISTORIES)
def test_a_receiver_that_asks_after_gaps_holds_what_the_sender_holds(history: list[Any]) -> None:
    ledger, mirror = Ledger("p", 1), Mirror()
    time_ms = 0

    def receive(frame: Frame) -> None:
        try:
            mirror.apply(sent(frame))
        except GapError:
            mirror.apply(sent(ledger.snapshot(time_ms, LEASE_MS)))

    for act, id_, values in [*history, ("send", "", NOTHING)]:
        time_ms += 1
        match act:
            case "put":
                ledger["container"].put(id_, **values)
            case "remove":
                ledger["container"].remove(id_)
            case "lose":
                ledger.delta(time_ms, LEASE_MS)
            case _:
                frame = ledger.delta(time_ms, LEASE_MS)
                receive(frame)
                if act == "double":
                    assert mirror.apply(sent(frame)) is None
    assert seen(mirror) == held(ledger)


def test_a_frame_without_changes_is_small_and_keeps_the_lease() -> None:
    ledger, mirror = Ledger("probe", 1), Mirror()
    for n in range(1000):
        ledger["container"].put(f"{n:064}", name=f"c{n}", cpu_percent=0.0)
    ledger.delta(1, LEASE_MS)
    mirror.apply(ledger.snapshot(1, LEASE_MS))
    quiet = ledger.delta(5_000, LEASE_MS)

    assert len(wire.encode(quiet)) < 60
    mirror.apply(quiet)
    assert mirror.expires_ms() == 15_000
    assert len(mirror.nodes("container")) == 1000


def test_metrics_that_all_move_cost_little_more_than_themselves() -> None:
    ledger = Ledger("probe", 1)
    rows = [ledger["container"].row(f"{n:064}") for n in range(1000)]
    ledger.delta(1, LEASE_MS)
    for row in rows:
        ledger["container"].set(row, "memory_bytes", 4096 * (row * 7919 % 50_000))
    told = wire.encode(ledger.delta(2, LEASE_MS))

    assert len(told) < 4_200


def test_a_row_is_not_given_again_before_its_removal_went_out() -> None:
    ledger, mirror = Ledger("probe", 1), Mirror()
    ledger["container"].put("old", name="old")
    ledger.delta(1, LEASE_MS)
    mirror.apply(ledger.snapshot(1, LEASE_MS))
    ledger["container"].remove("old")
    ledger["container"].put("new", pid=1)
    change = mirror.apply(sent(ledger.delta(2, LEASE_MS)))

    assert seen(mirror) == {"new": {"pid": 1}}
    assert change is not None
    assert change.topologies["container"].removed == ["old"]


def test_symbols_begin_anew_before_a_receiver_would_refuse_more() -> None:
    ledger, mirror = Ledger("probe", 1, symbols_max=10), Mirror()
    ledger.delta(0, LEASE_MS)
    mirror.apply(ledger.snapshot(0, LEASE_MS))
    for number in range(25):
        ledger["container"].put("one", image_name=f"image-{number}")
        frame = ledger.delta(number, LEASE_MS)
        assert frame.symbols_from + len(frame.symbols) <= 11
        mirror.apply(sent(frame))

    assert ledger.epoch > 1
    assert seen(mirror) == {"one": {"image_name": "image-24"}}


def test_a_delta_before_any_snapshot_is_a_gap() -> None:
    ledger = Ledger("probe", 1)
    with pytest.raises(GapError, match="snapshot"):
        Mirror().apply(ledger.delta(1, LEASE_MS))


def test_another_life_of_a_probe_begins_with_a_snapshot() -> None:
    mirror = Mirror()
    first, second = Ledger("probe", 1), Ledger("probe", 2)
    first["container"].put("gone", name="gone")
    first.delta(1, LEASE_MS)
    mirror.apply(first.snapshot(1, LEASE_MS))
    second["container"].put("here", name="here")
    frame = second.delta(2, LEASE_MS)
    with pytest.raises(GapError):
        mirror.apply(frame)
    mirror.apply(second.snapshot(2, LEASE_MS))

    assert seen(mirror) == {"here": {"name": "here"}}
    assert mirror.apply(first.delta(3, LEASE_MS)) is None


def test_another_version_is_said_to_be_one() -> None:
    frame = bytearray(wire.encode(Ledger("p", 1).delta(1, 1)))
    frame[2] = 9
    with pytest.raises(VersionError, match="version 1, saw version 9"):
        wire.decode(bytes(frame))


def test_a_frame_that_unpacks_to_more_than_fits_is_refused_while_it_is_unpacked() -> None:
    bomb = zlib.compress(b"\0" * (wire.FRAME_BYTES_MAX + 1), 1)
    with pytest.raises(TooLargeError):
        wire.decode(b"PR\x01" + bomb)


def example() -> bytes:
    ledger = Ledger("probe", 1)
    for n in range(5):
        ledger["container"].put(f"c{n}", name=f"n{n}", image_name="i", cpu_percent=1.5, pid=n)
    ledger.delta(1, LEASE_MS)
    return wire.encode(ledger.snapshot(1, LEASE_MS))


@patient
@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_are_a_frame_or_a_typed_error(data: bytes, is_framed: bool) -> None:
    with contextlib.suppress(ReportError):
        Mirror().apply(wire.decode(b"PR\x01" + zlib.compress(data) if is_framed else data))


@patient
@given(st.data())
def test_a_changed_frame_is_a_frame_or_a_typed_error(data: st.DataObject) -> None:
    body = bytearray(zlib.decompress(example()[3:]))
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    mirror = Mirror()
    try:
        mirror.apply(wire.decode(b"PR\x01" + zlib.compress(bytes(body))))
    except ReportError:
        assert mirror.seq is None
        assert not mirror.topologies()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 50) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=9),
    max_leaves=30,
)


@patient
@given(st.lists(JSON, min_size=9, max_size=9))
def test_any_structure_is_a_frame_or_a_typed_error(parts: list[Any]) -> None:
    with contextlib.suppress(ReportError):
        Mirror().apply(wire.decode(b"PR\x01" + zlib.compress(msgspec.msgpack.encode(parts))))


CONTRADICTIONS: dict[str, list[Any]] = {
    "a removal of nobody": ["container", [5], [], [], []],
    "an id twice": ["container", [], [0, 1], ["a", "a"], []],
    "an id without a row": ["container", [], [0], ["a", "b"], []],
    "a value of nobody": ["container", [], [], [], [["name", [0], ["x"]]]],
    "a value too few": ["container", [], [0], ["a"], [["name", [0], []]]],
    "a value of another type": ["container", [], [0], ["a"], [["pid", [0], ["x"]]]],
    "a symbol that nobody told": ["container", [], [0], ["a"], [["state", [0], [3]]]],
    "a row below 0": ["container", [], [-1], ["a"], []],
    "a row twice": ["container", [], [3, 0], ["a", "b"], []],
    "a row beyond all bounds": ["container", [], [1 << 40], ["a"], []],
}


@pytest.mark.parametrize("table", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_frame_that_contradicts_itself_is_refused_and_changes_nothing(table: list[Any]) -> None:
    mirror = Mirror()
    parts = [0, "p", 1, 1, 1, 1, 0, [], [table]]
    with pytest.raises(DecodeError, match=r"expected .* saw"):
        mirror.apply(wire.decode(b"PR\x01" + zlib.compress(msgspec.msgpack.encode(parts))))
    assert mirror.seq is None
    assert not mirror.topologies()


UNFIT: dict[str, tuple[str, Any, Any]] = {
    "half a surrogate pair": ("name", "a\ud800b", "a\ufffdb"),
    "a file's name that is no UTF-8": (
        "name",
        b"\xff".decode("utf-8", "surrogateescape"),
        "\ufffd",
    ),
    "half a pair in a symbol": ("image_name", "\udfff", "\ufffd"),
    "half a pair in a set": ("labels", ["\ud800"], ["\ufffd"]),
    "half a pair of a plugin": ("x:p", "\ud800", "\ufffd"),
    "a number of a hundred digits": ("pid", 10**100, None),
    "no number": ("cpu_percent", float("nan"), None),
    "an endless number": ("x:p", float("inf"), None),
    "a text for a number": ("pid", "12", None),
    "a truth value for a number": ("pid", True, None),
    "a number for a text": ("name", 12, None),
    "an object": ("x:p", {"a": 1}, None),
}


@pytest.mark.parametrize(("column", "given", "taken"), UNFIT.values(), ids=UNFIT.keys())
@pytest.mark.parametrize("kind", ["delta", "snapshot"])
def test_a_value_that_cannot_travel_harms_no_other(
    column: str, given: Any, taken: Any, kind: str
) -> None:
    ledger, mirror = Ledger("p", 1), Mirror()
    ledger.delta(0, LEASE_MS)
    mirror.apply(sent(ledger.snapshot(0, LEASE_MS)))
    ledger["container"].put("bad", **{column: given})
    ledger["container"].put("good", name="good", pid=7)
    delta = ledger.delta(1, LEASE_MS)
    mirror.apply(sent(delta if kind == "delta" else ledger.snapshot(1, LEASE_MS)))

    assert seen(mirror)["good"] == {"name": "good", "pid": 7}
    assert seen(mirror)["bad"].get(column) == taken


def test_values_of_another_type_are_counted() -> None:
    table = Ledger("p", 1)["container"]
    table.put("a", pid="x", cpu_percent=float("nan"), name="fine")
    table.changes(Symbols())

    assert table.unfit == 2


@patient
@given(st.text(st.characters(codec=None), max_size=20), st.integers(), st.floats())
def test_any_value_of_a_column_leaves_a_frame_that_a_receiver_takes(
    name: str, pid: int, cpu: float
) -> None:
    ledger, mirror = Ledger("p", 1), Mirror()
    ledger["container"].put(
        "c", name=name, pid=pid, cpu_percent=cpu, image_name=name, labels=[name]
    )
    ledger.delta(1, LEASE_MS)
    mirror.apply(sent(ledger.snapshot(1, LEASE_MS)))

    assert seen(mirror).keys() == {"c"}


def test_a_text_is_found_in_whichever_topology_it_is_told() -> None:
    ledger, mirror = Ledger("p", 1), Mirror()
    for topology in TOPOLOGIES:
        ledger[topology].put("one", **{"x:plugin:note": f"of {topology}."})
    mirror.apply(sent(ledger.snapshot(0, LEASE_MS)))
    told = all_told([mirror])
    assert [one for one in TOPOLOGIES if f"of {one}." not in told] == []
