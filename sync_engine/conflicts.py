"""The journal of conflicts: JSON lines with both versions, bytes and ACLs included.

A line is written, and flushed to disk, before the transaction that overwrites the loser is sent; a
crash in between makes a line twice, never none. Ids count up by one. The journal has a bound: when
the newer of its two files is half of it, the older one goes.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from sync_engine.direction import Side
from sync_engine.errors import StateError
from sync_engine.znode import Znode

_BYTES_MAX = 64 * 1024 * 1024


class ConflictJournal:
    """An append-only file of one engine, and the one before it."""

    def __init__(self, path: Path, *, bytes_max: int = _BYTES_MAX) -> None:
        self._path = path
        self._older = path.with_suffix(".1.jsonl")
        self._bytes_max = bytes_max
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
        self._make_room(len(text))
        try:
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

    def entries(self, *, after: int = 0) -> Generator[dict[str, Any]]:
        """Lines with an id above `after`, oldest first; a line that was cut short is left out.

        Raises:
            StateError: the files cannot be read.
        """
        try:
            yield from self._entries(after)
        except OSError as error:
            msg = (
                f"expected to read the conflicts in {self._path}, saw {error.strerror}: make it a "
                "file that the engine may read"
            )
            raise StateError(msg) from error

    def _entries(self, after: int) -> Generator[dict[str, Any]]:
        for path in (self._older, self._path):
            if not path.exists():
                continue
            with path.open("rb") as lines:
                for raw in lines:
                    try:
                        line: dict[str, Any] = json.loads(raw)
                    except ValueError:
                        # Power went while it was written; its transaction was never sent.
                        continue
                    if int(line.get("id", 0)) > after or not after:
                        yield line

    def _make_room(self, size: int) -> None:
        if self._path.exists() and self._path.stat().st_size + size > self._bytes_max // 2:
            self._path.replace(self._older)


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
