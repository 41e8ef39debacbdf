"""How far the clocks of two ensembles differ, measured by the engine's own writes.

A znode's mtime is the clock of the ensemble's leader. A write of ours happens between sending and
its answer, so the middle of both, on our clock, is when it was, give or take half of that time.
The difference of both sides' offsets needs no clock of ours to be right.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable

from sync_engine.direction import Side

_SAMPLES_MAX = 20
_SAMPLES_MIN = 3
_AGE_MAX_S = 60.0


class Clocks:
    """Offsets of both sides' clocks from ours, by the last few writes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._samples: dict[Side, deque[tuple[float, float]]] = {
            side: deque(maxlen=_SAMPLES_MAX) for side in Side
        }

    def note(self, side: Side, mtime_ms: int, *, sent_s: float, heard_s: float) -> None:
        """Take a write into account; both times are on our clock of the day."""
        offset_ms = mtime_ms - (sent_s + heard_s) * 500
        self._samples[side].append((self._clock(), offset_ms))

    def skew_ms(self) -> float | None:
        """By how much side b's clock is ahead of side a's; None while too little is known."""
        since = self._clock() - _AGE_MAX_S
        offsets: list[float] = []
        for side in Side:
            fresh = [offset for at, offset in self._samples[side] if at >= since]
            if len(fresh) < _SAMPLES_MIN:
                return None
            offsets.append(statistics.median(fresh))
        return offsets[1] - offsets[0]
