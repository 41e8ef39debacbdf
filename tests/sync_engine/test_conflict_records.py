"""What is kept of conflicts: the journal, those that wait, the clocks and the hooks."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from sync_engine.base import BaseStore
from sync_engine.clock import Clocks
from sync_engine.conflicts import ConflictJournal
from sync_engine.direction import Side
from sync_engine.errors import MergeError, StateError
from sync_engine.held import HeldPaths
from sync_engine.merge import MergeRunner, Versions
from sync_engine.report import CONFLICTS_MAX
from sync_engine.resolving import page
from sync_engine.rows import Stamp
from sync_engine.znode import WORLD_ALL, Stat, Znode

_STAMP = Stamp(1, 2, 3, 4)


def _node(data: bytes) -> Znode:
    return Znode("/x", data, WORLD_ALL, Stat(1, 2, 3, 4, 5, 6, 7, 0, len(data), 0, 1))


def _record(journal: ConflictJournal, data: bytes) -> None:
    journal.record(
        subtree="s",
        reason="changed-by-both",
        winner=_node(data),
        loser=None,
        loser_side=Side.B,
        why="owner",
    )


def test_journal_keeps_to_its_bound_and_counts_on(tmp_path: Path) -> None:
    path = tmp_path / "conflicts.jsonl"
    journal = ConflictJournal(path, bytes_max=20_000)
    for _ in range(100):
        _record(journal, b"x" * 500)
    kept = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert 10_000 < kept <= 20_000
    assert journal.count == 100
    assert [line["id"] for line in journal.entries(after=97)] == [98, 99, 100]
    again = ConflictJournal(path, bytes_max=20_000)
    assert again.count == 100
    _record(again, b"")
    assert again.count == 101
    assert path.stat().st_mode & 0o777 == 0o600


def test_names_of_new_and_moved_journals_are_on_disk_before_a_loser_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, names = os.fsync, list[set[str]]()

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            names.append({file.name for file in tmp_path.iterdir()})
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    journal = ConflictJournal(tmp_path / "conflicts.jsonl", bytes_max=20_000)
    _record(journal, b"x" * 5_000)
    assert names == [{"conflicts.jsonl"}]
    _record(journal, b"x")
    assert len(names) == 1
    _record(journal, b"x" * 5_000)
    assert names[1:] == [{"conflicts.jsonl", "conflicts.1.jsonl"}]


def test_journal_that_cannot_be_moved_is_told_as_one_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = ConflictJournal(tmp_path / "conflicts.jsonl", bytes_max=100)

    def replace(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self), None, str(target))

    _record(journal, b"x")
    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(StateError, match="conflict 2"):
        _record(journal, b"x")


async def test_journal_is_read_in_pages_and_past_a_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "conflicts.jsonl"
    journal = ConflictJournal(path)
    for _ in range(25):
        _record(journal, b"x")
    with path.open("a") as file:
        file.write('{"id": 99, "at"')
    first = await page(journal, 0, 20)
    rest = await page(journal, first.conflicts[-1].id, 1_000)
    assert (len(first.conflicts), len(rest.conflicts)) == (20, 5)
    assert rest.conflicts[0].winner is not None
    assert rest.conflicts[0].winner.data == "eA=="
    assert (await page(journal, 25, 20)).conflicts == []
    assert (await page(journal, 0, 0)).conflicts == []


async def test_page_of_large_conflicts_is_short_and_never_empty(tmp_path: Path) -> None:
    journal = ConflictJournal(tmp_path / "conflicts.jsonl")
    for size in (300_000, 300_000, 300_000, 2_000_000, 10):
        _record(journal, bytes(size))
    pages: list[list[int]] = []
    after = 0
    while found := (await page(journal, after, CONFLICTS_MAX)).conflicts:
        pages.append([line.id for line in found])
        after = found[-1].id
    assert pages == [[1, 2], [3], [4], [5]]


async def test_late_page_reads_little_and_not_in_the_loops_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = ConflictJournal(tmp_path / "conflicts.jsonl")
    _record(journal, b"x" * 200)
    (line,) = journal.entries()
    lines = [json.dumps(line | {"id": id_}) + "\n" for id_ in range(1, 10_001)]
    # One that was cut short, and one that is larger than what is read in a row.
    lines[4_999] = lines[4_999][:30] + "\n"
    lines[7_000] = json.dumps(line | {"id": 7_001, "why": "x" * 200_000}) + "\n"
    (tmp_path / "conflicts.1.jsonl").write_text("".join(lines[:4_000]))
    (tmp_path / "conflicts.jsonl").write_text("".join(lines[4_000:]))
    real, threads = json.loads, list[int]()

    def loads(raw: bytes) -> object:
        threads.append(threading.get_ident())
        return real(raw)

    monkeypatch.setattr("sync_engine.conflicts.json.loads", loads)
    for after in (1, 3_990, 4_000, 4_999, 5_000, 6_990, 7_000, 7_001, 9_998, 10_000):
        threads.clear()
        found = (await page(journal, after, 20)).conflicts
        wanted = [id_ for id_ in range(after + 1, after + 30) if id_ <= 10_000 and id_ != 5_000]
        assert [one.id for one in found] == wanted[:20]
        assert len(threads) < 500
        assert threading.get_ident() not in threads


def test_held_paths_survive_a_restart_and_tell_new_versions(tmp_path: Path) -> None:
    store = BaseStore(tmp_path / "base.sqlite")
    held = HeldPaths(store, "s")
    assert held.put("/x", "changed-by-both", "manual", (_STAMP, None))
    assert not held.put("/x", "changed-by-both", "manual", (_STAMP, None))
    seen = held.entries["/x"].seen
    assert held.put("/x", "changed-by-both", "manual", (_STAMP, _STAMP))
    assert held.entries["/x"].seen != seen
    again = HeldPaths(store, "s")
    assert again.entries == held.entries
    again.note_merge("/x", b"hash", _STAMP)
    assert HeldPaths(store, "s").is_merged("/x", b"hash", _STAMP)
    assert not HeldPaths(store, "s").is_merged("/x", b"other", _STAMP)
    again.drop("/x")
    assert HeldPaths(store, "s").entries == {}
    assert not HeldPaths(store, "s").is_merged("/x", b"hash", _STAMP)
    store.close()


def test_skew_of_the_clocks_is_the_difference_of_both_offsets() -> None:
    now = 0.0
    clocks = Clocks(lambda: now)
    assert clocks.skew_ms() is None
    for sent in range(5):
        # Side a is 2 s ahead of us, side b 1.5 s; an answer takes 100 ms.
        clocks.note(Side.A, sent * 1000 + 2_050, sent_s=sent, heard_s=sent + 0.1)
        clocks.note(Side.B, sent * 1000 + 1_550, sent_s=sent, heard_s=sent + 0.1)
    assert clocks.skew_ms() == pytest.approx(-500)
    now = 61.0
    assert clocks.skew_ms() is None


async def test_hooks_that_hang_are_not_asked_for_ever() -> None:
    over = threading.Event()

    def hook(_: Versions) -> bytes:
        over.wait(30)
        return b""

    runner = MergeRunner("slow", hook, timeout_s=0.01)
    versions = Versions("s", "/x", b"a", b"b")
    for _ in range(3):
        with pytest.raises(MergeError, match="gave no answer"):
            await runner.merge(versions)
    with pytest.raises(MergeError, match="not asked again"):
        await runner.merge(versions)
    over.set()
