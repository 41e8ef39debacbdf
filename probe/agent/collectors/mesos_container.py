"""Containers of the Mesos containerizer: cgroups called `mesos/ID`, with the processes in them.

No agent has to be asked: the containerizer gives each of its containers a cgroup named by the
container's id, and a nested one its parent's with its own below. What task it runs is known by that
id from the task's status, where a collector of this probe asks its masters, or else from the agent
of this node, which says which executor each container is (`/containers`). Containers of other
runtimes that run a task get its framework, app and role here, too. A look reads one file of each
new process; between looks the kernel tells when a group comes or goes, where it lies at the top of
its hierarchy, as the containerizer's do.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from probe.agent.collector import Capability, Miss, State
from probe.agent.counters import Counters
from probe.agent.errors import AgentError
from probe.agent.files import read_or_empty
from probe.agent.mesos_agent import MesosAgent, Told
from probe.agent.metering import Reader, counted
from probe.agent.settings import MesosAgent as AgentSettings
from probe.agent.site import Site
from probe.agent.text import clean
from probe.report.schema import Value

if TYPE_CHECKING:
    from probe.agent.folder_events import FolderEvents

# The outermost container: what is nested in it belongs to the same task group.
_ID = re.compile(rb"/mesos/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:/|\n|$)")
_OF_TASKS = ("framework", "app", "role")
# Of both versions; one hierarchy is enough to hear of.
_ROOTS = ("mesos", "memory/mesos", "cpuacct/mesos", "cpu,cpuacct/mesos", "freezer/mesos")
_NAME = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# A group is made first, and a process put into it a moment later.
_EMPTY_RETRY_S = 0.05
_EMPTY_RETRIES = 40


class MesosContainerCollector:
    """Looks at cgroups of processes."""

    name: ClassVar[str] = "mesos_container"
    interval_s: ClassVar[float] = 3.0

    def __init__(self, site: Site, agents: Sequence[AgentSettings] = ()) -> None:
        self._site = site
        self._table = site.ledger["container"]
        self._counters = Counters(site)
        self._agents = [
            MesosAgent(one.url, Path(one.credential_file) if one.credential_file else None)
            for one in agents
        ]
        self._problems: dict[str, str] = {}
        self._told: dict[str, Told] = {}
        self._known: dict[str, str | None] = {}
        """Nodes of processes, each with the container that it is in."""
        self._events: FolderEvents | None = None
        self._reader: Reader | None = None
        self._following: asyncio.Task[None] | None = None
        self._happened = asyncio.Event()
        self._root = ""
        self._groups: dict[str, list[int]] = {}
        """Containers by their groups, each with its processes, if nobody else knows of any."""
        self._used: set[str | None] = set()
        """Containers whose group has had a process: if it is empty, it was left behind."""
        self._ended: set[str] = set()
        """Containers whose group has gone, while their processes are not yet known to have."""

    async def start(self) -> None:
        """Let go of what a life before has left; cgroups come with processes."""
        for id_ in self._table.ids():
            if self._table.get(id_, "runtime") == "mesos":
                self._counters.stop(id_)
                self._table.remove(id_)

    async def collect(self) -> None:
        """Look at new processes, and at the counters of their containers."""
        if self._following is not None and self._following.done():
            self._following.result()  # Raises why; the collector is made anew.
        if self._reader is not None:
            self._reader.check()
        self._watch()
        here = {known.id: pid for pid, known in self._site.processes.items()}
        for gone in self._known.keys() - here.keys():
            del self._known[gone]
        for id_ in here.keys() - self._known.keys():
            self._known[id_] = self._container_of(here[id_])
        self._look_at_groups()
        self._ended &= {container for container in self._known.values() if container is not None}
        members = self._members(here)
        tasks = self._tasks()
        if any(one not in tasks and one not in self._told for one in members):
            await self._ask(members, tasks)
        self._tell(members, tasks)
        self._tell_of_others()
        self._counters.look()

    def capability(self) -> Capability:
        """Counters need cgroup files, names an agent or masters to ask."""
        way = ", by events" if self._root else ""
        mode = f"cgroups of {len(self._counters.ids())} containers{way}"
        misses = [
            Miss(f"tasks of containers, by the agent at {place} ({problem})", "let it answer")
            for place, problem in self._problems.items()
        ]
        if self._counters.blind:
            what = f"counters of {self._counters.blind} containers of Mesos"
            misses.append(Miss(what, "mount /sys/fs/cgroup of the host"))
        return Capability(State.PARTIAL if misses else State.FULL, mode, tuple(misses))

    async def close(self) -> None:
        """Close files and connections."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
        if self._reader is not None:
            self._reader.close()
        if self._events is not None:
            self._events.close()
        self._counters.close()
        for agent in self._agents:
            await agent.close()

    def _watch(self) -> None:
        """Hear of groups that come and go, as soon as there is a place for them."""
        if self._root:
            return
        found = [f"{self._site.cgroups}/{name}" for name in _ROOTS]
        root = next((one for one in found if Path(one).is_dir()), "")
        if not root:
            return
        if self._events is None:
            # Costs a megabyte, and most machines have no such groups.
            from probe.agent.folder_events import FolderEvents  # noqa: PLC0415 - as above

            self._events = FolderEvents()
            self._reader = Reader(self._events.fileno(), self._take_events)
            self._following = asyncio.create_task(self._follow())
        self._events.add(root)
        self._root = root

    def _take_events(self) -> None:
        assert self._events is not None, "only its events call this"
        self._events.drain()
        self._happened.set()

    async def _follow(self) -> None:
        await counted(self._tell_of_groups())

    async def _tell_of_groups(self) -> None:
        """Tell of groups as they come and go, until cancelled."""
        while True:
            await self._happened.wait()
            self._happened.clear()
            for _ in range(_EMPTY_RETRIES):
                self._look_at_groups()
                here = {known.id: pid for pid, known in self._site.processes.items()}
                self._tell(self._members(here), self._tasks())
                if self._groups.keys() <= self._used:
                    break
                await asyncio.sleep(_EMPTY_RETRY_S)

    def _look_at_groups(self) -> None:
        """What containers have a group now."""
        if not self._root:
            return
        try:
            names = [one.name for one in Path(self._root).iterdir() if _NAME.fullmatch(one.name)]
        except OSError:
            # The agent and all its groups have gone; the next one makes another place.
            assert self._events is not None, "without it there is no root"
            self._events.forget(self._root)
            self._root, names = "", []
        self._ended |= self._groups.keys() - set(names)
        self._ended.difference_update(names)
        # Others know who is in most of them. A group that its agent left behind may be empty for
        # ever, so what was found in one holds no longer than until the next time.
        known = set(self._known.values())
        self._groups = {name: [] if name in known else self._within(name) for name in names}
        self._used &= set(names)
        self._used |= known | {name for name, pids in self._groups.items() if pids}

    def _within(self, container: str) -> list[int]:
        """Processes of a group, as far as this process's /proc knows them by the same numbers."""
        pids = read_or_empty(f"{self._root}/{container}/cgroup.procs").split()
        ours = (int(pid) for pid in pids if pid != b"0")
        return [pid for pid in ours if self._container_of(pid) == container]

    def _container_of(self, pid: int) -> str | None:
        found = _ID.search(read_or_empty(f"{self._site.proc}/{pid}/cgroup"))
        return found[1].decode() if found else None

    def _members(self, here: Mapping[str, int]) -> dict[str, list[int]]:
        """Containers, each with its processes: of those that are known, and of new groups."""
        members: dict[str, list[int]] = {}
        for id_, container in self._known.items():
            if container is not None and container not in self._ended and id_ in here:
                members.setdefault(container, []).append(here[id_])
        for container, pids in self._groups.items():
            if pids:
                members.setdefault(container, pids)
        return members

    async def _ask(self, members: Iterable[str], tasks: Mapping[str, str]) -> None:
        """Ask the agents of this node; what they do not know either is not asked for again.

        Whoever does not answer is missed only while a container is left that nobody knows: where
        agents of both colours may stand, one of them often does not.
        """
        told: dict[str, Told] = {}
        self._problems = {}
        for agent in self._agents:
            try:
                told |= await agent.containers()
            except AgentError as error:
                self._problems[str(agent.place)] = clean(str(error))
        if all(one in told or one in tasks for one in members):
            self._problems = {}
        if not self._problems:
            told = {one: told.get(one, Told(None, "", None)) for one in members}
        self._told = told

    def _tell(self, members: Mapping[str, list[int]], tasks: Mapping[str, str]) -> None:
        before = set(self._counters.ids())
        for container in before - members.keys():
            self._counters.stop(container)
            self._table.remove(container)
        for container, pids in members.items():
            first = min(pids)
            told = self._told.get(container)
            task = tasks.get(container) or (told.task if told is not None else None)
            values = self._of_task(task)
            if told is not None:
                values["framework"] = values["framework"] or told.framework
            row = self._table.put(
                container,
                host=self._site.host,
                runtime="mesos",
                state="running",
                pid=first,
                task=task,
                name=self._name(task) or (told.executor if told is not None else None) or None,
                **values,
            )
            self._counters.run(container, row, first)
        if before != set(members):
            self._site.urgent()

    def _tell_of_others(self) -> None:
        """Containers of other runtimes that run a task of Mesos."""
        for id_ in self._table.ids():
            task = self._table.get(id_, "task")
            if isinstance(task, str) and self._table.get(id_, "runtime") != "mesos":
                self._table.put(id_, **self._of_task(task))

    def _tasks(self) -> dict[str, str]:
        """Tasks by their container, or by that of their process."""
        found: dict[str, str] = {}
        for id_, task in self._site.ledger["mesos_task"]:
            container = task.get("container") or self._known.get(str(task.get("process")))
            if isinstance(container, str):
                found[container] = id_
        return found

    def _of_task(self, task: str | None) -> dict[str, Value]:
        table = self._site.ledger["mesos_task"]
        return {name: table.get(task, name) if task is not None else None for name in _OF_TASKS}

    def _name(self, task: str | None) -> str | None:
        name = None if task is None else self._site.ledger["mesos_task"].get(task, "name")
        return name if isinstance(name, str) else None
