"""An agent above its budget looks less often, the least missed first, and gives memory back."""

from __future__ import annotations

import os
import time

from hypothesis import given
from hypothesis import strategies as st

from probe.agent import budget
from probe.agent.budget import STEPS, Budget, Memory, Use
from tests.probe.properties import patient

USES = st.builds(Use, st.floats(0, 50), st.floats(0, 500))


@patient
@given(st.integers(0, len(STEPS)), USES)
def test_degradation_goes_one_step_at_a_time_and_only_where_it_must(level: int, use: Use) -> None:
    limits = Budget(cpu_percent=5, rss_mb=100)
    decided = budget.decide(level, use, limits)

    assert 0 <= decided <= len(STEPS)
    assert abs(decided - level) <= 1
    if use.cpu_percent > 5:
        assert decided >= level
    else:
        assert decided <= level


def test_memory_above_its_budget_makes_nobody_look_less_often() -> None:
    limits = Budget(cpu_percent=5, rss_mb=100)
    level = 3
    for _ in range(5):
        level = budget.decide(level, Use(0.5, 101.0), limits)
    assert level == 0


def test_memory_above_its_budget_is_told_and_given_back_once_a_minute() -> None:
    limits = Budget(cpu_percent=5, rss_mb=100)
    given: list[float] = []
    now = 0.0
    memory = Memory(lambda: given.append(now), lambda: now)
    for step in range(0, 125, 5):
        now = float(step)
        memory.judge(Use(0.5, 101.0), limits)
        assert memory.is_above
    assert given == [0.0, 60.0, 120.0]

    memory.judge(Use(0.5, 99.0), limits)
    assert not memory.is_above


def test_freed_memory_goes_back_to_the_kernel() -> None:
    budget.give_back()
    before = budget.rss_mb(os.sysconf("SC_PAGE_SIZE"))
    # Small ones, so that they are of the heap; the last keeps its end in use.
    blocks = [bytes(1000) for _ in range(60_000)]
    last = blocks[-1]
    del blocks
    budget.give_back()

    assert budget.rss_mb(os.sysconf("SC_PAGE_SIZE")) < before + 30
    assert last


def test_the_least_missed_goes_first_and_events_of_containers_never() -> None:
    assert budget.factors(0) == {}
    assert budget.factors(1) == {"process": 2}
    assert budget.factors(len(STEPS))["container"] == 5
    for level in range(len(STEPS)):
        before, after = budget.factors(level), budget.factors(level + 1)
        assert all(after[name] >= factor for name, factor in before.items())


def test_the_agent_measures_itself() -> None:
    meter = budget.Meter()
    begun = time.process_time()
    while time.process_time() - begun < 0.05:
        pass
    use = meter.sample()

    assert use.cpu_percent > 0
    assert 10 < use.rss_mb < 2000
