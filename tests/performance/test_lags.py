"""Lags from acknowledgements and sights."""

from __future__ import annotations

import math

import pytest

from tests.performance.lags import Write, join, recovered_s, summarise


def leaf_of(number: int) -> int:
    return number % 10


def test_a_lag_runs_from_acknowledgement_to_sight() -> None:
    (write,) = join([(1, 5.0)], [(1, 5.25)], leaf_of)

    assert write == Write(1, 5.0, 5.25)
    assert write.lag_ms == pytest.approx(250)


def test_a_later_write_to_the_same_leaf_stands_for_earlier_ones() -> None:
    writes = join([(1, 5.0), (11, 5.1), (2, 5.1)], [(11, 5.5)], leaf_of)

    assert [write.seen_at for write in writes] == [5.5, 5.5, None]


def test_an_older_write_seen_again_is_no_news() -> None:
    writes = join([(1, 1.0), (11, 2.0)], [(11, 2.5), (1, 3.0), (11, 3.5)], leaf_of)

    assert [write.seen_at for write in writes] == [2.5, 2.5]


def test_a_write_seen_before_its_acknowledgement_has_no_lag() -> None:
    assert Write(1, 5.0, 4.9).lag_ms == 0


def test_quantiles_leave_out_what_nobody_saw_and_count_it() -> None:
    found = summarise([*(Write(i, 0.0, i / 1000) for i in range(1, 101)), Write(101, 0.0, None)])

    assert (found.p50_ms, found.p99_ms, found.max_ms) == pytest.approx((50, 99, 100))
    assert (found.samples, found.unseen) == (100, 1)


def test_quantiles_of_nothing_are_an_error() -> None:
    with pytest.raises(ValueError, match="saw none of 1"):
        summarise([Write(1, 0.0, None)])


def steady(begin_s: float, end_s: float, lag_s: float = 0.01, step_s: float = 0.01) -> list[Write]:
    count = round((end_s - begin_s) / step_s)
    times = [begin_s + (i + 0.5) * step_s for i in range(count)]
    return [Write(i, at, at + lag_s) for i, at in enumerate(times)]


def test_recovery_is_at_once_when_nothing_is_late() -> None:
    assert recovered_s(steady(-1, 3), 0, bound_ms=50) == 0


def test_recovery_waits_for_what_was_acknowledged_meanwhile() -> None:
    outage = [Write(0, at.acked_at, 2.0) for at in steady(0, 1.7)]

    found = recovered_s([*steady(-1, 0), *outage, *steady(1.7, 5)], 0, bound_ms=50)

    assert found == pytest.approx(2.0)


def test_recovery_waits_for_acknowledgements_to_go_on() -> None:
    found = recovered_s([*steady(-1, 0), *steady(0.8, 5)], 0, bound_ms=50)

    assert found == pytest.approx(0.8)


def test_recovery_bears_one_late_write_in_a_hundred() -> None:
    writes = [*steady(-1, 0), *(Write(0, at.acked_at, 1.0) for at in steady(0, 1)), *steady(1, 9)]

    spike = [Write(0, 1.55, 1.75)]

    assert recovered_s([*writes, *spike], 0, bound_ms=50) == pytest.approx(1.0, abs=0.02)
    assert recovered_s([*writes, *spike * 5], 0, bound_ms=50) == pytest.approx(1.75, abs=0.02)


def test_there_is_no_recovery_from_what_stays_late_or_unseen() -> None:
    assert recovered_s(steady(0, 5, lag_s=0.2), 0, bound_ms=50) is None
    assert recovered_s([*steady(0, 5), Write(0, 0.2, None)], 0, bound_ms=50) is None
    assert recovered_s([], 0, bound_ms=50) is None
    assert Write(0, 0.2, None).lag_ms == math.inf


def test_recovery_needs_the_whole_time_to_be_recorded() -> None:
    assert recovered_s(steady(0, 0.9), 0, bound_ms=50) is None
