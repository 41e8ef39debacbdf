"""Bytes of ZooKeeper's protocol, against recorded frames and against kazoo's own encoding."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync_engine import wire
from sync_engine.errors import BadVersionError, NoNodeError, ProtocolError, ZkError, zk_error
from sync_engine.wire import Check, Create, Delete, MultiResult, OpCode, SetData
from sync_engine.znode import WORLD_ALL, Acl, Stat

STAT = Stat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
STAT_BYTES = struct.pack(">qqqqiiiqiiq", *range(1, 12))
acls = st.lists(
    st.builds(Acl, st.integers(0, 31), st.text(max_size=5), st.text(max_size=20)), max_size=4
).map(tuple)


def test_a_connect_request_is_never_read_only() -> None:
    raw = wire.connect(last_zxid=7, timeout_ms=4000, session_id=-2, password=b"p" * 16)
    assert raw == struct.pack(">iiqiqi16s?", 45, 0, 7, 4000, -2, 16, b"p" * 16, False)


def test_a_request_carries_its_length_xid_and_kind() -> None:
    raw = wire.frame(5, OpCode.GET_DATA, wire.watchless_body("/a"))
    assert raw == struct.pack(">iiii2s?", 15, 5, 4, 2, b"/a", False)


def test_null_and_empty_data_are_other_bytes() -> None:
    assert wire.buffer(None) == b"\xff\xff\xff\xff"
    assert wire.buffer(b"") == b"\0\0\0\0"


def test_a_multi_has_a_header_an_operation_and_an_end() -> None:
    raw = wire.multi_body([Check("/a", 1), Delete("/b", 2)])
    assert raw == (
        struct.pack(">i?i", 13, False, -1)
        + struct.pack(">i2si", 2, b"/a", 1)
        + struct.pack(">i?i", 2, False, -1)
        + struct.pack(">i2si", 2, b"/b", 2)
        + struct.pack(">i?i", -1, True, -1)
    )


@given(st.binary(max_size=20) | st.none(), acls)
def test_the_size_of_a_multi_is_the_sum_of_its_operations(
    data: bytes | None, acl: tuple[Acl, ...]
) -> None:
    ops: list[wire.Op] = [Create("/a", data, acl, ephemeral=True), SetData("/b", data, 1)]
    assert len(wire.multi_body(ops)) == sum(len(wire.op_bytes(op)) for op in ops) + 9


@given(st.binary(max_size=20) | st.none())
def test_data_comes_back_as_it_was(data: bytes | None) -> None:
    raw = b"head" + wire.buffer(data) + STAT_BYTES
    assert wire.read_data(raw, 4, len(raw)) == (data, STAT)


@given(acls)
def test_an_acl_comes_back_as_it_was(acl: tuple[Acl, ...]) -> None:
    raw = b"head" + wire.acl_list(acl) + STAT_BYTES
    assert wire.read_acl(raw, 4, len(raw)) == (acl, STAT)


@given(st.lists(st.text()))
def test_children_come_back_as_they_were(names: list[str]) -> None:
    raw = struct.pack(">i", len(names)) + b"".join(map(wire.string, names)) + STAT_BYTES
    assert wire.read_children(raw, 0, len(raw)) == (names, STAT)


def _multi_reply(*results: bytes) -> tuple[bytes, int, int]:
    raw = struct.pack(">iqi", 1, 77, 0) + b"".join(results) + struct.pack(">i?i", -1, True, -1)
    return raw, wire.REPLY_BYTES, len(raw)


def test_a_multis_answer_holds_its_zxid_and_stats() -> None:
    reply = _multi_reply(
        struct.pack(">i?i", OpCode.CREATE2, False, 0) + wire.string("/a") + STAT_BYTES,
        struct.pack(">i?i", OpCode.DELETE, False, 0),
        struct.pack(">i?i", OpCode.SET_DATA, False, 0) + STAT_BYTES,
        struct.pack(">i?i", OpCode.CHECK, False, 0),
    )
    assert wire.read_multi(*reply) == MultiResult(77, [STAT, None, STAT, None])


def test_a_failed_multis_answer_holds_a_code_an_operation() -> None:
    codes = [0, -103, -2]
    reply = _multi_reply(*(struct.pack(">i?ii", -1, False, code, code) for code in codes))
    assert wire.read_multi(*reply) == codes


def test_a_multi_read_answers_each_path_by_itself() -> None:
    reply = _multi_reply(
        struct.pack(">i?i", OpCode.GET_DATA, False, 0) + wire.buffer(b"x") + STAT_BYTES,
        struct.pack(">i?ii", -1, False, -101, -101),
        struct.pack(">i?i", OpCode.GET_DATA, False, 0) + wire.buffer(None) + STAT_BYTES,
    )
    assert wire.read_multi_data(*reply) == [(b"x", STAT), -101, (None, STAT)]


def test_an_answer_that_is_no_greeting_is_refused() -> None:
    with pytest.raises(ProtocolError):
        wire.connect_reply(b"HTTP", 0)


def test_an_event_is_read() -> None:
    raw = struct.pack(">ii", 3, 3) + wire.string("/ä")
    assert wire.read_event(raw, 0) == (3, 3, "/ä")


def test_error_codes_have_types_and_unknown_ones_a_plain_one() -> None:
    assert isinstance(zk_error(-101, "/a"), NoNodeError)
    assert isinstance(zk_error(-103), BadVersionError)
    unknown = zk_error(-999, "/a")
    assert (type(unknown), unknown.code) == (ZkError, -999)


def test_acls_that_look_alike_are_other_bytes() -> None:
    assert wire.acl_list(WORLD_ALL) != wire.acl_list((Acl(31, "worl", "danyone"),))
