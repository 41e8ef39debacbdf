"""Instances of Marathon's apps: which of them may be asked, and at which ports. Pure.

What everybody who leads requests to apps must see alike; whom they lead to which app, and how, is
their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clients.marathon.model import App, Task

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_RUNNING, _KILLING = "TASK_RUNNING", "TASK_KILLING"


@dataclass(frozen=True)
class Instance:
    """A task that runs. `is_ending`: it was asked to end, and may answer until it does. `is_well`
    is None where its app has health checks and Marathon has not heard of any yet."""

    task: Task
    host: str
    is_ending: bool
    is_well: bool | None


@dataclass(frozen=True)
class Problem:
    """A label that cannot be followed, and why."""

    app_id: str
    label: str
    why: str

    def __str__(self) -> str:
        return f"{self.app_id}: {self.label}: {self.why}"


def running(apps: Sequence[App], tasks: Sequence[Task]) -> dict[str, list[Instance]]:
    """Instances by their app's id, in the order of the tasks. A host that is no name is nobody's:
    it would end up in what is written of it."""
    asked = {app.id for app in apps if app.has_health_checks}
    found: dict[str, list[Instance]] = {}
    for task in tasks:
        if task.state in {_RUNNING, _KILLING} and task.host and _NAME.fullmatch(task.host):
            # Nobody looks: a task that runs is taken for well.
            is_well = task.healthy if task.app_id in asked else task.healthy is not False
            one = Instance(task, task.host, task.state == _KILLING, is_well)
            found.setdefault(task.app_id, []).append(one)
    return found


def declared_ports(definition: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Ports of an app as it declares them, in the order of its tasks' ports."""
    container: Mapping[str, Any] = definition.get("container") or {}
    docker: Mapping[str, Any] = container.get("docker") or {}
    yield from (
        container.get("portMappings")
        or docker.get("portMappings")
        or definition.get("portDefinitions")
        or []
    )
