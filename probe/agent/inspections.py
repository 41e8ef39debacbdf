"""Which containers are to be looked at next: none by two at a time, and none twice for nothing.

There are two lanes, each with workers of its own: one for those of which something was heard just
now, one for those that can wait. Whoever is asked for while it waits is looked at once; while it is
looked at, once more after that. So one that hangs keeps one worker, and nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")


class Inspections(Generic[T]):
    """`heard` takes what a look has found."""

    def __init__(self, heard: Callable[[str, T], None]) -> None:
        self._heard = heard
        self._lanes = {is_soon: asyncio.Queue[str]() for is_soon in (True, False)}
        self._waiting: dict[str, bool] = {}
        """Each with whether it waits in the lane of those that are looked at soon."""
        self._under_way: dict[str, object] = {}
        """Each with the look that counts."""
        self._again: dict[str, bool] = {}

    def ask(self, id_: str, *, is_soon: bool) -> None:
        """Have a container looked at."""
        if id_ in self._under_way:
            self._again[id_] = is_soon
        elif id_ not in self._waiting or (is_soon and not self._waiting[id_]):
            self._waiting[id_] = is_soon
            self._lanes[is_soon].put_nowait(id_)

    def drop(self, id_: str) -> None:
        """One has gone: whatever a look at it finds is of before."""
        self._waiting.pop(id_, None)
        self._under_way.pop(id_, None)
        self._again.pop(id_, None)

    def is_under_way(self, id_: str) -> bool:
        """Whether one is being looked at."""
        return id_ in self._under_way

    async def work(self, look: Callable[[str], Awaitable[T]], *, is_soon: bool) -> NoReturn:
        """Look at those of a lane, one after another. What a look raises ends it."""
        lane = self._lanes[is_soon]
        while True:
            id_ = await lane.get()
            # It may have gone, or have been looked at from the other lane meanwhile.
            if self._waiting.get(id_) is is_soon:
                del self._waiting[id_]
                await self._look(id_, look)
            lane.task_done()

    async def done(self) -> None:
        """Wait until nobody is left to be looked at."""
        for lane in self._lanes.values():
            await lane.join()

    async def _look(self, id_: str, look: Callable[[str], Awaitable[T]]) -> None:
        mark = self._under_way[id_] = object()
        found = await look(id_)
        if self._under_way.get(id_) is not mark:
            return
        del self._under_way[id_]
        is_soon = self._again.pop(id_, None)
        if is_soon is not None:
            self.ask(id_, is_soon=is_soon)
        self._heard(id_, found)
