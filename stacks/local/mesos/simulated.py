"""Agents whose tasks are only numbers, many in one process: for masters and frameworks at size.

To a master they are agents like others: registration, statuses with retries, kills, drains and a
change of leader go through the same connection. No process is started, nothing is checkpointed, and
one HTTP interface shows them all: what runs on them shows nothing about executors.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stacks.local.mesos import values
from stacks.local.mesos.follower import Follower, Send
from stacks.local.mesos.values import TERMINAL_STATES, Json
from stacks.local.simulated_settings import SimulatedAgentsSettings

_PORT = 5051
# As agents do (executor_shutdown_grace_period).
_GRACE_S = 5.0
_RETRY_FACTOR_MAX = 60


@dataclass
class SimulatedTask:
    """One task; `pending` are statuses that nobody has acknowledged yet, oldest first."""

    framework: Json
    info: Json
    role: str
    state: str = "TASK_STAGING"
    statuses: list[Json] = field(default_factory=list[Json])
    pending: list[Json] = field(default_factory=list[Json])
    kill_reason: str | None = None
    kill_began_s: float | None = None
    ending: asyncio.TimerHandle | None = None

    @property
    def framework_id(self) -> str:
        """Its framework."""
        return str(self.framework["id"]["value"])


class SimulatedTasks:
    """The tasks of one agent."""

    def __init__(self, *, start_s: float, retry_s: float, end_s: float = 0.0) -> None:
        self._start_s = start_s
        self._end_s = end_s
        self._retry_s = retry_s
        self._send: Send | None = None
        self._agent_id = ""
        self._sending: set[asyncio.Future[None]] = set()
        self.records: dict[tuple[str, str], SimulatedTask] = {}

    def registration(self) -> list[Json]:
        """See `Tasks`."""
        return [
            {
                "info": task.info,
                "framework_id": task.framework_id,
                "role": task.role,
                "state": task.state,
                "statuses": task.statuses,
                "status_update_state": task.statuses[-1]["state"] if task.statuses else None,
                "status_update_uuid": task.statuses[-1]["uuid"] if task.statuses else None,
            }
            for task in self.records.values()
        ]

    def frameworks(self) -> list[Json]:
        """See `Tasks`."""
        return list({task.framework_id: task.framework for task in self.records.values()}.values())

    def connect(self, agent_id: str, send: Send) -> None:
        """See `Tasks`."""
        self._agent_id, self._send = agent_id, send
        for task in self.records.values():
            self._deliver(task)

    def disconnect(self) -> None:
        """See `Tasks`."""
        self._send = None

    def run(self, message: Json) -> None:
        """See `Tasks`."""
        task = SimulatedTask(message["framework_info"], message["task"], str(message["role"]))
        key = (task.framework_id, str(task.info["task_id"]["value"]))
        if key in self.records:
            return
        self.records[key] = task
        self._later(self._start_s, lambda: self._start(key))

    def _later(self, pause_s: float, act: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(pause_s, act) if pause_s else loop.call_soon(act)

    def _start(self, key: tuple[str, str]) -> None:
        task = self.records.get(key)
        if task is not None and task.state == "TASK_STAGING":
            self._report(task, "TASK_RUNNING")

    def kill(self, framework_id: str, task_id: str, grace_s: float | None = None) -> None:
        """See `Tasks`."""
        task = self.records.get((framework_id, task_id))
        if task is not None and task.state not in TERMINAL_STATES:
            self._kill(task, None, self._grace_of(task) if grace_s is None else grace_s)

    def drain(self, config: Json) -> None:
        """See `Tasks`."""
        most_s = values.duration_s(config.get("max_grace_period"), math.inf)
        for task in list(self.records.values()):
            if task.state not in TERMINAL_STATES:
                self._kill(task, "REASON_AGENT_DRAINING", min(most_s, self._grace_of(task)))

    @staticmethod
    def _grace_of(task: SimulatedTask) -> float:
        return values.grace_period_s(task.info, _GRACE_S)

    def _kill(self, task: SimulatedTask, reason: str | None, grace_s: float) -> None:
        """End as a process would: after a while of its own, or of its grace period, which only
        gets shorter."""
        if task.state == "TASK_STAGING":
            self._report(task, "TASK_KILLED", reason)
            return
        loop = asyncio.get_running_loop()
        if task.kill_began_s is None:
            task.kill_reason, task.kill_began_s = reason, loop.time()
            if values.hears_of_kills(task.framework):
                self._report(task, "TASK_KILLING")
        ends_s = task.kill_began_s + min(self._end_s, grace_s)
        if task.ending is not None:
            if ends_s >= task.ending.when():
                return
            task.ending.cancel()
        if ends_s <= loop.time():
            self._report(task, "TASK_KILLED", task.kill_reason)
        else:
            task.ending = loop.call_at(ends_s, self._report, task, "TASK_KILLED", task.kill_reason)

    def shut_down(self, framework_id: str | None = None) -> None:
        """See `Tasks`."""
        for key, task in list(self.records.items()):
            if framework_id in {None, task.framework_id}:
                task.pending.clear()
                if task.ending is not None:
                    task.ending.cancel()
                del self.records[key]

    def _report(self, task: SimulatedTask, state: str, reason: str | None = None) -> None:
        status: Json = {
            "task_id": task.info["task_id"],
            "state": state,
            "source": "SOURCE_EXECUTOR",
            "agent_id": task.info["agent_id"],
            "executor_id": task.info["task_id"],
            "timestamp": values.now(),
            "uuid": values.update_uuid(),
            "message": "Simulated: no process runs",
        }
        if reason is not None:
            status["reason"] = reason
        task.state = state
        task.statuses.append(status)
        task.pending.append(status)
        if len(task.pending) == 1:
            self._deliver(task)

    def _deliver(self, task: SimulatedTask) -> None:
        if self._send is None or not task.pending:
            return
        work = asyncio.ensure_future(self._deliver_head(task, task.pending[0], self._send))
        self._sending.add(work)
        work.add_done_callback(self._sending.discard)

    async def _deliver_head(self, task: SimulatedTask, head: Json, send: Send) -> None:
        """Send one status until it is acknowledged, or the connection is another one."""
        pause_s = self._retry_s
        while self._send is send and task.pending and task.pending[0] is head:
            await send(
                {
                    "type": "UPDATE",
                    "agent_id": self._agent_id,
                    "framework_id": task.framework_id,
                    "status": head,
                    "latest_state": task.state,
                }
            )
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _RETRY_FACTOR_MAX * self._retry_s)

    def acknowledge(self, framework_id: str, task_id: str, uuid: str | None) -> None:
        """See `Tasks`."""
        task = self.records.get((framework_id, task_id))
        if task is None or not task.pending or task.pending[0]["uuid"] != uuid:
            return
        task.pending.pop(0)
        if task.state in TERMINAL_STATES and not task.pending:
            del self.records[framework_id, task_id]
            return
        self._deliver(task)


def make_agent(
    settings: SimulatedAgentsSettings, number: int, fail: Callable[[str], Any]
) -> Follower[SimulatedTasks]:
    """One agent: its name and address are made of its number; nobody listens there."""
    resources = settings.resources
    scalars = {"cpus": resources.cpus, "mem": resources.mem, "disk": resources.disk}
    begin, last = resources.ports
    ports = {
        "name": "ports",
        "type": "RANGES",
        "ranges": {"range": [{"begin": begin, "end": last}]},
    }
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return Follower(
        info={
            "hostname": f"simulated-{number}",
            "port": _PORT,
            "resources": [*values.scalar_list(scalars), ports],
            "attributes": [{"name": "simulated", "type": "TEXT", "text": {"value": "true"}}],
            "checkpoint": True,
        },
        pid=f"slave(1)@{address}:{_PORT}",
        tasks=SimulatedTasks(
            start_s=settings.task_start_s,
            retry_s=settings.status_update_retry_s,
            end_s=settings.task_end_s,
        ),
        backoff_s=settings.registration_backoff_s,
        fail=fail,
    )
