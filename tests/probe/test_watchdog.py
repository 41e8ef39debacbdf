"""A step that does not end is interrupted, whoever takes it; what is no step never is."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from types import FrameType
from typing import Any

import pytest

from probe.agent import metering, watchdog
from probe.agent.errors import StuckError
from probe.agent.metering import Reader, metered
from probe.agent.runner import Work
from probe.agent.watchdog import Watchdog
from tests.waiting import until


def compute_for_ever() -> None:
    while True:
        pass


def test_a_step_that_catches_its_interruption_is_interrupted_again() -> None:
    def stubborn() -> None:
        with contextlib.suppress(StuckError):
            compute_for_ever()
        compute_for_ever()

    watching = Watchdog(0.1)
    timer = signal.getitimer(signal.ITIMER_REAL)
    with watching.watching(), pytest.raises(StuckError, match="stubborn"):
        watching.step("stubborn", stubborn)
    assert watching.interruptions == 2
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) is (timer[0] > 0)


@contextlib.contextmanager
def ticking_at(instruction: int) -> Generator[Callable[[], int]]:
    """A tick comes before that instruction of those who watch and measure steps, not of the steps;
    gives how many there were."""
    tick = signal.getsignal(signal.SIGALRM)
    assert callable(tick)
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename not in {metering.__file__, watchdog.__file__}:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            count += 1
            if count == instruction:
                tick(signal.SIGALRM, frame)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lambda: count
    finally:
        sys.settrace(before)


async def work() -> str:
    return "done"


async def test_a_tick_when_a_step_has_just_ended_is_nobody_s_failure() -> None:
    instruction, count = 1, 1
    while instruction <= count:
        # Each step has taken too long; no tick comes but those of this test.
        watching = Watchdog(0.0)
        with watching.watching():
            tick = signal.getsignal(signal.SIGALRM)
            assert callable(tick)
            with ticking_at(instruction) as counted:
                assert await metered(work(), Work("scripted", 0.0, watching)) == "done"
            count = counted()
            # None is under way any more, so the event loop is not interrupted either.
            tick(signal.SIGALRM, inspect.currentframe())
        assert watching.interruptions == 0
        instruction += 1
    assert count > 50


@contextlib.asynccontextmanager
async def reading(does: Callable[[], None], work: Work) -> AsyncGenerator[tuple[Reader, int]]:
    """A collector's reader, and where to write to it; all that comes is read, and more is done."""
    descriptor, writing = os.pipe()

    def take() -> None:
        os.read(descriptor, 4096)
        does()

    async def begin() -> Reader:
        return Reader(descriptor, take)

    reader = await metered(begin(), work)
    try:
        yield reader, writing
    finally:
        reader.close()
        os.close(descriptor)
        os.close(writing)


async def test_what_reads_for_a_collector_is_counted_to_it() -> None:
    def compute() -> None:
        until_s = time.thread_time() + 0.02
        while time.thread_time() < until_s:
            pass

    work = Work("scripted", 0.0, Watchdog())
    async with reading(compute, work) as (reader, writing):
        for count in (1, 2):
            os.write(writing, b"news")
            await until(lambda n=count: work.cpu_s >= 0.02 * n, "it is counted")
        reader.check()


async def test_what_reads_for_a_collector_without_end_is_interrupted_and_told_to_it() -> None:
    work = Work("scripted", 0.0, Watchdog(0.1))
    with work.watchdog.watching():
        async with reading(compute_for_ever, work) as (reader, writing):
            os.write(writing, b"news")
            await until(lambda: work.watchdog.interruptions, "it is interrupted")
            with pytest.raises(StuckError, match="a step of scripted"):
                reader.check()
            # It does not read on: nobody knows what the half of it would be.
            os.write(writing, b"more")
            for _ in range(5):
                await asyncio.sleep(0)
    assert work.watchdog.interruptions == 1
