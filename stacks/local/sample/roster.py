"""What the sample framework remembers, in ZooKeeper: its id, its tasks, and moves in progress.

`framework-id` is what makes a restarted framework the same one. `tasks/<id>` is written before a
task is launched and removed after its end, so that a framework which starts against masters that
know nothing yet still knows what it has. `replacements/<id>` holds the intent to move a task:
launch another one elsewhere, and only when that runs, kill the first (surge, then kill).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from stacks.local.session import NodeExistsError, NoNodeError, Session

_LIVE = frozenset({"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"})
_DONE_KEPT_MAX = 500


@dataclass
class SampleTask:
    """One task. Only `id`, `agent_id`, `agent_hostname` and `launched_at` outlive the process."""

    id: str
    agent_id: str
    agent_hostname: str
    launched_at: float
    state: str = "TASK_STAGING"
    pid: int | None = None
    started_at: float | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether it runs, as far as anyone has said."""
        return self.state == "TASK_RUNNING"


class Step(StrEnum):
    """How far a replacement is."""

    WAITING = "waiting_for_offer"
    LAUNCHING = "launching"
    KILLING = "killing"
    DONE = "done"


@dataclass
class Replacement:
    """The intent to move `task` off `agent_id`."""

    task: str
    agent_id: str
    replacement: str | None = None
    step: Step = Step.WAITING


class Roster:
    """All of it, in memory and in ZooKeeper; every change is written before it is acted on."""

    def __init__(self, session: Session, path: str) -> None:
        self._session = session
        self._path = path
        self.framework_id: str | None = None
        self.tasks: dict[str, SampleTask] = {}
        self.replacements: dict[str, Replacement] = {}
        self.is_loaded = False

    async def load(self) -> None:
        """Read what an earlier process left."""
        for folder in ("tasks", "replacements"):
            await self._session.ensure(f"{self._path}/{folder}")
        try:
            node = await self._session.get(f"{self._path}/framework-id")
            self.framework_id = node.data.decode() or None
        except NoNodeError:
            self.framework_id = None
        for content in await self._documents("tasks"):
            task = SampleTask(**content)
            self.tasks[task.id] = task
        for content in await self._documents("replacements"):
            content["step"] = Step(content["step"])
            replacement = Replacement(**content)
            self.replacements[replacement.task] = replacement
        self.is_loaded = True

    async def _documents(self, folder: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for name in sorted(await self._session.children(f"{self._path}/{folder}")):
            try:
                node = await self._session.get(f"{self._path}/{folder}/{name}")
            except NoNodeError:
                continue
            found.append(json.loads(node.data))
        return found

    async def _write(self, name: str, content: str) -> None:
        """Write a node, whether or not it is there, until ZooKeeper has taken it."""
        path, data = f"{self._path}/{name}", content.encode()

        async def write() -> None:
            try:
                await self._session.set(path, data)
            except NoNodeError:
                # An attempt whose answer was lost may have created it.
                with contextlib.suppress(NodeExistsError):
                    await self._session.create(path, data)

        await self._session.insist(write)

    async def _remove(self, name: str) -> None:
        await self._session.insist(lambda: self._session.delete(f"{self._path}/{name}"))

    async def keep_framework_id(self, framework_id: str) -> None:
        """Remember who we are."""
        if self.framework_id != framework_id:
            self.framework_id = framework_id
            await self._write("framework-id", framework_id)

    async def add(self, task: SampleTask) -> None:
        """Enter a task, before it is launched."""
        self.tasks[task.id] = task
        content = {
            "id": task.id,
            "agent_id": task.agent_id,
            "agent_hostname": task.agent_hostname,
            "launched_at": task.launched_at,
        }
        await self._write(f"tasks/{task.id}", json.dumps(content))

    async def remove(self, task_id: str) -> None:
        """Forget a task that has ended."""
        if self.tasks.pop(task_id, None) is not None:
            await self._remove(f"tasks/{task_id}")

    async def keep(self, replacement: Replacement) -> None:
        """Enter or change an intent."""
        self.replacements[replacement.task] = replacement
        await self._write(f"replacements/{replacement.task}", json.dumps(asdict(replacement)))
        done = [r.task for r in self.replacements.values() if r.step is Step.DONE]
        for task in done[: max(0, len(done) - _DONE_KEPT_MAX)]:
            await self.drop(task)

    async def drop(self, task_id: str) -> None:
        """Forget an intent."""
        if self.replacements.pop(task_id, None) is not None:
            await self._remove(f"replacements/{task_id}")

    # Questions

    def live(self) -> list[SampleTask]:
        """Tasks that run or are about to."""
        return [task for task in self.tasks.values() if task.state in _LIVE]

    def deficit(self, target: int) -> int:
        """How many tasks are missing; a task and its replacement count as one."""
        present = set(self.tasks)
        doubled = sum(
            1
            for r in self.replacements.values()
            if r.step is not Step.DONE and r.task in present and r.replacement in present
        )
        return target - (len(self.tasks) - doubled)

    def waiting(self) -> list[Replacement]:
        """Intents whose new task is still to be launched."""
        return [r for r in self.replacements.values() if r.step is Step.WAITING]

    def on_agents(self, agent_ids: Iterable[str]) -> dict[str, int]:
        """How many tasks each agent has."""
        counts = dict.fromkeys(agent_ids, 0)
        for task in self.tasks.values():
            if task.agent_id in counts:
                counts[task.agent_id] += 1
        return counts
