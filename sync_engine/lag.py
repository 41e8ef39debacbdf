"""How far the other side is behind, as numbers. Pure but for the clock, which is a parameter.

A sample is the time from a change to the acknowledgement that it was applied. The window of the
last 60 seconds gives quantiles; a histogram counts all samples since the start, so that a reader
can tell what any period had by subtraction.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence

WINDOW_S = 60.0
# 1,500 changes/s for a minute; beyond it the oldest samples leave the window early.
_SAMPLES_MAX = 90_000
BOUNDS_MS: tuple[float, ...] = (
    1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 2_000, 5_000, 10_000, 60_000,
)  # fmt: skip
_BEYOND = "+Inf"


def quantile(ordered: Sequence[float], q: float) -> float:
    """The nearest-rank quantile of ordered values: always one of them, never below a q-share."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


class LagMeter:
    """Samples of one direction."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES_MAX)
        self._counts = [0] * (len(BOUNDS_MS) + 1)

    def record(self, lag_ms: float) -> None:
        """Take a sample."""
        value = max(0.0, lag_ms)
        self._samples.append((self._clock(), value))
        self._counts[bisect_left(BOUNDS_MS, value)] += 1

    def window(self) -> list[float]:
        """The samples of the last 60 s, in order of size."""
        since = self._clock() - WINDOW_S
        while self._samples and self._samples[0][0] < since:
            self._samples.popleft()
        return sorted(value for _, value in self._samples)

    def histogram(self) -> dict[str, int]:
        """Samples since the start at or below each bound in ms; each counts in all above it too."""
        total = 0
        found: dict[str, int] = {}
        for bound, count in zip((*map(_name, BOUNDS_MS), _BEYOND), self._counts, strict=True):
            total += count
            found[bound] = total
        return found


def _name(bound: float) -> str:
    return f"{bound:g}"


class RateMeter:
    """How many changes a second were applied lately."""

    _WINDOW_S = 10

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # By the second in which they were applied.
        self._seconds: deque[tuple[int, int]] = deque(maxlen=self._WINDOW_S + 1)
        self.total = 0

    def add(self, count: int) -> None:
        """Count changes that were applied now."""
        self.total += count
        second = int(self._clock())
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + count)
        else:
            self._seconds.append((second, count))

    def per_s(self) -> float:
        """The rate over the last ten whole seconds; of the one that runs, nothing counts."""
        now = int(self._clock())
        counts = (count for second, count in self._seconds if 0 < now - second <= self._WINDOW_S)
        return sum(counts) / self._WINDOW_S
