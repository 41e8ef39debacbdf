"""Lag of a stretch of time, from the engine's cumulative histograms. Pure.

The engine's own quantiles look back a minute, which after a restart or a first copy is longer than
anybody wants to wait for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from sync_engine.client import EngineStatus

_SHARE = 0.99


class Window:
    """From a status on."""

    def __init__(self, start: EngineStatus) -> None:
        self._start = start

    def upto(self, end: EngineStatus) -> dict[str, float]:
        """Per direction, the bound in ms below which 99 of 100 changes of the window stayed.

        A direction without a change is left out. A restarted engine began to count anew.
        """
        fresh = end.started_at != self._start.started_at
        found: dict[str, float] = {}
        for way, direction in end.directions.items():
            before = {} if fresh else self._start.directions[way].histogram
            p99_ms = quantile_ms(before, direction.histogram, _SHARE)
            if p99_ms is not None:
                found[str(way)] = p99_ms
        return found


def slowest_ms(lags: Mapping[str, float]) -> float:
    """The worse of the directions; infinite when nothing was heard: that is no sign of speed."""
    return max(lags.values(), default=math.inf)


def quantile_ms(before: Mapping[str, int], after: Mapping[str, int], share: float) -> float | None:
    """Bound of the bucket that holds a quantile of what came between two cumulative histograms."""
    counts = sorted((float(bound), after[bound] - before.get(bound, 0)) for bound in after)
    total = counts[-1][1] if counts else 0
    if total <= 0:
        return None
    return next((bound for bound, count in counts if count >= share * total), counts[-1][0])
