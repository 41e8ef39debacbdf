"""What the checker makes of writes whose answers were lost, and of two sides with equal right."""

from __future__ import annotations

from typing import Any

from sync_engine.direction import Roots, Side
from sync_engine.znode import WORLD_ALL, Acl
from tests.robustness.history import both_ways, checker
from tests.robustness.history.acknowledged import History, Kind, Node, Write
from tests.robustness.history.checker import Journal, possible

_ROOTS = Roots("/a", "/b")
_NONE = Journal([], _ROOTS)
_ACL = frozenset(WORLD_ALL)


def _write(order: int, kind: Kind, data: bytes | None, side: Side = Side.A, **more: Any) -> Write:
    acl = _ACL if kind is Kind.CREATE else frozenset[Acl]()
    return Write(order, side, "/x", kind, order, True, data, acl, **more)


def _node(data: bytes) -> Node:
    return Node(data, _ACL)


def test_a_write_of_which_nobody_knows_may_be_there_or_not() -> None:
    writes = [
        _write(1, Kind.CREATE, b"1"),
        _write(2, Kind.SET, b"2"),
        _write(3, Kind.SET, b"3", acknowledged=False),
        _write(4, Kind.DELETE, None, acknowledged=False),
    ]

    assert set(possible(writes)) == {_node(b"2"), _node(b"3"), None}


def test_what_was_acknowledged_last_is_all_that_may_be_there() -> None:
    writes = [
        _write(1, Kind.CREATE, b"1"),
        _write(2, Kind.SET, b"2", acknowledged=False),
        _write(3, Kind.SET, b"3"),
    ]
    lost = {"/x": _node(b"2")}

    assert possible(writes) == [_node(b"3")]
    assert checker.problems(History(writes), lost, lost, _NONE)
    kept = {"/x": _node(b"3")}
    assert checker.problems(History(writes), kept, kept, _NONE) == []


def test_where_both_sides_are_copied_the_later_write_is_enough() -> None:
    writes = [_write(1, Kind.CREATE, b"1"), _write(2, Kind.SET, b"2", Side.B)]
    kept, lost = {"/x": _node(b"2")}, {"/x": _node(b"1")}

    assert both_ways.problems(History(writes), kept, kept, _NONE) == []
    assert "is nowhere" in both_ways.problems(History(writes), lost, lost, _NONE)[0]


def test_where_both_sides_are_copied_the_journal_may_have_the_loser() -> None:
    writes = [_write(1, Kind.CREATE, b"1"), _write(2, Kind.SET, b"2", Side.B)]
    line: dict[str, Any] = {
        "reason": "changed-by-both",
        "winner_side": "a",
        "winner": {"path": "/a/x"},
        "loser_side": "b",
        "loser": {"path": "/b/x", "mzxid": 2, "data": "Mg==", "acl": []},
    }
    lost = {"/x": _node(b"1")}

    assert both_ways.problems(History(writes), lost, lost, Journal([line], _ROOTS)) == []


def test_where_both_sides_are_copied_what_nobody_wrote_is_found() -> None:
    writes = [_write(1, Kind.CREATE, b"1")]
    other = {"/x": _node(b"1"), "/y": _node(b"1")}

    assert "nobody wrote" in both_ways.problems(History(writes), other, other, _NONE)[0]
