"""Processes of tasks, as this machine has them: they must live on while nobody who knows them does.

An agent's `/state` tells them, and the sample framework; a real agent does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stacks.demo.observations import TaskSample
from stacks.local.mesos import executor

Json = Mapping[str, Any]


class Processes:
    """Processes of tasks, by id and start time: an id alone comes round again."""

    def __init__(self, start_time: Callable[[int], int | None] | None = None) -> None:
        self._start_time = start_time or executor.start_time
        self._found: dict[str, tuple[int, int]] = {}

    def pid(self, task: str) -> int:
        """The process that a task is known to have."""
        return self._found[task][0]

    def look(self) -> dict[str, bool]:
        """Known tasks, and whether the process of each lives now."""
        return {
            task: self._start_time(pid) == started for task, (pid, started) in self._found.items()
        }

    def learn(self, task: str, pid: int) -> bool:
        """Note a process; whether it lives."""
        started = self._start_time(pid)
        if started is None:
            return False
        self._found[task] = (pid, started)
        return True

    def forget(self, task: str) -> None:
        """Look no more at a task that has ended."""
        self._found.pop(task, None)

    def learn_from_agent(self, state: Json, framework_id: str | None) -> None:
        """Note processes of a framework that an agent tells, and it has not told itself yet."""
        for task in state.get("tasks") or ():
            name = str(task["id"])
            is_ours = task.get("framework_id") == framework_id
            is_of_interest = is_ours and name not in self._found and not name.startswith("canary-")
            if is_of_interest and task["state"] == "TASK_RUNNING" and task["pid"]:
                self.learn(name, int(task["pid"]))

    def sample(self, state: Json, looked: Mapping[str, bool], at: float) -> TaskSample:
        """What the state of a subscribed framework amounts to.

        `looked` is what was known when it was asked. Tasks that were learned of since are looked at
        now: somebody else may have told of them while the framework answered.
        """
        pids: dict[str, int] = {}
        healthy = 0
        for task in state["tasks"]:
            name, pid = str(task["id"]), task["pid"]
            is_other = bool(pid) and (name not in self._found or self.pid(name) != pid)
            if is_other:
                lives = self.learn(name, int(pid))
            else:
                lives = looked[name] if name in looked else self.look().get(name, False)
            if name in self._found:
                pids[name] = self.pid(name)
            # A framework that has just been started calls tasks staging until it hears of them.
            unheard = pid is None and name in self._found
            healthy += bool(lives and (task["healthy"] or unheard))
        for gone in set(self._found) - {str(task["id"]) for task in state["tasks"]}:
            if not looked.get(gone, True):
                del self._found[gone]
        return TaskSample(
            at=at,
            target=int(state["target"]),
            healthy=healthy,
            told=int(state["healthy"]),
            pids=pids,
            framework_id=state["framework_id"],
        )
