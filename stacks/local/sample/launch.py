"""What the sample framework launches: tasks, and canaries that show that an agent runs one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from stacks.local.mesos.values import Json, part
from stacks.local.settings import FrameworkSettings


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
