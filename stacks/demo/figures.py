"""Numbers that were measured, beside the goals set for them. Pure functions.

A missed goal is shown and fails nothing: a busy machine makes a migration slower, not wrong.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stacks.demo.observations import Observations

_P50, _P99 = 0.5, 0.99
DIRECTIONS = ("a_to_b", "b_to_a")


@dataclass(frozen=True)
class Figure:
    """One number. `goal` is the most that it should be; None: nobody has set one."""

    name: str
    unit: str
    measured: float | None
    goal: float | None = None
    note: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the goal is met; None without one, or without a measurement."""
        if self.goal is None or self.measured is None:
            return None
        return self.measured <= self.goal


def figures(seen: Observations) -> list[Figure]:
    """All figures."""
    return [
        *lags(seen),
        Figure(
            "time without a leader that agents accept",
            "s",
            leaderless_gap(seen),
            10.0,
            "first agent loses the source's to last agent registers",
        ),
        Figure("framework not subscribed", "s", framework_gap(seen)),
        Figure("Marathon does not answer, longest", "s", marathon_silent(seen)),
        Figure("pause of the client group's writers", "s", writers_pause(seen)),
        Figure("writes a second, median", "1/s", _median(s.rate_per_s for s in seen.traffic)),
        Figure(
            "znodes of the client group",
            "",
            float(max((s.znodes for s in seen.traffic), default=0)),
        ),
        Figure("conflicts of the sync engine", "", _conflicts(seen), 0.0),
        *(Figure(f"transition {s.name}", "s", s.seconds) for s in seen.transitions),
        Figure("migration", "s", _migration(seen)),
        Figure("longest time between two samples", "s", _longest_hole(seen)),
        *(Figure(s.name, "s", s.seconds) for s in seen.stages),
        Figure("whole demo", "s", round(seen.ended_at - seen.started_at, 1), 300.0),
    ]


def lags(seen: Observations) -> list[Figure]:
    """Lag of every write that the engine copied, by the histograms of all its processes."""
    found: list[Figure] = []
    for direction in DIRECTIONS:
        buckets = histogram(seen, direction)
        count = max(buckets.values(), default=0)
        if not count:
            continue
        note = f"{count} writes"
        found += [
            Figure(f"sync lag p50, {direction}", "ms", quantile(buckets, _P50), None, note),
            Figure(f"sync lag p99, {direction}", "ms", quantile(buckets, _P99), 50.0, note),
        ]
    return found


def histogram(seen: Observations, direction: str) -> dict[float, int]:
    """Samples at or below each bound, summed over the engine's processes: each counts from zero."""
    last: dict[float, Mapping[str, int]] = {}
    for sample in seen.engine:
        last[sample.started_at] = sample.histograms.get(direction, {})
    total: dict[float, int] = {}
    for buckets in last.values():
        for bound, count in buckets.items():
            number = math.inf if "inf" in bound.lower() else float(bound)
            total[number] = total.get(number, 0) + count
    return total


def quantile(buckets: Mapping[float, int], share: float) -> float | None:
    """The lowest bound that so large a share of the samples does not exceed."""
    count = max(buckets.values(), default=0)
    for bound in sorted(buckets):
        if count and buckets[bound] >= share * count:
            return bound
    return None


def leaderless_gap(seen: Observations) -> float | None:
    """From the first agent that lost its leader of the source to the last that gained the target's.

    None when no agent's own history tells of it.
    """
    source = set(seen.masters.get(seen.source, ()))
    target = set(seen.masters.get(seen.target, ()))
    lost: list[float] = []
    gained: list[float] = []
    for agent in sorted({r.agent for r in seen.registrations}):
        history = sorted((r for r in seen.registrations if r.agent == agent), key=lambda r: r.at)
        arrivals = [r.at for r in history if r.event == "registered" and r.master in target]
        losses = [
            r.at
            for r in history
            if r.event == "disconnected" and r.master in source and r.at <= min(arrivals, default=0)
        ]
        if losses and arrivals:
            lost.append(losses[-1])
            gained.append(min(arrivals))
    return round(max(gained) - min(lost), 3) if gained else None


def framework_gap(seen: Observations) -> float | None:
    """From the last sample that saw it subscribed with the source to its subscription with a leader
    of the target."""
    target = set(seen.masters.get(seen.target, ()))
    arrivals = [s.at for s in seen.subscriptions if s.master in target]
    if not arrivals:
        return None
    arrived = min(arrivals)
    subscribed = [s.at for s in seen.tasks if s.told is not None and s.at < arrived]
    return round(arrived - max(subscribed), 3) if subscribed else None


def marathon_silent(seen: Observations) -> float | None:
    """The longest time between two samples that Marathon answered."""
    times = [sample.at for sample in seen.apps if sample.framework_id is not None]
    holes = [after - before for before, after in itertools.pairwise(times)]
    return round(max(holes), 3) if holes else None


def writers_pause(seen: Observations) -> float | None:
    """The longest time between an orderly stop of the writers and their next acknowledged write."""
    pauses = () if seen.writes is None else seen.writes.pauses
    return round(max(end - start for start, end in pauses), 3) if pauses else None


def _migration(seen: Observations) -> float | None:
    if not seen.transitions:
        return None
    last = seen.transitions[-1]
    return round(last.at + last.seconds - seen.migration_started_at, 1)


def _conflicts(seen: Observations) -> float | None:
    return float(max(s.conflicts for s in seen.engine)) if seen.engine else None


def _longest_hole(seen: Observations) -> float | None:
    times = [s.at for s in seen.tasks]
    holes = [after - before for before, after in itertools.pairwise(times)]
    return round(max(holes), 2) if holes else None


def _median(values: Iterable[float]) -> float | None:
    every = sorted(v for v in values if v > 0)
    return every[len(every) // 2] if every else None
