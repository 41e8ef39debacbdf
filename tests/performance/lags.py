"""From what a load and an observer wrote down to lags. Pure.

A write's lag is the time from its acknowledgement on one side until its bytes, or those of a later
write to the same leaf, were seen on the other. Both times are of the machine's one monotonic clock,
so they may come from two processes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sync_engine.lag import quantile


@dataclass(frozen=True, slots=True)
class Write:
    """One acknowledged write; `seen_at` is None while nobody saw it on the other side."""

    number: int
    acked_at: float
    seen_at: float | None

    @property
    def lag_ms(self) -> float:
        """Milliseconds until it was seen. Seen before its acknowledgement was counts as 0."""
        if self.seen_at is None:
            return math.inf
        return max(0.0, (self.seen_at - self.acked_at) * 1000)


@dataclass(frozen=True, slots=True)
class Lags:
    """Quantiles in ms of the writes that were seen, and how many were not."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    samples: int
    unseen: int


def join(
    acked: Iterable[tuple[int, float]],
    seen: Iterable[tuple[int, float]],
    leaf_of: Callable[[int], int],
) -> list[Write]:
    """Match acknowledgements with sights, in the order of the acknowledgements given.

    Writes to leaves at which nothing was ever seen come out unseen, so leave out those of leaves
    that nobody watched.
    """
    heights: dict[int, list[int]] = {}
    times: dict[int, list[float]] = {}
    for number, at in sorted(seen, key=lambda sight: sight[1]):
        leaf = leaf_of(number)
        known = heights.setdefault(leaf, [])
        # Only a later write than all before is news.
        if not known or number > known[-1]:
            known.append(number)
            times.setdefault(leaf, []).append(at)
    writes: list[Write] = []
    for number, at in acked:
        leaf = leaf_of(number)
        known = heights.get(leaf, [])
        index = bisect_left(known, number)
        writes.append(Write(number, at, times[leaf][index] if index < len(known) else None))
    return writes


def summarise(writes: Sequence[Write]) -> Lags:
    """Quantiles of the lags.

    Raises:
        ValueError: no write was seen.
    """
    found = sorted(write.lag_ms for write in writes if write.seen_at is not None)
    if not found:
        msg = f"expected writes to be seen on the other side, saw none of {len(writes)}"
        raise ValueError(msg)
    return Lags(
        p50_ms=quantile(found, 0.5),
        p99_ms=quantile(found, 0.99),
        max_ms=found[-1],
        samples=len(found),
        unseen=len(writes) - len(found),
    )


_BUCKET_S = 0.1
_LATE_SHARE_MAX = 0.01


def recovered_s(
    writes: Sequence[Write], at: float, *, bound_ms: float, hold_s: float = 1.0
) -> float | None:
    """Seconds from `at` until the lag is below a bound again and stays there for `hold_s`.

    Writes are put into tenths of a second by acknowledgement. It has recovered with the first tenth
    without a late write from which on, for `hold_s`, every tenth has acknowledgements and at most
    one write in a hundred is late; and not before the writes acknowledged earlier were seen too.
    None: not within what was recorded, or a write was never seen.
    """
    if any(write.seen_at is None for write in writes):
        return None
    buckets: dict[int, list[Write]] = {}
    for write in writes:
        buckets.setdefault(math.floor((write.acked_at - at) / _BUCKET_S), []).append(write)
    length = round(hold_s / _BUCKET_S)
    for start in range(max(buckets, default=-1) - length + 2):
        window = [buckets.get(index, []) for index in range(start, start + length)]
        late = [sum(write.lag_ms >= bound_ms for write in bucket) for bucket in window]
        total = sum(map(len, window))
        if late[0] or not all(window) or sum(late) > _LATE_SHARE_MAX * total:
            continue
        began_at = at + start * _BUCKET_S
        before = [write.seen_at or 0.0 for write in writes if write.acked_at < began_at]
        last = max(before, default=began_at)
        # Nothing was late after `at`: then there was no outage.
        return 0.0 if not start and last - at < bound_ms / 1000 else max(began_at, last) - at
    return None
