"""The log of a client group: what it tried, what was acknowledged, and what must therefore hold.

One JSON object a line, flushed at once. `try` is written before a request is sent, `ack` when its
outcome is known to be a success (by the answer, or by reading back), `fail` when it is known to
have changed nothing. Replayed, the log gives for each path the last acknowledged state; a `try`
with neither, left by a killed process, allows both states of that path.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SEQUENCE_DIGITS = 10
"""Length of the number that a server adds to a sequential name."""
Record = dict[str, Any]
Acl = list[str]


@dataclass(frozen=True)
class State:
    """What a path holds: hash of its data, and its ACL as `scheme:id:permissions`, sorted."""

    sha: str
    acl: tuple[str, ...]


def sha(data: bytes) -> str:
    """How the log names data."""
    return hashlib.sha256(data).hexdigest()


@dataclass
class Expected:
    """Where the log ends. `last` has None for a deleted path; `open` holds attempts without outcome
    and the state that each would have left."""

    last: dict[str, State | None] = field(default_factory=dict[str, State | None])
    open: dict[str, Record] = field(default_factory=dict[str, Record])
    sequences: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    acknowledged: int = 0

    def allowed(self, path: str) -> list[State | None]:
        """States that the path may be in."""
        states = [self.last.get(path)]
        attempt = self.open.get(path)
        if attempt is not None:
            states.append(_state(attempt))
        return states

    def unexplained(self, paths: Iterable[str]) -> list[str]:
        """Nodes that neither an acknowledged write nor an attempt without outcome is why of.

        A sequential attempt whose number nobody was told is why of one node.
        """
        untold = {path for path, attempt in self.open.items() if attempt["op"] == "sequence"}
        found: list[str] = []
        for path in paths:
            if path in self.last or path in self.open:
                continue
            if path[:-SEQUENCE_DIGITS] in untold:
                untold.remove(path[:-SEQUENCE_DIGITS])
            else:
                found.append(path)
        return found


def _state(record: Record) -> State | None:
    if record["op"] == "delete":
        return None
    return State(str(record["sha"]), tuple(record["acl"]))


def read(path: Path) -> Iterator[Record]:
    """Records of a log; a last line that was cut by a kill is left out."""
    with path.open() as file:
        for line in file:
            if not line.endswith("\n"):
                return
            yield json.loads(line)


def replay(records: Iterable[Record]) -> Expected:
    """Work out what must hold."""
    expected = Expected()
    for record in records:
        kind = record["kind"]
        if kind == "try":
            expected.open[record["path"]] = record
        elif kind == "fail":
            expected.open.pop(record["path"], None)
        elif kind == "ack":
            expected.acknowledged += 1
            expected.open.pop(record["try_path"] if "try_path" in record else record["path"], None)
            expected.last[record["path"]] = _state(record)
            if record["op"] == "sequence":
                parent, _, name = str(record["path"]).rpartition("/")
                expected.sequences.setdefault(parent, []).append(int(name[-SEQUENCE_DIGITS:]))
    return expected


def sequence_problems(expected: Expected) -> list[str]:
    """Sequential names that repeat or go back, in the order they were acknowledged."""
    problems: list[str] = []
    for parent, numbers in sorted(expected.sequences.items()):
        for before, after in itertools.pairwise(numbers):
            if after <= before:
                problems.append(f"{parent}: {after} was given out after {before}")
    return problems


def pauses(records: Iterable[Record]) -> list[tuple[float, float]]:
    """When the group stood still: from an orderly stop to the first acknowledged write after it."""
    found: list[tuple[float, float]] = []
    stopped: float | None = None
    for record in records:
        if record["kind"] == "stopped":
            stopped = float(record["t"])
        elif record["kind"] == "first_ack" and stopped is not None:
            found.append((stopped, float(record["t"])))
            stopped = None
    return found


class Ledger:
    """Appends to a log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _cut_last_line(path)
        self._file = path.open("a")

    def note(self, kind: str, **fields: Any) -> None:
        """Append a record."""
        self._file.write(json.dumps({"kind": kind, "t": round(time.time(), 6), **fields}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _cut_last_line(path: Path) -> None:
    """Remove a line that a kill has cut, so that the next one begins a line of its own."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, 2)
        if size == 0:
            return
        tail_from = max(0, size - 65_536)
        file.seek(tail_from)
        tail = file.read()
        if not tail.endswith(b"\n"):
            file.truncate(tail_from + tail.rfind(b"\n") + 1)
