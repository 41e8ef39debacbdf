"""Znodes that are too large for the other side's servers, which say so by closing the connection.

Nothing but a lost connection tells it, and connections are lost for other reasons. So each large
path that was under way is a suspect from then on, suspects are sent alone and one at a time, and
what loses its connection once too often is put aside: until its source changes, or for some
minutes, after which the servers may have been given more room (jute.maxbuffer).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sync_engine import transaction
from sync_engine.rows import Stamp
from sync_engine.transaction import Work

# No server is configured for less.
_LARGE_BYTES = 64 * 1024
_ATTEMPTS_MAX = 3
_AGAIN_S = 300.0


class Oversize:
    """What is known of large paths of one subtree."""

    def __init__(self) -> None:
        self.suspects: dict[str, int] = {}
        """Lost connections by path."""
        self.turn = asyncio.Lock()
        """Held while a suspect is sent."""
        self._aside: dict[str, tuple[Stamp | None, float]] = {}

    def is_aside(self, work: Work) -> bool:
        """Whether the same version was put aside a short while ago."""
        aside = self._aside.get(work.rel)
        return (
            aside is not None
            and aside[0] == work.source_stamp
            and aside[1] > asyncio.get_running_loop().time()
        )

    def has_suspect(self, works: Sequence[Work]) -> bool:
        """Whether one of these may be the one."""
        return bool(self.suspects) and any(work.rel in self.suspects for work in works)

    def note_lost(self, works: Sequence[Work]) -> bool:
        """Take note of a transaction whose connection broke; True if that was once too often."""
        large = [work for work in works if transaction.size(work) >= _LARGE_BYTES]
        for work in large:
            self.suspects[work.rel] = self.suspects.get(work.rel, 0) + 1
        if len(works) > 1 or not large or self.suspects[works[0].rel] < _ATTEMPTS_MAX:
            return False
        until = asyncio.get_running_loop().time() + _AGAIN_S
        self._aside[works[0].rel] = (works[0].source_stamp, until)
        # One more attempt after that, not all of them.
        self.suspects[works[0].rel] = _ATTEMPTS_MAX - 1
        return True

    def note_applied(self, works: Sequence[Work]) -> None:
        """These were not too large."""
        if self.suspects:
            for work in works:
                self.suspects.pop(work.rel, None)
                self._aside.pop(work.rel, None)
