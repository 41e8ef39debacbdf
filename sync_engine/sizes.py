"""How large one base was a minute ago: a tree that is deleted goes in many small rounds. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

# A client that deletes a tree node by node takes a while; one that thins it out more slowly than
# this does nothing remarkable.
_WINDOW_S = 60.0
# How exactly the window's beginning is known.
_STEP_S = 1.0


class Sizes:
    """The sizes of one base; where both sides are copied, both workers note them.

    What came and went within the minute, as in a queue, is in neither size.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Times, and the size that held until then; the next one holds until its own.
        self._seen: deque[tuple[float, int]] = deque()
        self._size = 0

    def note(self, size: int) -> int:
        """Note a size, before and after each change of it; returns the one at the window's
        beginning."""
        now = self._clock()
        if not self._seen:
            self._seen.append((now, size))
        elif self._seen[-1][0] + _STEP_S <= now:
            self._seen.append((now, self._size))
        self._size = size
        while self._seen[0][0] < now - _WINDOW_S:
            self._seen.popleft()
        return self._seen[0][1]

    def forget(self) -> None:
        """Begin anew: what went until now is known to be meant."""
        self._seen.clear()
