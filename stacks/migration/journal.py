"""What a migration did, written down before and after every step, outside both ensembles.

One file of JSON lines, only ever appended to and synced to disk before the work goes on. A runner
that is killed while it writes leaves a torn last line, which is cut off by the next one. Records
hold evidence and names of files, never a secret's value.

`Journal.lease` lets one runner at a time work on a stack; the kernel drops it with its process.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from stacks import lease
from stacks.migration.errors import JournalError, PlanError, RunnerBusyError
from stacks.migration.phases import Direction, Step
from stacks.migration.planner import Open, Transition, goal_from, positions_of
from stacks.topology import Position, Standing, TopologyError

_FILE = "journal.jsonl"
_LEASE = "lease"
# Who only looks whether the lease is held holds it for a moment itself.
_LEASE_WAIT_S = 0.5
Values = Mapping[str, Any]


class Kind(StrEnum):
    """What a record tells."""

    GOAL_SET = "goal_set"
    TRANSITION_STARTED = "transition_started"
    STEP_STARTED = "step_started"
    STEP_ENDED = "step_ended"
    TRANSITION_ENDED = "transition_ended"
    REPAIRED = "repaired"


class Outcome(StrEnum):
    """How a step or a transition ended."""

    OK = "ok"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Record:
    """One line. `position` is where the stack stood when it was written."""

    kind: Kind
    at: float
    migration: str
    transition: str
    position: str
    name: str = ""
    goal: str | None = None
    direction: str | None = None
    edge: int | None = None
    group: str | None = None
    step_kind: str | None = None
    outcome: str | None = None
    seconds: float | None = None
    evidence: Values = field(default_factory=dict[str, Any])
    message: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; what is not set is left out."""
        return {key: value for key, value in vars(self).items() if value not in (None, "", {})}


class Journal:
    """The journal of one stack. Reading needs no lease, writing does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / _FILE
        self._read: tuple[int, tuple[Record, ...]] = (0, ())

    @contextmanager
    def lease(self) -> Generator[None]:
        """Hold the stack's migration; nobody else may while this lasts.

        Raises:
            RunnerBusyError: another runner holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LEASE).open("a+") as file:
            me = f"process {os.getpid()} on {socket.gethostname()}"
            with lease.hold(file, me, _refuse, wait_s=_LEASE_WAIT_S):
                self._cut_torn_line()
                yield

    def is_busy(self) -> bool:
        """Whether a runner holds the lease now."""
        try:
            with (self.folder / _LEASE).open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def append(self, record: Record) -> None:
        """Write a record; when this returns it is on disk."""
        left = json.dumps(record.as_dict(), sort_keys=True).encode() + b"\n"
        # Without a buffer, which would be written once more when the file is closed.
        with self.file.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:
                # Half a line on a full disk would spoil the record that comes after it.
                os.ftruncate(file.fileno(), size)
                raise

    def records(self) -> tuple[Record, ...]:
        """All records; a torn last line is left out.

        Raises:
            JournalError: a line in the middle is none of ours.
        """
        # The file only grows, and is asked for at every step: what was read stays read.
        start, known = self._read
        try:
            with self.file.open("rb") as file:
                if file.seek(0, os.SEEK_END) < start:
                    start, known = 0, ()
                file.seek(start)
                content = file.read()
        except FileNotFoundError:
            return ()
        whole = content[: content.rfind(b"\n") + 1]
        found = [*known]
        for line in whole.decode(errors="replace").splitlines():
            try:
                found.append(_record(json.loads(line)))
            except (ValueError, TypeError, KeyError, TopologyError, PlanError):
                msg = (
                    f"expected a record in line {len(found) + 1} of {self.file}, saw "
                    f"{line[:60]!r}: it was changed by hand. Put it back, or move the file away "
                    "and run `migrate resume`"
                )
                raise JournalError(msg) from None
        self._read = (start + len(whole), tuple(found))
        return self._read[1]

    def _cut_torn_line(self) -> None:
        try:
            content = self.file.read_bytes()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with self.file.open("r+b") as file:
                file.truncate(len(whole))
                os.fsync(file.fileno())


def _refuse(holder: str) -> RunnerBusyError:
    return RunnerBusyError(
        f"expected nobody else to migrate this stack, saw {holder}. Wait for it to end, or "
        "interrupt it there with Ctrl-C; `migrate status` shows what it does"
    )


