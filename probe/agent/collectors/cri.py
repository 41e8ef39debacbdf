"""Containers of a runtime of Kubernetes (containerd, CRI-O): by its events; their use by cgroups.

The runtime is listed when events have begun and each half minute after that, because nothing says
when it has begun to send them. An event leads to a list and a look at what has changed, and to two
more lists soon after: containerd tells of an end before its own list knows of it. Events that come
meanwhile share them. One whose status the runtime does not tell is missed by itself, told of as far
as the list does, and asked for again now and then. A look reads two kept-open counter files a
container, no more. A sandbox is the pause container of a pod: it holds the pod's network, and so it
has its addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, ClassVar

from probe.agent.collector import Capability, Miss, State
from probe.agent.collectors.container_texts import ContainerTexts
from probe.agent.counters import Counters
from probe.agent.cri import Container, Runtime, Status
from probe.agent.errors import AbsentError, AgentError, HttpError, RefusedError, UnreachableError
from probe.agent.grpc import UNIMPLEMENTED
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
        self._tasks: list[asyncio.Task[None]] = []
        self._happened = asyncio.Event()
        self._named = ("", "")
        self._known: dict[str, Container] = {}
        self._unseen = Unseen(site.clock)
        """Containers whose status was not told."""
        self._images: set[str] = set()
        self._has_events = True
        self._listed_at = float("-inf")
        self._lists = 0
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
        self._known = {
            id_: Container(id_, "", "", "")
            for id_ in self._table.ids()
            if self._table.get(id_, "runtime") == self._named[0]
        }
        self._tasks = [
            asyncio.create_task(counted(work)) for work in (self._listen(), self._follow())
        ]

    async def collect(self) -> None:
        """Read the counters of all running containers; list them now and then."""
        for task in self._tasks:
            if task.done():
                task.result()  # Raises why; the collector is made anew and lists again.
        if not self._has_events or self._site.clock() - self._listed_at >= _LIST_S:
            await self._list()
        self._counters.look()

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
        misses += self._texts.misses()
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
        await self._runtime.close()

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
                if await self._list():
                    self._site.urgent()
                if self._happened.is_set():
                    break

    async def _list(self) -> bool:
        """Learn what there is, and look at what has changed; whether anything has."""
        async with self._listing:
            before = dict(self._known)
            found = {one.id: one for one in await self._runtime.containers()}
            for gone in [id_ for id_ in self._known if id_ not in found]:
                self._remove(gone)
            for id_, one in found.items():
                if self._known.get(id_) != one:
                    await self._look(one, found.get(one.sandbox))
            if self._unseen.is_time():
                for one in [found[id_] for id_ in self._unseen]:
                    if not await self._look(one, found.get(one.sandbox)):
                        break
            if self._lists % _IMAGES_LISTS == 0:
                await self._list_images()
            self._lists += 1
            self._listed_at = self._site.clock()
            return self._known != before

    async def _look(self, one: Container, sandbox: Container | None) -> bool:
        """Tell of a container; False where its status cannot be had."""
        status = await answer_of(self._runtime.status(one), self._runtime.version)
        if isinstance(status, HttpError):
            self._unseen.note(one.id, status)
            status = Status(None, [])
        else:
            self._unseen.forget(one.id)
        if status is None:  # It went meanwhile; the next list does not have it.
            return True
        self._known[one.id] = one
        id_ = clean(one.id)
        row = self._table.put(id_, **self._facts(one, status))
        if sandbox is not None:
            is_on_host = self._table.get(clean(sandbox.id), "host_network")
            self._table.set(row, "host_network", is_on_host)
        if status.pid:
            self._counters.run(id_, row, status.pid)
            self._counters.note_change(id_)
        else:
            self._counters.stop(id_)
        return one.id not in self._unseen

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

    async def _list_images(self) -> None:
        images = await self._runtime.images()
        table = self._site.ledger["container_image"]
        now = {clean(image.id) for image in images}
        for gone in self._images - now:
            table.remove(gone)
        self._images = now
        for image in images:
            tags = clean_all(image.tags)
            table.put(
                clean(image.id),
                name=tags[0] if tags else None,
                tags=tags,
                size_bytes=image.size_bytes,
            )

    def _keep_living(self) -> None:
        """How the runtime calls itself nobody says now, so its containers are those of no other."""
        runtimes = {id_: self._table.get(id_, "runtime") for id_ in self._table.ids()}
        self._counters.keep_living(id_ for id_, one in runtimes.items() if one not in _OF_OTHERS)

    def _remove(self, id_: str) -> None:
        self._known.pop(id_, None)
        self._unseen.forget(id_)
        self._texts.forget(clean(id_))
        self._counters.stop(clean(id_))
        self._table.remove(clean(id_))
