"""What the sample framework launches: tasks, and canaries that show that an agent runs one."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from stacks.local.mesos.values import Json, part
from stacks.local.settings import FrameworkSettings

_AGENTS_MAX = 1000
_VERDICTS = {"TASK_FINISHED": True, "TASK_FAILED": False}


@dataclass
class Canary:
    """A short task that shows that an agent can run something; `command` is what it runs."""

    id: str
    wanted: Json
    done: asyncio.Future[Json]
    command: str = "exit 0"
    agent_id: str | None = None
    agent_hostname: str | None = None
    states: list[str] = field(default_factory=list[str])
    limited: bool = False
    asked_at: float = field(default_factory=time.time)

    @property
    def report(self) -> Json:
        """What is known of it: `ok` is None until it has ended by itself. One that was lost, killed
        or never launched told nothing of its agent."""
        return {
            "task_id": self.id,
            "agent_id": self.agent_id,
            "limited": self.limited,
            "states": list(self.states),
            "ok": _VERDICTS.get(self.states[-1]) if self.states else None,
            "at": round(self.asked_at, 6),
        }


class Reports:
    """The last canary of each agent."""

    def __init__(self) -> None:
        self._of: dict[str, Canary] = {}

    def note(self, canary: Canary) -> None:
        """One is on its way to its agent."""
        if canary.agent_id is None:
            return
        # The newest comes last; agents that are long gone make room.
        self._of.pop(canary.agent_id, None)
        self._of[canary.agent_id] = canary
        while len(self._of) > _AGENTS_MAX:
            del self._of[next(iter(self._of))]

    def told(self) -> list[Json]:
        """As GET /state answers them."""
        return [canary.report for canary in self._of.values()]


def task_info(settings: FrameworkSettings, offer: Json, task_id: str, command: str) -> Json:
    """A task for an offer's agent."""
    allocation = {"role": settings.role}

    def scalar(name: str, value: float) -> Json:
        return {
            "name": name,
            "type": "SCALAR",
            "scalar": {"value": value},
            "allocation_info": allocation,
        }

    return {
        "name": settings.name,
        "task_id": {"value": task_id},
        "agent_id": offer["agent_id"],
        "resources": [scalar("cpus", settings.task_cpus), scalar("mem", settings.task_mem)],
        "command": {"shell": True, "value": command},
    }


def matches(offer: Json, wanted: Json) -> bool:
    """Whether an offer is of the agent that a canary was asked for."""
    seen: Json = {
        "agent_id": offer["agent_id"]["value"],
        "agent_hostname": offer["hostname"],
        "agent_port": part(part(offer, "url"), "address").get("port"),
    }
    return all(seen[name] == given for name, given in wanted.items() if given is not None)
