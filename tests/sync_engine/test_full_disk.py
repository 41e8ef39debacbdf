"""What the engine keeps of itself, on a disk that is full or fails: an error with its reason, and
nothing of what was there is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine.base import Base, BaseStore
from sync_engine.conflicts import ConflictJournal
from sync_engine.direction import Roots, Side
from sync_engine.errors import StateError
from sync_engine.rows import Row, Stamp
from sync_engine.znode import WORLD_ALL

_ROW = Row(Stamp(1, 1, 0, 0), Stamp(2, 2, 0, 0), bytes(16), WORLD_ALL)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BaseStore]:
    made = BaseStore(tmp_path / "base.sqlite")
    yield made
    made.close()


def test_base_that_cannot_be_written_says_why_and_keeps_its_rows(store: BaseStore) -> None:
    base = Base(store, "apps", Roots("/a", "/b"))
    base.put({"/x": _ROW})
    # SQLite refuses a larger file as it does on a full disk.
    (pages,) = store.db.execute("PRAGMA page_count").fetchone()
    store.db.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StateError, match=r"full: make room"):
        base.put({f"/{number}": _ROW for number in range(1000)})

    assert base.rows == {"/x": _ROW}
    assert not store.db.in_transaction
    store.db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    base.put({"/y": _ROW})
    assert Base(store, "apps", Roots("/a", "/b")).rows.keys() == {"/x", "/y"}


def test_base_that_cannot_be_opened_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "base.sqlite"
    first = BaseStore(path)
    first.note("pair", "p")
    first.close()
    blocked = tmp_path / "base.sqlite-wal"
    blocked.mkdir()

    with pytest.raises(StateError, match="start the engine again"):
        BaseStore(path)

    blocked.rmdir()
    again = BaseStore(path)
    assert again.meta("pair") == "p"
    again.close()
    assert not list(tmp_path.glob("*.damaged"))


def test_a_line_that_was_cut_short_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    path = tmp_path / "conflicts.jsonl"
    journal = ConflictJournal(path)
    for _ in range(2):
        _record(journal)
    text = path.read_bytes()
    path.write_bytes(text[:-10])

    _record(ConflictJournal(path))

    assert [line["reason"] for line in ConflictJournal(path).entries()] == ["changed"] * 2


def test_journal_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    (tmp_path / "conflicts.jsonl").symlink_to(tmp_path / "missing" / "conflicts.jsonl")

    with pytest.raises(StateError, match="make room"):
        _record(ConflictJournal(tmp_path / "conflicts.jsonl"))


def _record(journal: ConflictJournal) -> None:
    journal.record(subtree="apps", reason="changed", winner=None, loser=None, loser_side=Side.B)
