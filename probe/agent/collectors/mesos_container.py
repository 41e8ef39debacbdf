"""Containers of the Mesos containerizer: cgroups called `mesos/ID`, with the processes in them.

No agent has to be asked: the containerizer gives each of its containers a cgroup named by the
container's id, and a nested one its parent's with its own below. What task it runs is told by the
`mesos` collector, where that knows the task's process. A look reads one file of each new process.
"""

from __future__ import annotations

import re
from typing import ClassVar

from probe.agent.collector import Capability, Miss, State
from probe.agent.counters import Counters
from probe.agent.files import read_or_empty
from probe.agent.site import Site

# The outermost container: what is nested in it belongs to the same task group.
_ID = re.compile(rb"/mesos/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:/|\n|$)")


class MesosContainerCollector:
    """Looks at cgroups of processes."""

    name: ClassVar[str] = "mesos_container"
    interval_s: ClassVar[float] = 3.0

    def __init__(self, site: Site) -> None:
        self._site = site
        self._table = site.ledger["container"]
        self._counters = Counters(site)
        self._known: dict[str, str | None] = {}
        """Nodes of processes, each with the container that it is in."""

    async def start(self) -> None:
        """Nothing to find out: cgroups come with processes."""

    async def collect(self) -> None:
        """Look at new processes, and at the counters of their containers."""
        here = {known.id: pid for pid, known in self._site.processes.items()}
        for gone in self._known.keys() - here.keys():
            del self._known[gone]
        for id_ in here.keys() - self._known.keys():
            found = _ID.search(read_or_empty(f"{self._site.proc}/{here[id_]}/cgroup"))
            self._known[id_] = found[1].decode() if found else None
        members: dict[str, list[int]] = {}
        for id_, container in self._known.items():
            if container is not None:
                members.setdefault(container, []).append(here[id_])
        self._tell(members)
        self._counters.look()

    def capability(self) -> Capability:
        """Counters need cgroup files."""
        mode = f"cgroups of {len(self._counters.ids())} containers"
        if not self._counters.blind:
            return Capability(State.FULL, mode)
        what = f"counters of {self._counters.blind} containers of Mesos"
        return Capability(State.PARTIAL, mode, (Miss(what, "mount /sys/fs/cgroup of the host"),))

    async def close(self) -> None:
        """Close files."""
        self._counters.close()

    def _tell(self, members: dict[str, list[int]]) -> None:
        tasks = self._tasks()
        before = set(self._counters.ids())
        for container in before - members.keys():
            self._counters.stop(container)
            self._table.remove(container)
        for container, pids in members.items():
            first = min(pids)
            nodes = [self._site.process_id(pid) for pid in pids]
            task = next((tasks[node] for node in nodes if node in tasks), None)
            row = self._table.put(
                container,
                host=self._site.host,
                runtime="mesos",
                state="running",
                pid=first,
                task=task,
                name=None if task is None else self._name(task),
            )
            self._counters.run(container, row, first)
        if before != members.keys():
            self._site.urgent()

    def _tasks(self) -> dict[str | None, str]:
        """Tasks by the node of their process."""
        return {
            process: id_
            for id_, task in self._site.ledger["mesos_task"]
            if isinstance(process := task.get("process"), str)
        }

    def _name(self, task: str) -> str | None:
        name = self._site.ledger["mesos_task"].get(task, "name")
        return name if isinstance(name, str) else None
