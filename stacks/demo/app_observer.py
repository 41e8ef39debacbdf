"""Looks at Marathon's apps: by its word where it gives one, and at each task directly, always.

While Marathon stands still, tasks must go on without anybody who knows them; so their processes are
looked at, and their ports asked, as a client of the app would. What was known is asked before
Marathon is, and what Marathon names anew after it: a task that is killed right after the answer
still served at it, with its replacement.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from clients.http import read_credential
from clients.marathon import parse
from clients.marathon.errors import MarathonError
from clients.marathon.model import Task
from components.mesos.access import MARATHON_SECRET
from stacks.demo.addresses import Addresses
from stacks.demo.observations import AppSample, Observations
from stacks.demo.processes import Processes

Json = Mapping[str, Any]
_RUNNING = "TASK_RUNNING"
# As patient as the apps' own health checks: a busy machine makes tasks slow, not ill.
_SERVE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class _Told:
    """What Marathon says."""

    framework_id: str
    tasks: tuple[Task, ...]


class AppObserver:
    """Adds a sample to `seen.apps` with each look."""

    def __init__(self, seen: Observations, client: httpx.AsyncClient) -> None:
        self._seen = seen
        self._client = client
        self._processes = Processes()
        self._tasks: dict[str, Task] = {}
        self._framework_id: str | None = None

    def learn_from_agent(self, state: Json) -> None:
        """Note processes that an agent tells."""
        if self._framework_id is not None:
            self._processes.learn_from_agent(state, self._framework_id)

    async def look(self, addresses: Addresses) -> None:
        """Take one sample; none before Marathon has answered for the first time."""
        lives = self._processes.look()
        serving = await self._ask_all(self._tasks.values())
        told = await self._ask_marathon(addresses)
        if told is None and not self._tasks:
            return
        if told is not None:
            running = {task.id: task for task in told.tasks if task.state == _RUNNING}
            self._framework_id, self._tasks = told.framework_id, {**self._tasks, **running}
        # New ones, and those that had only just begun to serve when they were asked.
        serving |= await self._ask_all(t for t in self._tasks.values() if t.id not in serving)
        if told is not None:
            serving -= {task.id for task in told.tasks if task.healthy is False}
        # Whose process is not known yet, is known by its answer alone.
        healthy = Counter(self._tasks[task].app_id for task in serving if lives.get(task, True))
        self._seen.apps.append(
            AppSample(
                at=time.time(),
                healthy=dict(healthy),
                alive=dict(Counter(self._app_of(task) for task, here in lives.items() if here)),
                pids={task: self._processes.pid(task) for task, here in lives.items() if here},
                framework_id=None if told is None else told.framework_id,
            )
        )
        self._forget(task for task, here in lives.items() if not here)

    def _forget(self, gone: Iterable[str]) -> None:
        for task in gone:
            self._processes.forget(task)
            self._tasks.pop(task, None)

    def _app_of(self, task: str) -> str:
        """Ids of tasks begin with their app's, with dots or underscores between its parts."""
        head = task.partition(".instance-")[0]
        names = {app.strip("/").replace("/", "_"): app for app in self._seen.app_sizes}
        return names.get(head, head)

    async def _ask_all(self, tasks: Iterable[Task]) -> set[str]:
        listed = list(tasks)
        answers = await asyncio.gather(*map(self._serves, listed))
        return {task.id for task, ok in zip(listed, answers, strict=True) if ok}

    async def _serves(self, task: Task) -> bool:
        if not task.ports:
            return False
        try:
            url = f"http://{task.host}:{task.ports[0]}/"
            answer = await self._client.get(url, timeout=_SERVE_TIMEOUT_S)
        except httpx.HTTPError:
            return False
        return answer.is_success

    async def _ask_marathon(self, addresses: Addresses) -> _Told | None:
        if not addresses.marathon:
            return None
        base = f"http://{addresses.marathon[0]}"
        auth = read_credential(addresses.secret(MARATHON_SECRET))
        try:
            info, tasks = [
                await self._client.get(f"{base}{path}", auth=auth)
                for path in ("/v2/info", "/v2/tasks")
            ]
            if not (info.is_success and tasks.is_success):
                return None
            framework_id = parse.info(info.json()).framework_id
            if framework_id is None:
                return None
            return _Told(framework_id, parse.tasks(tasks.json()))
        except (httpx.HTTPError, MarathonError, ValueError):
            return None
