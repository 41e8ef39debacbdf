"""An event loop whose clock jumps to the next thing to do, and a machine without chance.

Nothing waits: when nobody is ready, time moves to the next timer. Threads are not started; what
would run in one runs at once. Network connections go to the loop's `network`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import selectors
import time
import uuid
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tests.sync_engine.memory.network import Network

EPOCH_S = 1_700_000_000.0
"""What `time.time` says when a loop begins."""
_START_S = 1_000.0
T = TypeVar("T")


class NothingLeftError(AssertionError):
    """Something is waited for that nothing will ever bring about."""


class _Selector(selectors.SelectSelector):
    """Never blocks; tells how long it would have."""

    def __init__(self, pass_s: Callable[[float | None], None]) -> None:
        super().__init__()
        self._pass_s = pass_s

    def select(self, timeout: float | None = None) -> list[Any]:
        self._pass_s(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """One run; `chance` decides everything that nobody decides."""

    network: Network

    def __init__(self, seed: int) -> None:
        self._now_s = _START_S
        self.ticks = itertools.count()
        self.chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        super().__init__(_Selector(self._pass))

    def time(self) -> float:
        return self._now_s

    def _pass(self, seconds: float | None) -> None:
        if seconds is None:
            msg = "expected something to happen, saw tasks that wait for nothing"
            raise NothingLeftError(msg)
        if seconds > 0:
            self._now_s += seconds

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        # There are no other threads.
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        del executor  # There are no threads.
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - a thread's boundary, as the loop's own one
            future.set_exception(error)
        return future

    async def create_connection(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride] - the one form that a lane uses
        self, protocol_factory: Any, host: Any, port: Any, *, ssl: Any = None
    ) -> Any:
        assert ssl is None
        return await self.network.connect(protocol_factory(), host, port)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end of `work`; other tasks go on in between, and stand still afterwards."""
        with self._machine():
            return self.run_until_complete(work)

    def discard(self) -> None:
        """Cancel what is left, and close."""
        with self._machine():
            left = asyncio.all_tasks(self)
            for task in left:
                task.cancel()
            if left:
                self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.run_until_complete(self.shutdown_asyncgens())
        self.close()

    @contextlib.contextmanager
    def _machine(self) -> Generator[None]:
        """Give time, chance and ids of this loop to whoever asks the machine for them."""
        before = (time.monotonic, time.time, random.uniform, random.sample, uuid.uuid4)

        def new_id() -> uuid.UUID:
            return uuid.UUID(int=self.chance.getrandbits(128), version=4)

        time.monotonic, time.time = self.time, self._wall
        random.uniform, random.sample = self.chance.uniform, self.chance.sample
        uuid.uuid4 = new_id
        try:
            yield
        finally:
            time.monotonic, time.time, random.uniform, random.sample, uuid.uuid4 = before

    def _wall(self) -> float:
        return EPOCH_S + self._now_s
