"""What the checker makes of writes whose answers were lost, and of two sides with equal right."""

from __future__ import annotations

import base64
from dataclasses import replace
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


def _line(winner: Write, loser: Write, **more: Any) -> dict[str, Any]:
    """A line of the journal: the version of each that stood there."""

    def copy(write: Write) -> dict[str, Any]:
        data = base64.b64encode(write.data or b"").decode()
        return {"path": f"/{write.side}/x", "mzxid": write.zxid, "data": data, "acl": []}

    return {
        "reason": "changed-by-both",
        "winner_side": winner.side.value,
        "winner": copy(winner),
        "loser_side": loser.side.value,
        "loser": copy(loser),
        **more,
    }


def test_a_conflict_is_somebody_s_who_wrote_the_other_side_also_where_that_stays() -> None:
    mine, theirs = _write(1, Kind.CREATE, b"1"), _write(2, Kind.SET, b"2", Side.B)
    theirs = replace(theirs, owned=False)
    nodes = {"/x": _node(b"1")}
    journal = Journal([_line(mine, theirs)], _ROOTS)

    (told,) = checker.problems(History([mine]), nodes, nodes, journal)
    assert "1 conflicts, of which nobody wrote the other side" in told
    assert checker.problems(History([mine], standing=[theirs]), nodes, nodes, journal) == []


def test_where_both_sides_are_copied_the_journal_may_have_the_loser() -> None:
    one, two = _write(1, Kind.CREATE, b"1"), _write(2, Kind.SET, b"2", Side.B)
    lost = {"/x": _node(b"1")}

    def found(line: dict[str, Any], owner: Side | None) -> list[str]:
        journal = Journal([line], _ROOTS)
        return both_ways.problems(History([one, two]), lost, lost, journal, owner)

    assert found(_line(one, two), Side.A) == []
    (told,) = found(_line(one, two), Side.B)
    assert "side a won over the owner's b'2'" in told


def test_where_both_sides_are_copied_the_winner_that_is_named_must_be_there() -> None:
    one, two = _write(1, Kind.CREATE, b"1"), _write(2, Kind.SET, b"2", Side.B)
    kept = {"/x": _node(b"2")}
    journal = Journal([_line(one, two)], _ROOTS)

    assert any(
        "b'1' won over b'2', saw" in line
        for line in both_ways.problems(History([one, two]), kept, kept, journal)
    )
    # Once the winner's side has written again, that says nothing any more.
    three = _write(3, Kind.SET, b"3")
    later = {"/x": _node(b"3")}
    assert both_ways.problems(History([one, two, three]), later, later, journal) == []


def test_where_both_sides_are_copied_the_journal_names_what_somebody_wrote() -> None:
    one, two = _write(1, Kind.CREATE, b"1"), _write(2, Kind.SET, b"2", Side.B)
    lost = {"/x": _node(b"1")}
    line = _line(replace(one, data=b"0"), two)

    (told,) = both_ways.problems(History([one, two]), lost, lost, Journal([line], _ROOTS))
    assert "nobody wrote the winner b'0'" in told
    held = _line(replace(one, data=b"0"), two, held=True)
    assert both_ways.problems(History([one, two]), lost, lost, Journal([held], _ROOTS)) == []


def test_where_both_sides_are_copied_what_nobody_wrote_is_found() -> None:
    writes = [_write(1, Kind.CREATE, b"1")]
    other = {"/x": _node(b"1"), "/y": _node(b"1")}

    assert "nobody wrote" in both_ways.problems(History(writes), other, other, _NONE)[0]


def test_a_delete_that_nobody_heard_of_excuses_only_what_was_created_again() -> None:
    owned = [_write(1, Kind.CREATE, b"1"), _write(4, Kind.DELETE, None)]
    changed = replace(_write(3, Kind.SET, b"b", Side.B), owned=False)
    again = [
        replace(_write(2, Kind.DELETE, None, Side.B), owned=False),
        replace(_write(3, Kind.CREATE, b"b", Side.B), owned=False),
    ]
    unheard = {(Side.B, "/x"): [5]}

    for writes, is_excused in (([*owned, changed], False), ([*owned, *again], True)):
        history = History(writes, unheard=unheard)
        found = [one for one in checker.problems(history, {}, {}, _NONE) if "is nowhere" in one]
        assert (found == []) is is_excused, found


def test_where_both_sides_are_copied_a_side_takes_back_only_what_it_alone_has_seen() -> None:
    theirs = _write(1, Kind.CREATE, b"1")
    mine = [_write(2, Kind.CREATE, b"2", Side.B), _write(3, Kind.SET, b"3", Side.B, took=2)]
    stands = {"/x": _node(b"1")}

    def is_lost(took: int | None, *copied: bytes) -> bool:
        delete = _write(4, Kind.DELETE, None, Side.B, took=took)
        history = History([theirs, *mine, delete], copied={(Side.A, "/x", one) for one in copied})
        found = both_ways.problems(history, stands, stands, _NONE)
        return any("delete" in one and "is nowhere" in one for one in found)

    assert not is_lost(3)
    assert is_lost(3, b"3")
    # The version that the other side had before counts as well: somebody there may have read it.
    assert is_lost(3, b"2")
    # What an engine wrote there, or what nobody knows.
    assert is_lost(9)
    assert is_lost(None)


def test_where_both_sides_are_copied_an_acl_may_go_with_a_znode_that_is_being_deleted() -> None:
    acl = replace(_write(5, Kind.SET_ACL, None, Side.B, began=3), acl=_ACL)
    created, deleted = _write(1, Kind.CREATE, b"1"), _write(4, Kind.DELETE, None)

    assert both_ways.problems(History([created, deleted, acl]), {}, {}, _NONE) == []
    early = replace(acl, order=3, began=2, acl=frozenset([Acl(1, "digest", "x:y")]))
    standing = {"/x": _node(b"1")}
    found = both_ways.problems(History([created, early]), standing, standing, _NONE)
    assert any("set-acl" in one and "is nowhere" in one for one in found)
