"""What rows decide from what they found, and the form of the whole."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from sync_engine.wire import Create, Delete, SetData
from sync_engine.znode import WORLD_ALL, Stat, Znode
from tests.performance import leaves
from tests.performance.load import LoadResult
from tests.performance.rows import ROWS
from tests.performance.rows.counts import beyond, expected
from tests.performance.rows.faults import Recovery
from tests.performance.rows.partition import changes, wrong_deletes
from tests.performance.sync import gather, write
from tests.performance.table import Figure


def znode(path: str, czxid: int) -> tuple[str, Znode]:
    return path, Znode(path, b"", WORLD_ALL, Stat(czxid, czxid, 0, 0, 0, 0, 0, 0, 0, 0, 0))


def test_changes_are_sets_and_a_tenth_each_of_deletes_and_creates() -> None:
    ops = changes("/r", 1_000, 1_000)

    assert len({op.path for op in ops}) == len(ops) == 1_000
    assert sum(isinstance(op, Delete) for op in ops) == 100
    assert sum(isinstance(op, Create) for op in ops) == 100
    assert sum(isinstance(op, SetData) for op in ops) == 800


def test_a_copy_is_wrongly_deleted_when_it_is_gone_or_made_again() -> None:
    before = dict([znode("/kept", 1), znode("/gone", 2), znode("/again", 3), znode("/meant", 4)])
    after = dict([znode("/kept", 1), znode("/again", 9)])
    wanted = dict([znode("/kept", 0), znode("/gone", 0), znode("/again", 0), znode("/new", 0)])

    assert wrong_deletes(before, after, wanted) == 2


def test_writes_beyond_their_originals_are_counted() -> None:
    result = LoadResult([(1, 0.0), (2, 0.0), (1_001, 0.0)], 0.0, 1.0, 0, 3)
    wanted = expected("/r", result, 1_000)
    twice = leaves.leaf_path("/r", leaves.leaf_of(1, 1_000))

    assert wanted[twice] == 2
    assert beyond(wanted, wanted) == 0
    assert beyond({**wanted, twice: 4, "/r": 1}, wanted) == 3


def test_a_load_tells_what_it_asked_for_and_what_was_acknowledged() -> None:
    result = LoadResult([(1, 10.5), (2, 12.0)], 10.0, 11.0, 1, 4)

    assert result.asked_per_s == pytest.approx(3)
    assert result.rate_per_s == pytest.approx(1)


def test_a_recovery_that_was_not_seen_is_at_least_as_long_as_the_record() -> None:
    assert (Recovery(0.5, 8.0).at_least_s, str(Recovery(0.5, 8.0))) == (0.5, "0.50 s")
    assert (Recovery(None, 8.0).at_least_s, str(Recovery(None, 8.0))) == (8.0, "not within 8.0 s")


async def test_a_row_that_fails_keeps_what_it_had_and_says_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def row() -> AsyncGenerator[Figure]:
        yield Figure("copy", "s", 1.0)
        raise ValueError("no server")

    shown: list[str] = []
    first, second = await gather("copy", row(), shown.append)

    assert first.measured == 1.0
    assert second.measured is None
    assert second.ok is False
    assert "ValueError: no server" in shown[-1]
    assert "Traceback" in capsys.readouterr().err


def test_figures_are_written_as_json_and_as_text(tmp_path: Path) -> None:
    file = tmp_path / "bench" / "sync.json"
    write([Figure("copy", "s", 1.0, target=2), Figure("row", "", None, note="no server")], file)

    assert [entry["metric"] for entry in json.loads(file.read_text())] == ["copy", "row"]
    assert "no server" in file.with_suffix(".txt").read_text()


def test_the_documentation_names_every_row() -> None:
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()

    assert not [name for name in ROWS if f"`{name}`" not in text]
