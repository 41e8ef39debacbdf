"""Up to which zxid of its source a direction has certainly applied every change. Pure.

Rounds overtake each other, so the newest change that was applied tells nothing of those before it.
What is certain lies below the oldest change that is still to be applied, and below the newest that
the watch has told of. A watch tells of changes in the order of their zxids, but of those of one
transaction one after the other: the newest transaction may not be told of in whole yet, unless it
is known to be of one change alone. While it is not known what has changed (a lost connection, a
comparison, a path to look at for another reason), the mark stands still.
"""

from __future__ import annotations

from collections.abc import Iterable


class Watermark:
    """Of one direction, since the engine began; `heard` is the newest zxid that was told of."""

    def __init__(self) -> None:
        self.heard: int | None = None
        self._told_in_whole = 0
        self._mark: int | None = None

    def hear(self, zxid: int, *, is_alone: bool) -> None:
        """Note the zxid of an event; alone: its transaction has no other."""
        self.heard = max(self.heard or 0, zxid)
        self._told_in_whole = max(self._told_in_whole, zxid if is_alone else zxid - 1)

    def reach(self, pending: Iterable[int | None], *, is_told: bool) -> int | None:
        """The mark, from the oldest change that each worker has still to apply: None where it has
        none, 0 where nobody knows. `is_told`: whether each change gives an event now.

        None before the first event that tells a zxid.
        """
        oldest = min((zxid for zxid in pending if zxid is not None), default=None)
        if is_told and self.heard is not None:
            reached = self._told_in_whole
            if oldest is not None:
                reached = min(reached, oldest - 1)
            self._mark = max(self._mark or 0, reached)
        return self._mark
