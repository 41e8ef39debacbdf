"""Processor time by collector, though all of them share one thread.

What a collector awaits is stepped through and timed; what it starts beside (`counted`) is timed for
it as well.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Generator, Iterable
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from probe.agent.watchdog import Watchdog

T = TypeVar("T")


class Meter(Protocol):
    """Adds up the processor time of a collector; its steps are watched."""

    name: str
    watchdog: Watchdog
    cpu_s: float


_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)


class _Steps:
    """Awaits something, and adds up the processor time of its steps: other work that runs while it
    waits is not counted."""

    def __init__(self, work: Awaitable[Any], meter: Meter) -> None:
        self._work = work
        self._meter = meter

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._work.__await__()
        answer: Any = None
        failure: BaseException | None = None
        while True:
            begun = time.thread_time()
            try:
                self._meter.watchdog.begin(self._meter.name)
                waits_for = steps.send(answer) if failure is None else steps.throw(failure)
            except StopIteration as end:
                return end.value
            finally:
                self._meter.watchdog.end()
                self._meter.cpu_s += time.thread_time() - begun
            answer = failure = None
            try:
                answer = yield waits_for
            except BaseException as error:  # noqa: BLE001 - handed on to what is awaited
                failure = error


async def metered(work: Coroutine[Any, Any, T], meter: Meter) -> T:
    """Await something for a meter."""
    token = _meter.set(meter)
    try:
        return await _Steps(work, meter)
    finally:
        _meter.reset(token)


async def counted(work: Coroutine[Any, Any, T]) -> T:
    """For tasks of their own: count a task's time to whoever started it."""
    meter = _meter.get()
    return await (work if meter is None else _Steps(work, meter))


async def at_once(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all of it at the same time; results in their order. The first failure ends the rest,
    and is raised as it is."""
    tasks: list[asyncio.Task[T]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(counted(one)) for one in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