def _record(values: dict[str, Any]) -> Record:
    read: dict[str, Any] = {**values, "kind": Kind(values["kind"])}
    record = Record(**read)
    Position.parse(record.position)
    if record.direction is not None:
        Direction(record.direction)
    if record.goal is not None:
        goal_from(record.goal)
    return record


@dataclass(frozen=True)
class Story:
    """What the records tell: where the last command wanted to go, what is open, and where the stack
    was last seen."""

    migration: str | None = None
    goal: str | None = None
    asked: Values = field(default_factory=dict[str, Any])
    """What the last command set apart from its goal."""
    is_goal_newer: bool = False
    """Whether that command came after what is open had begun, and has begun nothing itself: what is
    open was going somewhere else."""
    open: Open | None = None
    open_transition: str | None = None
    position: Position | None = None
    records: tuple[Record, ...] = ()

    def evidence_of(self, step: str, *, edge: int, earlier_walks: bool = False) -> Values | None:
        """Evidence of the last time a step ended well on an edge, in this migration.

        Without `earlier_walks`, None once that edge was walked to its end since.
        """
        for record in reversed(self.records):
            if record.migration != self.migration:
                return None
            if record.edge != edge:
                continue
            ended = record.kind is Kind.TRANSITION_ENDED and record.outcome == Outcome.OK
            if ended and not earlier_walks:
                return None
            if record.kind is Kind.STEP_ENDED and (record.name, record.outcome) == (
                step,
                Outcome.OK,
            ):
                return record.evidence
        return None

    def was_begun(self, step: str, *, edge: int | None) -> bool:
        """Whether a step that is under way was begun before on this walk, and did not end well."""
        begun = 0
        for record in reversed(self.records):
            if record.migration != self.migration:
                break
            if record.edge != edge:
                continue
            is_about = record.kind is Kind.TRANSITION_ENDED or record.name == step
            if is_about and record.outcome == Outcome.OK:
                break
            begun += record.kind is Kind.STEP_STARTED and record.name == step
        return begun > 1


def tell(records: tuple[Record, ...]) -> Story:
    """Read the story of a journal; pure."""
    open_: Open | None = None
    transition: str | None = None
    goal: str | None = None
    is_newer = False
    asked: Values = {}
    for record in records:
        if record.kind is Kind.GOAL_SET:
            goal, asked, is_newer = record.goal, record.evidence, True
        elif record.kind is Kind.TRANSITION_STARTED:
            direction = Direction(record.direction or Direction.FORWARD)
            open_ = Open(direction, edge=record.edge, group=record.group)
            transition, is_newer = record.transition, False
        elif _closes(record):
            open_, transition = None, None
    migration = records[-1].migration if records else None
    position = Position.parse(records[-1].position) if records else None
    return Story(
        migration=migration,
        goal=goal,
        asked=asked,
        is_goal_newer=is_newer,
        open=open_,
        open_transition=transition,
        position=position,
        records=records,
    )


def _closes(record: Record) -> bool:
    if record.kind is Kind.TRANSITION_ENDED:
        return record.outcome == Outcome.OK
    return record.kind is Kind.REPAIRED


def check_agrees(story: Story, standing: Standing) -> None:
    """The last record must be where the stack's gate says the stack stands.

    Raises:
        JournalError: it is not; `resume` takes the gate's word and writes that down.
    """
    seen = standing.position
    if story.position is None or story.position == seen:
        return
    if story.open is None:
        expected = f"position {story.position}"
    else:
        if story.open.edge is None or seen in positions_of(story.open.edge):
            return
        expected = f"a position between {story.open.edge} and {story.open.edge + 1}"
    msg = (
        f"expected the stack at {expected}, as the journal says, saw {standing.describe()}: it was "
        "updated by hand, or restored. Look at `migrate history`; `migrate resume` goes on from "
        "where the stack stands"
    )
    raise JournalError(msg)


def record_of(
    kind: Kind,
    transition: Transition,
    *,
    ids: tuple[str, str],
    position: Position,
    step: Step | None = None,
) -> Record:
    """A record about a transition or a step; `ids` are the migration's and the transition's."""
    return Record(
        kind=kind,
        at=round(time.time(), 3),
        migration=ids[0],
        transition=ids[1],
        position=str(position),
        name=step.name if step else transition.name,
        direction=str(transition.direction),
        edge=transition.edge,
        group=transition.group,
        step_kind=str(step.kind) if step else None,
    )
