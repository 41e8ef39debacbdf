"""A batch framework: launches as many small tasks as it is offered, through the scheduler client.

What it does is what any framework must do: accept offers, acknowledge every status, decline what it
does not need. It keeps nothing on disk, so its rate is that of the client and of the master.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any

from clients.mesos import RetryableError, SchedulerClient, Subscription
from clients.mesos.scheduler_model import (
    FrameworkInfo,
    Offer,
    Offers,
    SchedulerEvent,
    TaskInfo,
    Updated,
)

_FOR_GOOD_S = 3600.0
_AGAIN_S = 0.05
# Of what waits, only so much is tried on an offer: packing is not to be what is measured.
_TRIED_MAX = 50


@dataclass(frozen=True)
class Shape:
    """What one task takes."""

    cpus: float = 0.1
    mem: float = 32.0


@dataclass
class Moments:
    """When things happened, on the machine's monotonic clock."""

    subscribed: float = 0.0
    first_offer: float | None = None
    offers: list[float] = field(default_factory=list[float])
    accepted: float = 0.0
    """When the last answer to an ACCEPT came."""
    launched: dict[str, float] = field(default_factory=dict[str, float])
    running: dict[str, float] = field(default_factory=dict[str, float])


class Batch:
    """One framework; `wanted` are tasks to launch: so many that are alike, or these.

    `per_offer` bounds how many of them one offer takes.
    """

    def __init__(
        self,
        client: SchedulerClient,
        wanted: int | Iterable[Shape],
        *,
        per_offer: int = 1_000_000,
        command: str = "sleep 1000000",
        refuse_s: float = _FOR_GOOD_S,
        role: str = "*",
    ) -> None:
        self._client = client
        self._per_offer = per_offer
        self._command = command
        self._refuse_s = refuse_s
        self._info = FrameworkInfo("batch", "root", roles=(role,), failover_timeout_s=3600.0)
        self._are_alike = isinstance(wanted, int)
        self.wanted = deque(repeat(Shape(), wanted) if isinstance(wanted, int) else wanted)
        self.subscription: Subscription | None = None
        self.launched = 0
        self.states: dict[str, str] = {}
        self.places: dict[str, str] = {}
        self.running = 0
        self.moments = Moments()
        self.failures: list[BaseException] = []
        self._is_over = False
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def framework_id(self) -> str | None:
        """What the master calls it."""
        return self._info.id

    @property
    def waiting(self) -> int:
        """Calls without an answer yet."""
        return len(self._calls)

    def by_state(self) -> Counter[str]:
        """Tasks by their last status."""
        return Counter(self.states.values())

    async def stay(self) -> None:
        """Stay subscribed, whoever leads; never returns."""
        while True:
            try:
                await self.run()
            except RetryableError:
                self.subscription = None
                await asyncio.sleep(_AGAIN_S)

    async def run(self) -> None:
        """Subscribe and work until the subscription ends.

        Raises:
            RetryableError: it ended, or nobody leads.
        """
        async with self._client.subscribe(self._info) as subscription:
            self._info = replace(self._info, id=subscription.framework_id)
            self.subscription = subscription
            self.moments.subscribed = time.monotonic()
            async for event in subscription.events():
                self._handle(subscription, event)

    async def end(self) -> None:
        """Tear the framework down; what was on its way meanwhile is refused, as it should be."""
        assert self.subscription is not None
        self._is_over = True
        await self.subscription.teardown()

    def _handle(self, subscription: Subscription, event: SchedulerEvent) -> None:
        if isinstance(event, Offers):
            self._take(subscription, event.offers)
        elif isinstance(event, Updated):
            status = event.status
            was, self.states[status.task_id] = self.states.get(status.task_id), status.state
            self.running += (status.state == "TASK_RUNNING") - (was == "TASK_RUNNING")
            if status.state == "TASK_RUNNING":
                self.moments.running.setdefault(status.task_id, time.monotonic())
            if status.uuid is not None and status.agent_id is not None:
                call = subscription.acknowledge(status.task_id, status.agent_id, status.uuid)
                self._later(call)

    def _take(self, subscription: Subscription, offers: Sequence[Offer]) -> None:
        now = time.monotonic()
        self.moments.first_offer = self.moments.first_offer or now
        self.moments.offers.append(now)
        unused: list[str] = []
        for offer in offers:
            tasks = self._fill(offer, now)
            if not tasks:
                unused.append(offer.id)
                continue
            self._later(self._accept(subscription, offer, tasks))
        if unused:
            self._later(subscription.decline(unused, refuse_s=self._refuse_s))

    async def _accept(
        self, subscription: Subscription, offer: Offer, tasks: Sequence[TaskInfo]
    ) -> None:
        await subscription.accept([offer.id], tasks, refuse_s=self._refuse_s)
        self.moments.accepted = time.monotonic()

    def _fill(self, offer: Offer, now: float) -> list[TaskInfo]:
        """Tasks for an offer: the first that fit, in the order in which they wait."""
        cpus, mem = offer.resources.get("cpus", 0.0), offer.resources.get("mem", 0.0)
        tasks: list[TaskInfo] = []
        passed: list[Shape] = []
        while self.wanted and len(tasks) < self._per_offer and len(passed) < _TRIED_MAX:
            shape = self.wanted.popleft()
            # A sum of tenths is never quite what it should be.
            if shape.cpus > cpus + 1e-6 or shape.mem > mem + 1e-6:
                passed.append(shape)
                if self._are_alike:
                    break
                continue
            cpus, mem = cpus - shape.cpus, mem - shape.mem
            tasks.append(self._task(offer, shape, now))
        self.wanted.extendleft(reversed(passed))
        return tasks

    def _task(self, offer: Offer, shape: Shape, now: float) -> TaskInfo:
        self.launched += 1
        task_id = f"batch-{self.launched}"
        self.moments.launched[task_id] = now
        self.places[task_id] = offer.agent_id
        amounts = {"cpus": shape.cpus, "mem": shape.mem}
        return TaskInfo(task_id, "batch", offer.agent_id, amounts, self._command)

    def _later(self, call: Coroutine[Any, Any, None]) -> None:
        work = asyncio.ensure_future(call)
        self._calls.add(work)
        work.add_done_callback(self._done)

    def _done(self, work: asyncio.Task[None]) -> None:
        self._calls.discard(work)
        error = None if work.cancelled() else work.exception()
        if error is not None and not self._is_over:
            self.failures.append(error)
