"""A simulated month: collectors fail and hang, day after day, and the agent sees all the same."""

from __future__ import annotations

import asyncio
import contextlib
import io
from itertools import pairwise
from typing import ClassVar

import pytest

from probe.agent.collector import Capability, State
from probe.agent.log import Log
from probe.agent.runner import Runner
from probe.agent.site import Site
from tests.probe.sites import site
from tests.sync_engine.memory.loop import VirtualLoop

DAY_S = 86_400.0
DAYS = 30
HANGS_A_DAY = 2
FAILURES_A_DAY = 5
INTERVAL_S = 30.0


class Watched:
    """A source that is looked at; somebody says what the next looks meet."""

    def __init__(self) -> None:
        self.next_faults: list[str] = []
        self.seen_at: list[float] = []
        self.made = 0
        self.open = 0

    def collector(self, place: Site) -> Looking:
        self.made += 1
        return Looking(place, self)


class Looking:
    """Looks at it."""

    name: ClassVar[str] = "watched"
    interval_s: ClassVar[float] = INTERVAL_S

    def __init__(self, place: Site, source: Watched) -> None:
        self._site = place
        self._source = source

    async def start(self) -> None:
        self._source.open += 1

    async def collect(self) -> None:
        fault = self._source.next_faults.pop() if self._source.next_faults else ""
        if fault == "hang":
            await asyncio.sleep(10 * DAY_S)
        if fault == "fail":
            msg = "nothing to see"
            raise OSError(msg)
        self._source.seen_at.append(asyncio.get_running_loop().time())

    def capability(self) -> Capability:
        return Capability(State.FULL, "watched")

    async def close(self) -> None:
        self._source.open -= 1


@pytest.mark.long
def test_over_a_month_of_faults_each_collector_sees_for_99_9_percent_of_the_time() -> None:
    loop = VirtualLoop(seed=11)
    source = Watched()
    log = io.StringIO()

    async def month() -> None:
        runner = Runner(site(clock=loop.time), {"watched": source.collector}, Log(log))
        running = asyncio.create_task(runner.run())
        for _ in range(DAYS):
            faults = ["hang"] * HANGS_A_DAY + ["fail"] * FAILURES_A_DAY
            loop.chance.shuffle(faults)
            for fault in faults:
                await asyncio.sleep(DAY_S / len(faults) * loop.chance.uniform(0.5, 1.0))
                source.next_faults.append(fault)
        await asyncio.sleep(DAY_S / 10)
        work = runner.work["watched"]
        assert work.failures == work.restarts == DAYS * (HANGS_A_DAY + FAILURES_A_DAY)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    try:
        loop.run(month())
    finally:
        loop.discard()
    gaps = [later - sooner for sooner, later in pairwise(source.seen_at)]
    blind_s = sum(gap - INTERVAL_S for gap in gaps if gap > INTERVAL_S + 0.001)
    uptime = 1 - blind_s / (source.seen_at[-1] - source.seen_at[0])

    assert uptime >= 0.999, f"{uptime:.4%}, blind for {blind_s:.0f} s"
    assert source.made == 1 + DAYS * (HANGS_A_DAY + FAILURES_A_DAY)
    assert source.open == 0
    assert log.getvalue().count("trouble.began") == log.getvalue().count("trouble.ended")
