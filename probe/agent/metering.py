"""Processor time by collector, though all of them share one thread.

What a collector awaits is stepped through and timed; what it starts beside (`counted`), and what
reads for it as something comes (`Reader`), is timed for it as well.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar, TypeVarTuple

from probe.agent.watchdog import Watchdog

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Meter(Protocol):
    """Adds up the processor time of a collector; its steps are watched."""

    name: str
    watchdog: Watchdog
    cpu_s: float


_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)


def _timed(meter: Meter, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
    begun = time.thread_time()
    try:
        return meter.watchdog.step(meter.name, work, *arguments)
    finally:
        meter.cpu_s += time.thread_time() - begun


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
            try:
                if failure is None:
                    waits_for = _timed(self._meter, steps.send, answer)
                else:
                    waits_for = _timed(self._meter, steps.throw, failure)
            except StopIteration as end:
                return end.value
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


class Reader:
    """Reads what comes to a descriptor, as it comes: watched, and counted to whoever began it.

    Nobody awaits it, so what it raises ends it, and is raised again by `check`.
    """

    def __init__(self, descriptor: int, work: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._work = work
        self._meter = _meter.get()
        self._failure: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._read)

    def check(self) -> None:
        """Raise what ended it."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Read no more; to be called before the descriptor is closed."""
        self._loop.remove_reader(self._descriptor)

    def _read(self) -> None:
        try:
            if self._meter is None:
                self._work()
            else:
                _timed(self._meter, self._work)
        except Exception as error:  # noqa: BLE001 - the boundary of a collector: it is told of it
            self._failure = error
            self.close()


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
