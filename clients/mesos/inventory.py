"""What runs on a cluster, read while the answer arrives.

Takes the bytes of GET_STATE, GET_AGENTS, GET_TASKS or GET_FRAMEWORKS, or a SUBSCRIBED event, and
keeps only the values that clients.mesos.model has: texts that thousands of tasks share (states, ids
of frameworks and agents, resources) are held once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from clients.mesos import parse, wire
from clients.mesos.elements import Decode, Elements, Path
from clients.mesos.model import (
    Agent,
    Agents,
    Framework,
    Frameworks,
    RecoveredAgent,
    State,
    Task,
    Tasks,
)

_LISTS: dict[str, tuple[str, ...]] = {
    "get_agents": ("agents", "recovered_agents"),
    "get_frameworks": ("frameworks", "completed_frameworks", "recovered_frameworks"),
    "get_tasks": (
        "tasks",
        "unreachable_tasks",
        "completed_tasks",
        "pending_tasks",
        "orphan_tasks",
    ),
    # Not kept, and by far not small.
    "get_executors": ("executors", "orphan_executors"),
    "get_operations": ("operations",),
}
# Of what may be many; the others are few enough to be dictionaries first.
_DECODERS: dict[str, Decode] = {
    **dict.fromkeys(("tasks", "unreachable_tasks", "completed_tasks"), wire.decode_task),
    **dict.fromkeys(
        ("pending_tasks", "orphan_tasks", "executors", "orphan_executors", "operations"), wire.skip
    ),
}
_AROUND: dict[str, tuple[Path, ...]] = {
    "GET_STATE": (("get_state",),),
    "SUBSCRIBED": (("subscribed", "get_state"), ("get_state",)),
}


class Inventory:
    """Collects one answer. `kind` is the call it answers, or SUBSCRIBED.

    Raises (feed, close):
        ProtocolError: what came is no such answer, or was cut.
    """

    def __init__(self, kind: str) -> None:
        around = _AROUND.get(kind, ((),))
        names = [kind.lower()] if kind.lower() in _LISTS else list(_LISTS)
        self._elements = Elements(
            {
                (*start, name, items): _DECODERS.get(items)
                for start in around
                for name in names
                for items in _LISTS[name]
            }
        )
        self.kind = kind
        self.scalars: dict[str, Any] = {}
        self._agents: list[Agent] = []
        self._recovered: list[RecoveredAgent] = []
        self._live: list[Task] = []
        self._unreachable: list[Task] = []
        self._completed: list[Task] = []
        self._frameworks: list[Framework] = []
        self._completed_frameworks: list[Framework] = []
        self._shared = parse.Shared()
        self._tasks: dict[str, list[Task]] = {
            "tasks": self._live,
            "unreachable_tasks": self._unreachable,
            "completed_tasks": self._completed,
        }
        self._keep: dict[str, Callable[[parse.Json], None]] = {
            "agents": lambda one: self._agents.append(parse.agent(one)),
            "recovered_agents": lambda one: self._recovered.append(parse.recovered_agent(one)),
            "frameworks": lambda one: self._frameworks.append(parse.framework(one)),
            "completed_frameworks": lambda one: self._completed_frameworks.append(
                parse.framework(one)
            ),
        }

    def feed(self, data: bytes) -> None:
        """Add bytes."""
        self._take(self._elements.feed(data))

    def close(self) -> None:
        """Say that no more comes."""
        self._take(self._elements.close())
        if self.scalars.get("type") != self.kind:
            seen = self.scalars.get("type", "another answer")
            parse.refuse(f"an answer to {self.kind}", seen)

    def _take(self, found: list[tuple[Path, Any]]) -> None:
        for path, value in found:
            if isinstance(value, wire.Task):
                self._tasks[path[-1]].append(parse.task_of(value, self._shared))
                continue
            if len(path) == 1:
                self.scalars[path[0]] = value
                continue
            keep = self._keep.get(path[-1])
            if keep is not None and isinstance(value, dict):
                keep(cast("parse.Json", value))
            elif not isinstance(value, (dict, list)):
                self.scalars[path[-1]] = value

    @property
    def agents(self) -> Agents:
        """Agents."""
        return Agents(tuple(self._agents), tuple(self._recovered))

    @property
    def tasks(self) -> Tasks:
        """Tasks."""
        return Tasks(tuple(self._live), tuple(self._unreachable), tuple(self._completed))

    @property
    def frameworks(self) -> Frameworks:
        """Frameworks."""
        return Frameworks(tuple(self._frameworks), tuple(self._completed_frameworks))

    @property
    def state(self) -> State:
        """All of it."""
        return State(agents=self.agents, tasks=self.tasks, frameworks=self.frameworks)
