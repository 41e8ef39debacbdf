"""Statuses that a master makes by itself."""

from __future__ import annotations

from typing import Any

from stacks.local.mesos import values
from stacks.local.mesos.cluster import Task
from stacks.local.mesos.values import Json


def status(
    task: Task,
    state: str,
    *,
    message: str,
    reason: str,
    uuid: str | None = None,
) -> Json:
    """A status that the master itself makes; without a uuid nobody acknowledges it."""
    made: dict[str, Any] = {
        "task_id": {"value": task.id},
        "state": state,
        "message": message,
        "source": "SOURCE_MASTER",
        "reason": reason,
        "agent_id": {"value": task.agent_id},
        "timestamp": values.now(),
    }
    if uuid is not None:
        made["uuid"] = uuid
    return made
