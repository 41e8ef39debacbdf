"""An agent above its budget looks less often, the least missed first, keeps less, and gives memory
back."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import io
import os
import sys
import time
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.agent import agent as agent_module
from probe.agent import budget
from probe.agent.agent import Agent
from probe.agent.budget import STEPS, Budget, Memory, Use
from probe.agent.log import Log
from probe.agent.publisher import Sent
from probe.agent.settings import Settings
from tests.probe.properties import patient
from tests.waiting import until

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
    memory = Memory(lambda: given.append(now), lambda: now, lambda _: None)
    for step in range(0, 125, 5):
        now = float(step)
        memory.judge(Use(0.5, 101.0), limits)
        assert memory.is_short
    assert given == [0.0, 60.0, 120.0]


def test_bounds_are_halved_above_the_budget_for_memory_and_restored_where_there_is_room() -> None:
    limits = Budget(cpu_percent=5, rss_mb=100)
    bounds: list[float] = []
    memory = Memory(lambda: None, lambda: 0.0, bounds.append)
    told: list[bool] = []
    # Halved bounds bring it below the budget: whole ones would bring it above it again.
    for used in (99.0, 101.0, 120.0, 99.0, 81.0, 79.0, 99.0, 101.0):
        memory.judge(Use(0.5, used), limits)
        told.append(memory.is_short)
    assert told == [False, True, True, True, True, False, False, True]
    assert bounds == [0.5, 1.0, 0.5]


class Measured:
    """What the process is said to use; None where that cannot be read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rss_mb: float | None = 10.0
        self.times = 0
        monkeypatch.setattr(budget, "rss_mb", self._answer)
        monkeypatch.setattr(agent_module, "_START_S", 0.0)
        monkeypatch.setattr(agent_module, "_GOVERN_S", 0.01)

    def _answer(self, _: int) -> float:
        self.times += 1
        if self.rss_mb is None:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.rss_mb

    async def some_more(self) -> None:
        before = self.times
        await until(lambda: self.times > before + 2, "it is measured")


@contextlib.asynccontextmanager
async def working() -> AsyncGenerator[Agent]:
    agent = Agent(Settings(collectors=(), rss_mb_max=50.0), Log(io.StringIO()))
    task = asyncio.create_task(agent.run())
    try:
        yield agent
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_an_agent_short_of_memory_keeps_half_of_its_frames_until_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = Measured(monkeypatch)
    async with working() as agent:
        ring = agent.publisher.ring
        for seq in range(8):
            ring.add(Sent(7, seq, bytes(1_000_000)))
        assert ring.size == 8_000_000
        measured.rss_mb = 51.0
        await until(lambda: ring.size <= 4_000_000, "half of it is dropped")
        assert agent.site.memory_share == 0.5
        assert Memory.MEANING in agent.status().degraded

        measured.rss_mb = 39.0
        await until(lambda: agent.site.memory_share == 1.0, "there is room")
        for seq in range(8, 16):
            ring.add(Sent(7, seq, bytes(1_000_000)))
        assert ring.size >= 7_000_000
        assert Memory.MEANING not in agent.status().degraded


async def test_an_agent_that_cannot_measure_itself_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured(monkeypatch)
    async with working() as agent:
        measured.rss_mb = None
        await measured.some_more()
        measured.rss_mb = 51.0
        await until(lambda: agent.site.memory_share == 0.5, "it is measured again")


@pytest.mark.parametrize("missing", ["ctypes", "_ctypes", "the C library"])
def test_memory_that_cannot_be_given_back_ends_nothing(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing == "the C library":

        def fail(_: object) -> None:
            msg = "cannot open shared object file"
            raise OSError(msg)

        monkeypatch.setattr(ctypes, "CDLL", fail)
    else:
        monkeypatch.delitem(sys.modules, "ctypes")
        monkeypatch.setitem(sys.modules, missing, None)
    budget.give_back()


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
