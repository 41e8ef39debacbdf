"""Blocking work that an event loop waits for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from stacks.threads import on_thread
from tests.waiting import until


async def test_a_cancellation_waits_for_the_end_of_the_work() -> None:
    begun, may_end = threading.Event(), threading.Event()
    ended: list[str] = []

    def work() -> None:
        begun.set()
        may_end.wait(10)
        ended.append("work")

    waiting = asyncio.ensure_future(on_thread(work))
    await until(begun.is_set, "the begin of the work")
    waiting.cancel()
    # The cancellation arrives.
    await asyncio.sleep(0)
    assert not waiting.done()
    may_end.set()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == ["work"]


async def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await on_thread(lambda: 1 // 0)
