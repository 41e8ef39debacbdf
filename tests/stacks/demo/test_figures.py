"""Figures are worked out from what processes noted, not from how often they were looked at."""

from __future__ import annotations

import math
from dataclasses import replace

from stacks.demo import figures
from stacks.demo.figures import Figure
from stacks.demo.observations import Observations
from tests.stacks.demo.observed import CUTOVER, HISTOGRAM, kept


def by_name(seen: Observations) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures.figures(seen)}


def test_the_gap_reaches_from_the_first_agent_lost_to_the_last_registered() -> None:
    found = by_name(kept())["time without a leader that agents accept"]

    assert (found.measured, found.ok) == (1.5, True)


def test_an_agent_that_lost_its_leader_more_than_once_counts_from_the_last_time() -> None:
    seen = kept()
    early = replace(seen.registrations[1], at=CUTOVER - 30)
    seen.registrations += [early, replace(seen.registrations[0], at=CUTOVER - 29)]

    assert figures.leaderless_gap(seen) == 1.5


def test_no_gap_is_told_where_agents_tell_no_history() -> None:
    assert figures.leaderless_gap(replace(kept(), registrations=[])) is None


def test_the_framework_is_away_from_its_last_answer_until_it_subscribes() -> None:
    assert figures.framework_gap(kept()) == 7.25


def test_the_pause_of_writers_is_the_longest_of_their_own_log() -> None:
    assert by_name(kept())["pause of the client group's writers"].measured == 3.5


def test_lag_is_read_from_the_histogram_of_every_engine_process() -> None:
    seen = kept()
    slow = {"a_to_b": {"5": 0, "10": 0, "20": 0, "50": 100, "+Inf": 100}}
    seen.engine.append(replace(seen.engine[-1], started_at=5000.0, histograms=slow))

    found = figures.histogram(seen, "a_to_b")

    assert found == {5.0: 50, 10.0: 90, 20.0: 99, 50.0: 200, math.inf: 200}
    assert figures.quantile(found, 0.25) == 5.0
    assert figures.quantile(found, 0.5) == 50.0


def test_a_missed_goal_is_told() -> None:
    seen = kept()
    slow = {**HISTOGRAM, "20": 50, "50": 60, "100": 100}
    seen.engine[-1] = replace(seen.engine[-1], histograms={"a_to_b": slow})

    assert by_name(seen)["sync lag p99, a_to_b"].ok is False
    assert by_name(kept())["sync lag p99, a_to_b"].ok is True


def test_the_whole_is_measured_from_start_to_the_end_of_removal() -> None:
    assert by_name(kept())["whole demo"].measured == 150.0
    assert by_name(kept())["migration"].measured == 120.0


def test_figures_of_a_run_that_saw_nothing_have_no_value() -> None:
    found = by_name(Observations())

    assert found["migration"].measured is None
    assert found["conflicts of the sync engine"].measured is None
