"""What the operator API's event stream tells, as frozen values.

Kinds that this client does not know are `Other`, because a newer master may tell more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clients.mesos import parse
from clients.mesos.model import Agent, Framework, State, Task
from clients.mesos.parse import Json


@dataclass(frozen=True)
class Subscribed:
    """The first event: all there is."""

    state: State


@dataclass(frozen=True)
class Heartbeat:
    """The master is there."""


@dataclass(frozen=True)
class TaskAdded:
    """A task was launched."""

    task: Task


@dataclass(frozen=True)
class TaskUpdated:
    """A task's state changed. `updated_at` is in seconds since the epoch."""

    framework_id: str
    task_id: str
    agent_id: str
    state: str
    reason: str | None
    message: str | None
    updated_at: float | None


@dataclass(frozen=True)
class AgentAdded:
    """An agent registered."""

    agent: Agent


@dataclass(frozen=True)
class AgentRemoved:
    """An agent is gone."""

    agent_id: str


@dataclass(frozen=True)
class FrameworkAdded:
    """A framework subscribed for the first time."""

    framework: Framework


@dataclass(frozen=True)
class FrameworkUpdated:
    """A framework changed, or came back."""

    framework: Framework


@dataclass(frozen=True)
class FrameworkRemoved:
    """A framework is completed."""

    framework_id: str


@dataclass(frozen=True)
class Other:
    """A kind that this client does not know."""

    kind: str


Event = (
    Subscribed
    | Heartbeat
    | TaskAdded
    | TaskUpdated
    | AgentAdded
    | AgentRemoved
    | FrameworkAdded
    | FrameworkUpdated
    | FrameworkRemoved
    | Other
)


def _task_updated(body: Json) -> TaskUpdated:
    status: Json = body["status"]
    agent: Json = status.get("agent_id") or {}
    timestamp = status.get("timestamp")
    return TaskUpdated(
        framework_id=str(body["framework_id"]["value"]),
        task_id=str(status["task_id"]["value"]),
        agent_id=str(agent.get("value", "")),
        state=str(body.get("state") or status["state"]),
        reason=status.get("reason"),
        message=status.get("message"),
        updated_at=None if timestamp is None else float(timestamp),
    )


_PARSERS: dict[str, Callable[[Json], Event]] = {
    "HEARTBEAT": lambda _: Heartbeat(),
    "TASK_ADDED": lambda body: TaskAdded(parse.task(body["task"])),
    "TASK_UPDATED": _task_updated,
    "AGENT_ADDED": lambda body: AgentAdded(parse.agent(body["agent"])),
    "AGENT_REMOVED": lambda body: AgentRemoved(str(body["agent_id"]["value"])),
    "FRAMEWORK_ADDED": lambda body: FrameworkAdded(parse.framework(body["framework"])),
    "FRAMEWORK_UPDATED": lambda body: FrameworkUpdated(parse.framework(body["framework"])),
    "FRAMEWORK_REMOVED": lambda body: FrameworkRemoved(str(body["framework_info"]["id"]["value"])),
}


@parse.checked
def event(record: Json) -> Event:
    """Any event but the first."""
    kind = str(record["type"])
    parser = _PARSERS.get(kind)
    return Other(kind) if parser is None else parser(record.get(kind.lower()) or {})
