"""The journal of conflicts: JSON lines with both versions, bytes and ACLs included.

A line is written, and flushed to disk, before the transaction that overwrites the loser is sent; a
crash in between makes a line twice, never none. Ids count up by one. The journal has a bound: when
the newer of its two files is half of it, the older one goes. It may be read in another thread.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO

from sync_engine.direction import Side
from sync_engine.durable import sync_folder
from sync_engine.errors import StateError
from sync_engine.znode import Znode

_BYTES_MAX = 64 * 1024 * 1024
# Read in a row where a line is looked for: as much as a page fault brings anyway.
_NEAR_BYTES = 64 * 1024


class ConflictJournal:
    """An append-only file of one engine, and the one before it."""

    def __init__(self, path: Path, *, bytes_max: int = _BYTES_MAX) -> None:
        self._path = path
        self._older = path.with_suffix(".1.jsonl")
        self._bytes_max = bytes_max
        self._moving = threading.Lock()
        self._is_named = False
        """Whether the file's name is known to be on disk."""
        self.count = 0
        """Conflicts that were ever recorded, which is the newest id."""
        for line in self.entries():
            self.count = max(self.count + 1, int(line.get("id", 0)))

    def record(  # noqa: PLR0913 - the columns of one line
        self,
        *,
        subtree: str,
        reason: str,
        winner: Znode | None,
        loser: Znode | None,
        loser_side: Side,
        why: str | None = None,
        is_held: bool = False,
    ) -> None:
        """Write one conflict down. Held: there is no winner, only the copy of the other side.

        Raises:
            StateError: it cannot be written, as on a full disk; the loser must stay.
        """
        self.count += 1
        line = {
            "id": self.count,
            "at": time.time(),
            "subtree": subtree,
            "reason": reason,
            "why": why,
            "held": is_held,
            "winner_side": loser_side.other.value,
            "winner": None if winner is None else _full(winner),
            "loser_side": loser_side.value,
            "loser": None if loser is None else _full(loser),
        }
        text = json.dumps(line, separators=(",", ":")) + "\n"
        try:
            self._make_room(len(text))
            self._append(text)
        except OSError as error:
            msg = (
                f"expected to write conflict {self.count} to {self._path}, saw {error.strerror}: "
                "make room, or see to the disk, and start the engine again"
            )
            raise StateError(msg) from error

    def _append(self, text: str) -> None:
        # 0600: the loser's bytes may be anything.
        opener = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(opener, "a+b") as file:
            if size := file.seek(0, os.SEEK_END):
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    # The line before was cut short, and must not take this one with it.
                    file.write(b"\n")
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if not self._is_named:
            sync_folder(self._path.parent)
            self._is_named = True

    def entries(self, *, after: int = 0) -> Generator[dict[str, Any]]:
        """Lines with an id above `after`, oldest first; a line that was cut short is left out.

        Raises:
            StateError: the files cannot be read.
        """
        for _, line in self._lines(after):
            yield line

    def read(self, *, after: int, count_max: int, bytes_max: int) -> list[dict[str, Any]]:
        """The first of `entries`, as many as fit; one at least, however large."""
        found: list[dict[str, Any]] = []
        size = 0
        with contextlib.closing(self._lines(after)) as lines:
            for length, line in lines:
                size += length
                if len(found) >= count_max or (found and size > bytes_max):
                    break
                found.append(line)
        return found

    def _lines(self, after: int) -> Generator[tuple[int, dict[str, Any]]]:
        """Lengths and lines."""
        try:
            yield from self._read_lines(after)
        except OSError as error:
            msg = (
                f"expected to read the conflicts in {self._path}, saw {error.strerror}: make it a "
                "file that the engine may read"
            )
            raise StateError(msg) from error

    def _read_lines(self, after: int) -> Generator[tuple[int, dict[str, Any]]]:
        with contextlib.ExitStack() as files:
            with self._moving:
                # All at once: a file that moves in between would be missed.
                opened = [
                    files.enter_context(path.open("rb"))
                    for path in (self._older, self._path)
                    if path.exists()
                ]
            for file in opened:
                _seek_past(file, after)
                for raw in file:
                    line = _parse(raw)
                    if line is not None and (_id(line) > after or not after):
                        yield len(raw), line

    def _make_room(self, size: int) -> None:
        if self._path.exists() and self._path.stat().st_size + size > self._bytes_max // 2:
            with self._moving:
                self._path.replace(self._older)
            self._is_named = False


def _seek_past(file: BinaryIO, after: int) -> None:
    """Go to a line before which no id is above `after`: ids rise, so most need not be read."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while after and high - low > _NEAR_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        # The rest of a line.
        file.readline()
        start, id_ = _next_id(file, high)
        if id_ is None or id_ > after:
            high = middle
        else:
            low = start
    file.seek(low)


def _next_id(file: BinaryIO, end: int) -> tuple[int, int | None]:
    """Where the next whole line before `end` starts, and its id; None where there is none."""
    while (start := file.tell()) < end:
        line = _parse(file.readline())
        if line is not None:
            return start, _id(line)
    return start, None


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        return json.loads(raw)
    except ValueError:
        # Power went while it was written, and its transaction was never sent; or it still is.
        return None


def _id(line: dict[str, Any]) -> int:
    return int(line.get("id", 0))


def _stamp(node: Znode) -> dict[str, object]:
    stat = node.stat
    return {
        "path": node.path,
        "czxid": stat.czxid,
        "mzxid": stat.mzxid,
        "version": stat.version,
        "aversion": stat.aversion,
        "mtime": stat.mtime,
    }


def _full(node: Znode) -> dict[str, object]:
    data = None if node.data is None else base64.b64encode(node.data).decode()
    return {**_stamp(node), "data": data, "acl": [[e.perms, e.scheme, e.id] for e in node.acl]}
