"""Looks at the cluster four times a second while it migrates, beside the migration and without it.

Each part is asked by a loop of its own, so that one that is away (it is being restarted, or stands
still by design) does not keep the others waiting. What a process does not tell is left out; tasks
are looked at as processes too, by id and start time, because they must live on while nobody who
knows them does.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from stacks.demo.addresses import Addresses
from stacks.demo.app_observer import AppObserver
from stacks.demo.observations import (
    EngineSample,
    Observations,
    Registration,
    Subscription,
    TaskSample,
    TaskUpdate,
    TrafficSample,
)
from stacks.demo.processes import Processes
from sync_engine.client import EngineClient, EngineError

_PAUSE_S = 0.25
_SLOW_PAUSE_S = 0.5
_ANSWER_TIMEOUT_S = 2.0
Json = Mapping[str, Any]


class Observer:
    """Fills `seen`. `addresses` may be replaced at any time, when an update has ended."""

    def __init__(self, seen: Observations, addresses: Addresses) -> None:
        self.seen = seen
        self.addresses = addresses
        self._client = httpx.AsyncClient(timeout=_ANSWER_TIMEOUT_S)
        self._tasks: list[asyncio.Task[None]] = []
        self._known = Processes()
        self._apps = AppObserver(seen, self._client)
        self._noted: set[Any] = set()

    async def __aenter__(self) -> Self:
        loops = (
            (self._look_at_tasks, _PAUSE_S),
            (self._look_at_agents, _SLOW_PAUSE_S),
            (self._look_at_apps, _SLOW_PAUSE_S),
            (self._look_at_engine, _SLOW_PAUSE_S),
            (self._look_at_traffic, _SLOW_PAUSE_S),
        )
        self._tasks = [asyncio.create_task(_repeat(look, pause)) for look, pause in loops]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    def check(self) -> None:
        """Raise what ended an observer, if anything did: a demo without eyes proves nothing."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def _look_at_tasks(self) -> None:
        # Before the question: a task that is killed right after the answer still lived at it.
        looked = self._known.look()
        state = await self._ask(self.addresses.framework, "state")
        at = time.time()
        # One that was just started answers before it has read what it had.
        if state is None or state["registered_with"] is None:
            if self.seen.tasks:
                target = self.seen.tasks[-1].target
                pids = {task: self._known.pid(task) for task, lives in looked.items() if lives}
                self.seen.tasks.append(TaskSample(at, target, len(pids), None, pids))
            return
        self._note_framework(state)
        self.seen.tasks.append(self._known.sample(state, looked, at))

    def _note_framework(self, state: Json) -> None:
        for entry in state["subscriptions"]:
            self._once(
                Subscription(float(entry["at"]), str(entry["master"])), self.seen.subscriptions
            )
        for entry in state["replacements"]:
            if entry["replacement"]:
                self.seen.replacements[str(entry["task"])] = str(entry["replacement"])

    async def _look_at_agents(self) -> None:
        for addresses in self.addresses.agents.values():
            for address in addresses:
                state = await self._ask(f"http://{address}", "state")
                if state is None:
                    continue
                # A real agent does not tell its history; then the gap is not measured.
                for entry in state.get("registrations") or ():
                    registration = Registration(
                        float(entry["at"]), address, str(entry["event"]), str(entry["master"])
                    )
                    self._once(registration, self.seen.registrations)
                self._known.learn_from_agent(state, self._framework_id())
                self._apps.learn_from_agent(state)

    def _framework_id(self) -> str | None:
        """By the framework's own word; while that is not known, nothing is learned from agents."""
        return self.seen.tasks[-1].framework_id if self.seen.tasks else None

    async def _look_at_apps(self) -> None:
        if self.seen.app_sizes:
            await self._apps.look(self.addresses)

    async def _look_at_engine(self) -> None:
        url, token = self.addresses.engine, self.addresses.engine_token
        if not url or token is None:
            return
        try:
            async with EngineClient(url, token, timeout_s=_ANSWER_TIMEOUT_S) as client:
                status = await client.status()
        except (EngineError, OSError):
            return
        projections = [p.kind for p in status.projections.values()]
        self.seen.engine.append(
            EngineSample(
                at=time.time(),
                started_at=status.started_at,
                state=str(status.state),
                lags={str(name): d.lag.p99_ms for name, d in status.directions.items()},
                histograms={str(name): dict(d.histogram) for name, d in status.directions.items()},
                backlog=sum(d.backlog for d in status.directions.values()),
                conflicts=status.conflicts,
                projection=", ".join(map(str, projections)),
            )
        )

    async def _look_at_traffic(self) -> None:
        for url in self.addresses.clients.values():
            status = await self._ask(url, "status")
            if status is None:
                continue
            self.seen.traffic.append(
                TrafficSample(
                    at=time.time(),
                    hosts=str(status["hosts"]),
                    acknowledged=int(status["acknowledged"]),
                    rate_per_s=float(status["rate_per_s"]),
                    znodes=int(status["znodes"]),
                    refused=int(status["refused"]),
                )
            )

    async def _ask(self, url: str, path: str) -> Json | None:
        if not url:
            return None
        try:
            answer = await self._client.get(f"{url}/{path}")
            return answer.json() if answer.is_success else None
        except (httpx.HTTPError, ValueError):
            return None

    def _once(self, entry: Any, known: list[Any]) -> None:
        """Processes tell their whole history each time."""
        if entry not in self._noted:
            self._noted.add(entry)
            known.append(entry)


def read_updates(folder: Path) -> list[TaskUpdate]:
    """Status updates of the framework's log; a last line without its end is left out."""
    try:
        lines = (folder / "updates.jsonl").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []
    records = (json.loads(line) for line in lines if line)
    return [
        TaskUpdate(
            at=float(record["at"]),
            task_id=str(record["task_id"]),
            state=str(record["state"]),
            reason=record["reason"],
            agent_id=record["agent_id"],
        )
        for record in records
    ]


async def _repeat(look: Callable[[], Awaitable[None]], pause_s: float) -> None:
    while True:
        began = time.monotonic()
        await look()
        await asyncio.sleep(max(0.0, pause_s - (time.monotonic() - began)))
