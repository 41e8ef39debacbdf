"""Rounds over dirty paths, several under way at once.

A round reads some paths, decides and writes them. One after the other, each would wait for a disk
and a network while nothing else is done; so the next begins while they are under way. No round
takes a path that is under way in another, nor one right above or below such a path: what is read of
a path and its row in the base change in one round at a time, and parents keep their place before or
behind their children.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, Self

from sync_engine.dirty import Dirty, DirtySet, Footprint
from sync_engine.slots import SLOTS_PER_SIDE

# One round's paths: at 1,000 writes/s a round holds a few; more at once only let others wait.
_ROUND_MAX = 2_000
# Each round has a transaction under way most of its time, and each transaction needs a slot.
_ROUNDS_MAX = SLOTS_PER_SIDE
# A round costs as much as some paths, so beside others that are under way it waits for some.
_PACE_S = 0.005

Look = Callable[[dict[str, Dirty]], Awaitable[bool]]


class Turn(asyncio.Lock):
    """A lock whose holder can see that somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting = 0

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits."""
        return self._waiting > 0

    async def acquire(self) -> Literal[True]:
        """Wait for the turn."""
        self._waiting += 1
        try:
            return await super().acquire()
        finally:
            self._waiting -= 1


class Overlap:
    """Works that begin in the order in which they are given and end as they like, a few at once."""

    def __init__(self) -> None:
        self._under_way: list[asyncio.Task[None]] = []

    async def add(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin a work as soon as there is room; raises what an earlier one failed with."""
        try:
            while len(self._under_way) >= _ROUNDS_MAX:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
                self._reap()
        except BaseException:
            work.close()
            raise
        self._under_way.append(asyncio.create_task(work))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if error is not None:
            for task in self._under_way:
                task.cancel()
        # All of them end before anything is raised, so that all is noted that was applied.
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if error is None:
            self._reap()

    def _reap(self) -> None:
        ended = [task for task in self._under_way if task.done()]
        self._under_way = [task for task in self._under_way if not task.done()]
        failures = [failure for task in ended if (failure := task.exception()) is not None]
        if failures:
            raise failures[0]


class Rounds:
    """The rounds of one worker. `look` does one; what it does not settle (False) is dirty again."""

    def __init__(self, dirty: DirtySet, look: Look) -> None:
        self._dirty = dirty
        self._look = look
        self._taken = Footprint()
        self._batches: dict[int, dict[str, Dirty]] = {}
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """Paths under way."""
        return len(self._taken)

    def oldest(self) -> int | None:
        """The zxid of the first change under way, as in `Dirty`; None where there is none."""
        under_way = (dirty.oldest for batch in self._batches.values() for dirty in batch.values())
        return min(under_way, default=None)

    def wake(self) -> None:
        """Say that there is something new to do."""
        self._news.set()

    async def run(self, goes_on: Callable[[int], bool]) -> None:
        """Begin rounds as long as there is something to do and `goes_on` says so, which is told how
        many have begun; returns when all have ended.

        Raises the first failure of a round, when the others have ended too.
        """
        under_way: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        begun, begins_at = 0, 0.0
        failure: BaseException | None = None
        try:
            while True:
                self._news.clear()
                for task in [task for task in under_way if task.done()]:
                    under_way.remove(task)
                    # Each must be asked for, or it counts as never heard of.
                    ended = task.exception()
                    failure = failure or ended
                may_begin = failure is None and len(under_way) < _ROUNDS_MAX and goes_on(begun)
                wait_s = begins_at - loop.time() if under_way else 0.0
                if may_begin and wait_s <= 0:
                    batch = self._dirty.take(_ROUND_MAX, apart_from=self._taken)
                    if batch:
                        under_way.append(self._begin(batch))
                        begun += 1
                        begins_at = loop.time() + _PACE_S
                        continue
                if not under_way:
                    break
                if may_begin and wait_s > 0 and self._dirty:
                    loop.call_later(wait_s, self._news.set)
                await self._news.wait()
        except asyncio.CancelledError:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            raise
        if failure is not None:
            raise failure

    def _begin(self, batch: dict[str, Dirty]) -> asyncio.Task[None]:
        self._taken.add(batch)
        self._batches[id(batch)] = batch
        task = asyncio.create_task(self._round(batch))
        task.add_done_callback(lambda _: self._news.set())
        return task

    async def _round(self, batch: dict[str, Dirty]) -> None:
        is_settled = False
        try:
            is_settled = await self._look(batch)
        finally:
            self._taken.remove(batch)
            del self._batches[id(batch)]
            if not is_settled:
                # Failed or cancelled, too: a path that is forgotten is a write that is lost.
                self._dirty.put_back(batch)
