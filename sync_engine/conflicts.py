"""The journal of conflicts: JSON lines with what lost, bytes included.

A line is written, and flushed to disk, before the transaction that overwrites the loser is sent; a
crash in between makes a line twice, never none.
"""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path

from sync_engine.direction import Side
from sync_engine.znode import Znode


class ConflictJournal:
    """An append-only file of one engine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        if path.exists():
            with path.open("rb") as lines:
                self.count = sum(1 for _ in lines)

    def record(
        self,
        *,
        subtree: str,
        reason: str,
        winner: Znode | None,
        loser: Znode | None,
        loser_side: Side,
    ) -> None:
        """Write one conflict down."""
        line = {
            "at": time.time(),
            "subtree": subtree,
            "reason": reason,
            "winner_side": loser_side.other.value,
            "winner": None if winner is None else _stamp(winner),
            "loser_side": loser_side.value,
            "loser": None if loser is None else _full(loser),
        }
        text = json.dumps(line, separators=(",", ":")) + "\n"
        # 0600: the loser's bytes may be anything.
        opener = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(opener, "a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self.count += 1


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
