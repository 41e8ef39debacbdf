"""Clients that write: sets of leaves at a given rate, each noted when it is acknowledged.

The rate is that at which writes are asked for, whatever the answers take (an open loop), so a slow
ensemble shows as late acknowledgements and not as fewer writes. Without a rate all writes are asked
for at once. A write whose answer was lost with its connection counts as neither.

Run as a child (`child.py`).
"""

from __future__ import annotations

import asyncio
import functools
import gc
import time
from dataclasses import asdict, dataclass
from typing import Any

from sync_engine import wire
from sync_engine.errors import ConnectionLostError
from sync_engine.lane import Lane
from sync_engine.wire import ANY_VERSION, OpCode
from tests.performance import leaves
from tests.performance.child import DONE, GO, READY, Orders, say, tell

_TICK_S = 0.001
_SESSION_S = 10.0
# What may be unanswered when the writing ends; a leader's election takes half a second.
_DRAIN_BOUND_S = 60.0


@dataclass(frozen=True)
class LoadJob:
    """What to write. `rate_per_s` None: all at once; `writes` None: until told to stop."""

    hosts: str
    root: str
    count: int
    rate_per_s: float | None
    writes: int | None
    first: int = 1
    """Number of the first write."""


@dataclass(frozen=True)
class LoadResult:
    """What was written. Times are of the monotonic clock."""

    acked: list[tuple[int, float]]
    began_at: float
    asked_at: float
    """When the last write was asked for."""
    lost: int
    """Writes of which nobody knows whether they were applied."""
    next: int
    """Number of the write that would have come next."""

    @property
    def rate_per_s(self) -> float:
        """Acknowledged writes a second."""
        last = max((at for _, at in self.acked), default=self.began_at)
        return len(self.acked) / max(last - self.began_at, _TICK_S)

    @property
    def asked_per_s(self) -> float:
        """Writes asked for a second; below the job's rate, the load itself was too slow."""
        asked = len(self.acked) + self.lost
        return asked / max(self.asked_at - self.began_at, _TICK_S)

    @staticmethod
    def parse(document: Any) -> LoadResult:
        """From what the child told."""
        acked = [(int(number), float(at)) for number, at in document.pop("acked")]
        return LoadResult(acked=acked, **document)


class Writer:
    """Makes the writes of one job."""

    def __init__(self, lane: Lane, job: LoadJob) -> None:
        self._lane = lane
        self._job = job
        self._acked: list[tuple[int, float]] = []
        self._lost = 0
        self._failure: BaseException | None = None
        self._under_way = 0
        self._drained = asyncio.Event()

    async def run(self, stopped: asyncio.Event) -> LoadResult:
        """Write until all is written or told to stop, and wait for the answers."""
        job = self._job
        began_at = time.monotonic()
        asked = 0
        while not stopped.is_set() and (job.writes is None or asked < job.writes):
            due = job.writes or 0
            if job.rate_per_s is not None:
                due = 1 + int((time.monotonic() - began_at) * job.rate_per_s)
                due = due if job.writes is None else min(due, job.writes)
            for number in range(job.first + asked, job.first + due):
                self._ask(number)
            asked = max(asked, due)
            await asyncio.sleep(_TICK_S)
            if self._failure is not None:
                raise self._failure
        asked_at = time.monotonic()
        if self._under_way:
            self._drained.clear()
            await asyncio.wait_for(self._drained.wait(), _DRAIN_BOUND_S)
        if self._failure is not None:
            raise self._failure
        return LoadResult(self._acked, began_at, asked_at, self._lost, job.first + asked)

    def _ask(self, number: int) -> None:
        job = self._job
        path = leaves.leaf_path(job.root, leaves.leaf_of(number, job.count))
        body = wire.set_body(path, leaves.encode(number), ANY_VERSION)
        self._under_way += 1
        answer = self._lane.submit(OpCode.SET_DATA, body, wire.no_body, path)
        answer.add_done_callback(functools.partial(self._on_answer, number))

    def _on_answer(self, number: int, answer: asyncio.Future[Any]) -> None:
        error = answer.exception()
        if error is None:
            self._acked.append((number, time.monotonic()))
        elif isinstance(error, ConnectionLostError):
            self._lost += 1
        else:
            self._failure = error
        self._under_way -= 1
        if not self._under_way:
            self._drained.set()


async def work() -> None:
    """The child's life."""
    orders = await Orders.listen()
    job = LoadJob(**await orders.job())
    lane = Lane(job.hosts, session_timeout_s=_SESSION_S)
    await lane.start()
    try:
        say(READY)
        if await orders.next() != GO:
            return
        stopped = asyncio.Event()
        stopping = asyncio.create_task(orders.next())
        stopping.add_done_callback(lambda _: stopped.set())
        result = await Writer(lane, job).run(stopped)
        if not stopped.is_set():
            say(DONE)
        await stopping
        tell(asdict(result))
    finally:
        await lane.close()


def main() -> None:
    """Start the child."""
    # What it makes are numbers that live to its end: looking for garbage only makes pauses.
    gc.disable()
    asyncio.run(work())


if __name__ == "__main__":
    main()
