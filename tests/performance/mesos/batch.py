"""A batch framework: launches as many small tasks as it is offered, through the scheduler client.

What it does is what any framework must do: accept offers, acknowledge every status, decline what it
does not need. It keeps nothing on disk, so its rate is that of the client and of the master.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from clients.mesos import SchedulerClient, Subscription
from clients.mesos.scheduler_model import (
    FrameworkInfo,
    Offer,
    Offers,
    Rescinded,
    SchedulerEvent,
    TaskInfo,
    Updated,
)

_FOR_GOOD_S = 3600.0
TERMINAL = frozenset({"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST"})


@dataclass(frozen=True)
class Job:
    """Tasks that are all alike. `per_offer` bounds how many of them one offer takes."""

    tasks: int
    cpus: float = 0.1
    mem: float = 32.0
    per_offer: int = 1_000_000
    command: str = "sleep 1000000"
    refuse_s: float = _FOR_GOOD_S


@dataclass
class Moments:
    """When things happened first, on the machine's monotonic clock."""

    subscribed: float = 0.0
    first_offer: float | None = None
    declined: float | None = None
    reoffered: float | None = None
    launched: dict[str, float] = field(default_factory=dict[str, float])
    running: dict[str, float] = field(default_factory=dict[str, float])


class Batch:
    """One framework with one job."""

    def __init__(
        self, client: SchedulerClient, job: Job, *, name: str = "batch", role: str = "*"
    ) -> None:
        self._client = client
        self.job = job
        self._info = FrameworkInfo(name, "root", roles=(role,), failover_timeout_s=3600.0)
        self.framework_id: str | None = None
        self.subscription: Subscription | None = None
        self.launched = 0
        self.states: dict[str, str] = {}
        self.offers: dict[str, Offer] = {}
        self.moments = Moments()
        self._calls: set[asyncio.Task[None]] = set()
        self.failures: list[BaseException] = []

    @property
    def running(self) -> int:
        """Tasks whose last status says so."""
        return Counter(self.states.values())["TASK_RUNNING"]

    @property
    def waiting(self) -> int:
        """Calls without an answer yet."""
        return len(self._calls)

    async def run(self) -> None:
        """Subscribe and work until the subscription ends.

        Raises:
            SubscriptionLostError: it ended.
        """
        async with self._client.subscribe(self._info) as subscription:
            self.subscription = subscription
            self.framework_id = subscription.framework_id
            self.moments.subscribed = time.monotonic()
            async for event in subscription.events():
                self._handle(subscription, event)

    def _handle(self, subscription: Subscription, event: SchedulerEvent) -> None:
        match event:
            case Offers(offers):
                self._take(subscription, offers)
            case Rescinded(offer_id):
                self.offers.pop(offer_id, None)
            case Updated(status):
                self.states[status.task_id] = status.state
                if status.state == "TASK_RUNNING":
                    self.moments.running.setdefault(status.task_id, time.monotonic())
                if status.uuid is not None and status.agent_id is not None:
                    call = subscription.acknowledge(status.task_id, status.agent_id, status.uuid)
                    self._later(call)
            case _:
                pass

    def _take(self, subscription: Subscription, offers: Sequence[Offer]) -> None:
        now = time.monotonic()
        self.moments.first_offer = self.moments.first_offer or now
        if self.moments.declined is not None and self.moments.reoffered is None:
            self.moments.reoffered = now
        unused: list[str] = []
        for offer in offers:
            count = self._fit(offer)
            if count <= 0:
                unused.append(offer.id)
                continue
            tasks = [self._task(offer, now) for _ in range(count)]
            self._later(subscription.accept([offer.id], tasks, refuse_s=self.job.refuse_s))
        if unused:
            self._later(subscription.decline(unused, refuse_s=self.job.refuse_s))

    def _fit(self, offer: Offer) -> int:
        # In whole steps of a thousandth: 0.1 goes forty times into 4.
        job, has = self.job, offer.resources
        cpus = round(has.get("cpus", 0.0) * 1000) // max(1, round(job.cpus * 1000))
        mem = round(has.get("mem", 0.0) * 1000) // max(1, round(job.mem * 1000))
        return min(cpus, mem, job.per_offer, job.tasks - self.launched)

    def _task(self, offer: Offer, now: float) -> TaskInfo:
        self.launched += 1
        task_id = f"batch-{self.launched}"
        self.moments.launched[task_id] = now
        amounts = {"cpus": self.job.cpus, "mem": self.job.mem}
        return TaskInfo(task_id, "batch", offer.agent_id, amounts, self.job.command)

    def _later(self, call: Coroutine[Any, Any, None]) -> None:
        work = asyncio.ensure_future(call)
        self._calls.add(work)
        work.add_done_callback(self._done)

    def _done(self, work: asyncio.Task[None]) -> None:
        self._calls.discard(work)
        error = None if work.cancelled() else work.exception()
        if error is not None:
            self.failures.append(error)
