"""The journal survives a runner that dies while it writes, and lets one runner at a time work."""

from __future__ import annotations

import errno
import json
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
    return Record(**values)  # type: ignore[arg-type] - by name, of any kind


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


@pytest.mark.parametrize(
    "values", [{"position": "nowhere"}, {"direction": "sideways"}, {"goal": "to the moon"}]
)
def test_a_line_that_means_nothing_is_an_error(tmp_path: Path, values: dict[str, str]) -> None:
    book = Journal(tmp_path)
    book.file.write_text(json.dumps({**record(Kind.GOAL_SET).as_dict(), **values}) + "\n")

    with pytest.raises(JournalError, match="line 1"):
        book.records()


def test_a_record_that_does_not_fit_on_the_disk_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Journal(tmp_path)
    book.append(record(Kind.TRANSITION_STARTED))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="full"):
            book.append(record(Kind.STEP_STARTED))
    book.append(record(Kind.STEP_ENDED))

    assert [r.kind for r in book.records()] == [Kind.TRANSITION_STARTED, Kind.STEP_ENDED]


def test_who_only_looks_keeps_nobody_out(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    looks = [sys.executable, "-c", LOOK, str(tmp_path)]
    with subprocess.Popen(looks, stdout=subprocess.PIPE) as looking:
        assert looking.stdout is not None
        assert looking.stdout.readline() == b"looking\n"
        for _ in range(300):
            with book.lease():
                pass
        looking.kill()


LOOK = """
import sys, pathlib
from stacks.migration.journal import Journal
book = Journal(pathlib.Path(sys.argv[1]))
print("looking", flush=True)
while True:
    book.is_busy()
"""

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


def test_a_step_counts_as_begun_until_it_has_ended_well() -> None:
    begun = record(Kind.STEP_STARTED, name="reset")
    failed = record(Kind.STEP_ENDED, name="reset", outcome=Outcome.FAILED)
    done = record(Kind.STEP_ENDED, name="reset", outcome=Outcome.OK)
    other = record(Kind.STEP_ENDED, name="another", outcome=Outcome.OK)
    walked = record(Kind.TRANSITION_ENDED, "3", outcome=Outcome.OK)

    def was_begun(*records: Record) -> bool:
        return journal.tell(records).was_begun("reset", edge=2)

    assert not was_begun(begun)
    assert was_begun(begun, other, begun)
    assert was_begun(begun, failed, begun)
    assert not was_begun(begun, done, begun)
    assert not was_begun(begun, failed, walked, begun)


FILL = """
import pathlib, resource, signal, sys
from stacks.migration.journal import Journal, Kind, Record
book = Journal(pathlib.Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
room = book.file.stat().st_size + 20
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
try:
    book.append(Record(Kind.STEP_STARTED, 1.0, "m", "t", "2"))
except OSError as error:
    print(error.strerror)
"""


def test_a_line_that_was_begun_where_no_room_is_left_is_taken_back(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    book.append(record(Kind.TRANSITION_STARTED))
    before = book.file.read_bytes()

    command = [sys.executable, "-c", FILL, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)

    assert ended.stdout == "File too large\n"
    assert book.file.read_bytes() == before
    book.append(record(Kind.STEP_ENDED))
    assert [r.kind for r in book.records()] == [Kind.TRANSITION_STARTED, Kind.STEP_ENDED]
