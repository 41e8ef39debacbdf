"""Conflicts of one subtree that wait for an operator.

The ensembles keep both versions, because neither side is written while a path waits; what is kept
here is which paths wait, since when and why, so that they can be listed, also after a restart. It
lies in the base's file: a lost base loses it too, and then finds the same conflicts again.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from sync_engine.base import BaseStore
from sync_engine.globs import EVERYTHING, Selection
from sync_engine.rows import Stamp, stamp_of_text, stamp_text

HELD_MAX = 10_000
"""Paths of a subtree that may wait; more is no list that an operator could work off."""


@dataclass(frozen=True, slots=True)
class HeldPath:
    """One conflict without a winner, and both copies' stamps as they were last seen."""

    id: int
    rel: str
    at: float
    reason: str
    why: str
    a: Stamp | None
    b: Stamp | None

    @property
    def seen(self) -> str:
        """Names this state of both copies; another state has another name."""
        return hashlib.sha256(repr((self.a, self.b)).encode()).hexdigest()[:12]


class HeldPaths:
    """All that wait in one subtree."""

    def __init__(self, store: BaseStore, subtree: str, selection: Selection = EVERYTHING) -> None:
        self._store = store
        self._db = store.db
        self._subtree = subtree
        self._merges: dict[str, str] = {}
        rows = self._db.execute(
            "SELECT id, rel, at, reason, why, a, b FROM held WHERE subtree = ? ORDER BY id",
            (subtree,),
        )
        with self._db.reading():
            self.entries: dict[str, HeldPath] = {
                rel: HeldPath(id_, rel, at, reason, why, stamp_of_text(a), stamp_of_text(b))
                for id_, rel, at, reason, why, a, b in rows
                # What the rules leave out by now waits until they take it in again.
                if selection.covers(rel)
            }

    @property
    def is_full(self) -> bool:
        """Whether no further path may wait."""
        return len(self.entries) >= HELD_MAX

    def put(
        self, rel: str, reason: str, why: str, stamps: tuple[Stamp | None, Stamp | None]
    ) -> bool:
        """Let a path wait; returns whether the conflict, or one of its versions (a, b), is new."""
        known = self.entries.get(rel)
        if known is not None and (known.a, known.b) == stamps:
            return False
        at = time.time() if known is None else known.at
        a, b = stamps
        self._db.execute(
            "INSERT INTO held (subtree, rel, at, reason, why, a, b) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (subtree, rel) DO UPDATE SET reason = excluded.reason, "
            "why = excluded.why, a = excluded.a, b = excluded.b",
            (self._subtree, rel, at, reason, why, stamp_text(a), stamp_text(b)),
        )
        (id_,) = self._db.execute(
            "SELECT id FROM held WHERE subtree = ? AND rel = ?", (self._subtree, rel)
        ).fetchone()
        self.entries[rel] = HeldPath(int(id_), rel, at, reason, why, a, b)
        return True

    def note_merge(self, rel: str, merged: bytes, other: Stamp) -> None:
        """Note, before it is written, what a hook made: its hash, and the copy it will replace."""
        self._merges[rel] = note = f"{merged.hex()} {stamp_text(other)}"
        self._store.note(self._merge_key(rel), note)

    def is_merged(self, rel: str, data: bytes, other: Stamp) -> bool:
        """Whether one copy is what a hook made, and the other still the one to be replaced."""
        if rel not in self._merges:
            self._merges[rel] = self._store.meta(self._merge_key(rel)) or ""
        return self._merges[rel] == f"{data.hex()} {stamp_text(other)}"

    def _merge_key(self, rel: str) -> str:
        return f"merged:{self._subtree}:{rel}"

    def drop(self, rel: str) -> None:
        """A conflict is over."""
        if rel in self._merges:
            del self._merges[rel]
            self._store.forget_note(self._merge_key(rel))
        if self.entries.pop(rel, None) is not None:
            self._db.execute("DELETE FROM held WHERE subtree = ? AND rel = ?", (self._subtree, rel))
