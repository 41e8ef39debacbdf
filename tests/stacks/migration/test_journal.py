"""The journal survives a runner that dies while it writes, and lets one runner at a time work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stacks.migration import journal
from stacks.migration.errors import JournalError, RunnerBusyError
from stacks.migration.journal import Journal, Kind, Outcome, Record
from stacks.migration.phases import Direction
from stacks.migration.planner import Open


def record(kind: Kind, position: str = "2", **more: object) -> Record:
    values: dict[str, object] = {
        "kind": kind,
        "at": 1.0,
        "migration": "m",
        "transition": "t",
        "position": position,
        "direction": "forward",
        "edge": 2,
        **more,
    }
    return Record(**values)  # type: ignore[arg-type]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    first, second = record(Kind.TRANSITION_STARTED), record(Kind.STEP_ENDED, evidence={"n": [1]})
    book.append(first)
    book.append(second)

    assert book.records() == (first, second)


def test_a_torn_last_line_is_left_out_and_cut_off(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    book.append(record(Kind.TRANSITION_STARTED))
    whole = book.file.read_text()
    book.file.write_text(whole + '{"kind": "step_sta')

    assert len(book.records()) == 1
    with book.lease():
        book.append(record(Kind.STEP_STARTED))
    assert [r.kind for r in book.records()] == [Kind.TRANSITION_STARTED, Kind.STEP_STARTED]


def test_a_spoilt_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    book.file.write_text("nonsense\n")

    with pytest.raises(JournalError, match="line 1"):
        book.records()


HOLD = """
import sys, pathlib
from stacks.migration.journal import Journal
with Journal(pathlib.Path(sys.argv[1])).lease():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_runner_at_a_time_and_a_dead_one_does_not_count(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert book.is_busy()
        with pytest.raises(RunnerBusyError, match=f"process {other.pid}"), book.lease():
            pass
        other.kill()

    assert not book.is_busy()
    with book.lease():
        pass


def test_the_story_names_what_is_open() -> None:
    records = (record(Kind.TRANSITION_STARTED), record(Kind.STEP_STARTED, "2/prepared"))
    story = journal.tell(records)

    assert story.open == Open(Direction.FORWARD, edge=2)
    assert str(story.position) == "2/prepared"
    ended = (*records, record(Kind.TRANSITION_ENDED, "3", outcome=Outcome.OK))
    assert journal.tell(ended).open is None


def test_evidence_is_that_of_the_walk_under_way() -> None:
    taken = record(Kind.STEP_ENDED, name="inventory", outcome=Outcome.OK, evidence={"agents": 2})
    ended = record(Kind.TRANSITION_ENDED, "3", outcome=Outcome.OK)

    assert journal.tell((taken,)).evidence_of("inventory", edge=2) == {"agents": 2}
    assert journal.tell((taken, ended)).evidence_of("inventory", edge=2) is None
    story = journal.tell((taken, ended))
    assert story.evidence_of("inventory", edge=2, earlier_walks=True) == {"agents": 2}
