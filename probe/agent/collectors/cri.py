"""Containers of a runtime of Kubernetes (containerd, CRI-O): by its events; their use by cgroups.

The runtime is listed when events have begun and each half minute after that, because nothing says
when it has begun to send them. An event leads to a list, and to two more soon after: containerd
tells of an end before its own list knows of it. Events that come meanwhile share them. What a list
has anew is looked at over other connections, so that one whose status hangs holds up nobody else,
but for the containers of a sandbox, which come after it. One whose status the runtime does not tell
is missed by itself, told of as far as the list does, and asked for again now and then. A look reads
two kept-open counter files a container, no more. A sandbox is the pause container of a pod: it
holds the pod's network, and so it has its addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, ClassVar

from probe.agent.collector import Capability, Miss, State
from probe.agent.collectors.container_images import ContainerImages, ListedImage
from probe.agent.collectors.container_texts import ContainerTexts
from probe.agent.counters import Counters
from probe.agent.cri import Container, Runtime, Status
from probe.agent.errors import AbsentError, AgentError, HttpError, RefusedError, UnreachableError
from probe.agent.grpc import UNIMPLEMENTED
from probe.agent.inspections import Inspections
from probe.agent.metering import counted
from probe.agent.site import Site
from probe.agent.text import clean, clean_all
from probe.agent.unseen import Unseen, answer_of

SOCKETS = (
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/var/run/crio/crio.sock",
)
_GRANT = "mount the runtime's socket, or set cri_socket"
_OF_OTHERS = (None, "docker", "mesos")
_LIST_S = 30.0
_AFTER_EVENT_S = (0.0, 0.1, 1.0)
_IMAGES_LISTS = 10
# How many looks may hang before one more waits: at what events have led to, and at other lists.
_SOON, _LATER = 3, 2
_LISTED_S_MAX = 60.0


class CriCollector:
    """Looks at the containers of a runtime."""

    name: ClassVar[str] = "cri"
    interval_s: ClassVar[float] = 3.0

    def __init__(self, site: Site, path: str | None = None) -> None:
        self._site = site
        self._table = site.ledger["container"]
        self._path = path or next((one for one in SOCKETS if Path(one).exists()), SOCKETS[0])
        self._runtime = Runtime(self._path)
        self._counters = Counters(site)
        self._texts = ContainerTexts(redacts=site.redact)
        self._inspectors = [
            (Runtime(self._path), is_soon) for is_soon in (*[True] * _SOON, *[False] * _LATER)
        ]
        self._inspections = Inspections(self._hear)
        self._image_lister = Runtime(self._path)
        self._images = ContainerImages(site, self._fetch_images)
        self._tasks: list[asyncio.Task[None]] = []
        self._happened = asyncio.Event()
        self._named = ("", "")
        self._listed: dict[str, Container] = {}
        """As they were listed when a look at them was asked for."""
        self._told: set[str] = set()
        """Those that were looked at."""
        self._behind: dict[str, set[str]] = {}
        """Containers that are looked at once their sandbox has been."""
        self._urgent: set[str] = set()
        """Those that events have led to."""
        self._unseen = Unseen(site.clock)
        """Containers whose status was not told."""
        self._has_events = True
        self._listed_at = float("-inf")
        self._lists = 0
        self._is_first = True
        self._listing = asyncio.Lock()

    async def start(self) -> None:
        """Ask the runtime who it is, and begin to listen."""
        try:
            name, version = await self._runtime.version()
        except UnreachableError as error:
            self._keep_living()
            msg = f"no container runtime at {self._path} ({error})"
            raise AbsentError(msg, grant=_GRANT) from None
        except RefusedError as error:
            if error.status != UNIMPLEMENTED:
                raise
            self._keep_living()
            msg = f"{self._path} has no CRI ({error})"
            raise AbsentError(msg, grant="enable containerd's plugin `cri`") from None
        self._named = (clean(name), clean(version))
        self._listed = {
            id_: Container(id_, "", "", "")
            for id_ in self._table.ids()
            if self._table.get(id_, "runtime") == self._named[0]
        }
        at_work = (
            *(self._listen(), self._follow(), self._images.follow()),
            *(self._inspect(runtime, is_soon=is_soon) for runtime, is_soon in self._inspectors),
        )
        self._tasks = [asyncio.create_task(counted(work)) for work in at_work]

    async def collect(self) -> None:
        """Read the counters of all running containers; list them now and then."""
        self._check()
        if not self._has_events or self._site.clock() - self._listed_at >= _LIST_S:
            await self._list(is_soon=False)
            if self._is_first:
                self._is_first = False
                await self._wait_for_looks()
                self._check()
            elif self._unseen.is_time():
                self._ask_again()
        self._counters.look()

    def _check(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()  # Raises why; the collector is made anew and lists again.

    async def _wait_for_looks(self) -> None:
        """Wait for what the first list has; where many hang, they go on behind the looks."""
        looks = asyncio.create_task(self._inspections.done())
        images = asyncio.create_task(self._images.listed.wait())
        both = asyncio.gather(looks, images)
        await asyncio.wait(
            {*self._tasks, both}, timeout=_LISTED_S_MAX, return_when=asyncio.FIRST_COMPLETED
        )
        both.cancel()

    def capability(self) -> Capability:
        """Counters need cgroup files; the rest is the runtime's."""
        how = "events" if self._has_events else "lists"
        mode = f"{' '.join(self._named)} {how}, cgroup files"
        misses: list[Miss] = []
        if not self._has_events:
            what = "containers that live for less than a look"
            misses.append(Miss(what, "a runtime with GetContainerEvents, or containerd"))
        if self._unseen:
            what = f"status of {len(self._unseen)} containers that the runtime does not tell"
            misses.append(Miss(f"{what} ({self._unseen.problem})", "a runtime that tells it"))
        misses += [*self._texts.misses(), *self._images.misses()]
        if self._counters.blind:
            what = f"counters of {self._counters.blind} containers, whose cgroup cannot be seen"
            grant = "run in the host's pid namespace with /sys/fs/cgroup mounted"
            misses.append(Miss(what, grant))
        return Capability(State.PARTIAL if misses else State.FULL, mode, tuple(misses))

    async def close(self) -> None:
        """Stop listening."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError, AgentError):
                await task
        self._counters.close()
        others = (runtime for runtime, _ in self._inspectors)
        for runtime in (self._runtime, self._image_lister, *others):
            await runtime.close()

    async def _listen(self) -> None:
        try:
            async with contextlib.aclosing(self._runtime.events()) as events:
                async for _ in events:
                    self._happened.set()
        except RefusedError as error:
            if error.status != UNIMPLEMENTED:
                raise
            self._has_events = False
            return
        msg = f"expected events of {self._path} to go on, saw their end"
        raise UnreachableError(msg)

    async def _follow(self) -> None:
        """List after events."""
        while True:
            await self._happened.wait()
            self._happened.clear()
            for pause in _AFTER_EVENT_S:
                await asyncio.sleep(pause)
                await self._list(is_soon=True)
                if self._happened.is_set():
                    break

    async def _list(self, *, is_soon: bool) -> None:
        """Learn what there is, and have looked at what has changed."""
        async with self._listing:
            found = {one.id: one for one in await self._runtime.containers()}
            for gone in [id_ for id_ in self._listed if id_ not in found]:
                self._remove(gone)
                if is_soon:
                    self._site.urgent()
            for id_, one in found.items():
                if self._listed.get(id_) == one:
                    continue
                self._listed[id_] = one
                if is_soon:
                    self._urgent.add(id_)
                if one.sandbox in found and one.sandbox not in self._told:
                    self._behind.setdefault(one.sandbox, set()).add(id_)
                else:
                    self._inspections.ask(id_, is_soon=is_soon and id_ not in self._unseen)
            if self._lists % _IMAGES_LISTS == 0:
                self._images.note_change()
            self._lists += 1
            self._listed_at = self._site.clock()

    async def _inspect(self, runtime: Runtime, *, is_soon: bool) -> None:
        async def look(id_: str) -> Status | HttpError | None:
            return await answer_of(runtime.status(self._listed[id_]), self._runtime.version)

        await self._inspections.work(look, is_soon=is_soon)

    def _hear(self, id_: str, status: Status | HttpError | None) -> None:
        """Tell of a container as far as it is known; None for one that went meanwhile: the next
        list does not have it."""
        was_unseen = id_ in self._unseen
        if isinstance(status, HttpError):
            self._unseen.note(id_, status)
            status = Status(None, [])
        else:
            self._unseen.forget(id_)
        if status is not None:
            self._tell(self._listed[id_], status)
        self._told.add(id_)
        is_urgent = id_ in self._urgent
        self._urgent.discard(id_)
        if is_urgent:
            self._site.urgent()
        for behind in self._behind.pop(id_, ()):
            self._inspections.ask(behind, is_soon=behind in self._urgent)
        if was_unseen and id_ not in self._unseen:
            self._ask_again()

    def _ask_again(self) -> None:
        """Look at one that the runtime did not tell of; if it does now, at the next one."""
        for id_ in self._unseen:
            self._inspections.ask(id_, is_soon=False)
            break

    def _tell(self, one: Container, status: Status) -> None:
        id_ = clean(one.id)
        row = self._table.put(id_, **self._facts(one, status))
        if one.sandbox in self._listed:
            is_on_host = self._table.get(clean(one.sandbox), "host_network")
            self._table.set(row, "host_network", is_on_host)
        if status.pid:
            self._counters.run(id_, row, status.pid)
            self._counters.note_change(id_)
        else:
            self._counters.stop(id_)

    def _facts(self, one: Container, status: Status) -> dict[str, Any]:
        return {
            **self._texts.shown(clean(one.id), status.command, one.labels),
            "host": self._site.host,
            "runtime": self._named[0],
            "name": clean(one.name),
            "pod": clean(one.pod) or None,
            "image": clean(one.image) or None,
            "image_name": clean(one.image_name) or None,
            "state": one.state,
            "pid": status.pid,
            "created_ms": one.created_ms,
            "started_ms": status.started_ms,
            "exit_code": status.exit_code,
            "restarts": one.attempt,
            "addresses": clean_all(list(status.addresses)),
            "host_network": status.host_network,
            "pause": one.is_sandbox,
        }

    async def _fetch_images(self) -> list[ListedImage]:
        found = await self._image_lister.images()
        return [ListedImage(one.id, one.tags, one.size_bytes) for one in found]

    def _keep_living(self) -> None:
        """How the runtime calls itself nobody says now, so its containers are those of no other."""
        runtimes = {id_: self._table.get(id_, "runtime") for id_ in self._table.ids()}
        self._counters.keep_living(id_ for id_, one in runtimes.items() if one not in _OF_OTHERS)

    def _remove(self, id_: str) -> None:
        gone = self._listed.pop(id_, None)
        self._inspections.drop(id_)
        self._told.discard(id_)
        self._urgent.discard(id_)
        self._unseen.forget(id_)
        if gone is not None:
            self._behind.get(gone.sandbox, set()).discard(id_)
        for behind in self._behind.pop(id_, ()):
            self._inspections.ask(behind, is_soon=behind in self._urgent)
        self._texts.forget(clean(id_))
        self._counters.stop(clean(id_))
        self._table.remove(clean(id_))
