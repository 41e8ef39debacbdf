"""Containers of a Docker engine: by its events, never by polling; their use by cgroup files.

The engine's event stream is joined before containers are listed, so nothing falls between the two.
Each event leads to one inspection of its container; a lost stream leads to a new list. Of one that
has gone before it could be inspected, the event itself tells what there is to tell. A look reads
two kept-open counter files a container, no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import ClassVar

from probe.agent import docker
from probe.agent.collector import Capability, Miss, State
from probe.agent.collectors.docker_values import facts
from probe.agent.counters import Counters
from probe.agent.errors import AbsentError, HttpError, UnreachableError
from probe.agent.files import read_or_empty
from probe.agent.metering import counted
from probe.agent.site import Site
from probe.agent.text import clean, clean_all

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_GONE_ACTIONS = frozenset({"destroy", "remove"})
# What an event says of a container that is there no more.
_STATES = {"create": "created", "start": "running", "die": "exited"}
# Each changes nothing that is told; `exec_*` come by the thousand from health checks.
_IGNORED = ("exec_", "attach", "detach", "top", "resize", "copy", "export", "commit", "archive")


class ContainerCollector:
    """Looks at the containers of a Docker engine."""

    name: ClassVar[str] = "container"
    interval_s: ClassVar[float] = 3.0

    def __init__(self, site: Site, address: str | None = None) -> None:
        self._site = site
        self._table = site.ledger["container"]
        self._address = address or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS
        self._engine = docker.Engine(self._address)
        self._counters = Counters(site)
        self._listening: asyncio.Task[None] | None = None
        self._version = ""
        self._images: set[str] = set()

    async def start(self) -> None:
        """Ask the engine who it is, and begin to listen."""
        try:
            self._version = clean(await self._engine.version())
        except UnreachableError as error:
            self._keep_living()
            msg = f"no Docker engine at {self._address} ({error})"
            grant = "mount the engine's socket, or set docker_host"
            raise AbsentError(msg, grant=grant) from None
        joined = asyncio.Event()
        self._listening = asyncio.create_task(counted(self._listen(joined)))
        waiting = asyncio.create_task(joined.wait())
        await asyncio.wait({self._listening, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._listening.done():
            self._listening.result()

    async def collect(self) -> None:
        """Read the counters of all running containers."""
        if self._listening is not None and self._listening.done():
            self._listening.result()  # Raises why; the collector is made anew and lists again.
        self._counters.look()

    def capability(self) -> Capability:
        """Counters need cgroup files; the rest is the engine's."""
        mode = f"Docker {self._version} events, cgroup files"
        blind = self._counters.blind
        if not blind:
            return Capability(State.FULL, mode)
        miss = Miss(
            f"counters of {blind} containers, whose cgroup cannot be seen",
            "run in the host's pid namespace with /sys/fs/cgroup mounted",
        )
        return Capability(State.PARTIAL, mode, (miss,))

    async def close(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, HttpError):
                await self._listening
        self._counters.close()
        await self._engine.close()

    async def _listen(self, joined: asyncio.Event) -> None:
        async with contextlib.aclosing(self._engine.events()) as events:
            async for event in events:
                if event is None:
                    await self._list()
                    joined.set()
                elif event.type == "image":
                    await self._list_images()
                elif not event.action.startswith(_IGNORED):
                    await self._follow(event)

    async def _list(self) -> None:
        """Learn everything anew."""
        await self._list_images()
        ids = await self._engine.containers()
        for id_ in [one for one in self._table.ids() if one not in set(ids)]:
            if self._table.get(id_, "runtime") == "docker":
                self._remove(id_)
        for id_ in ids:
            if not await self._update(id_):
                self._remove(id_)

    async def _list_images(self) -> None:
        images = await self._engine.images()
        table = self._site.ledger["container_image"]
        now = {clean(image.id) for image in images}
        for gone in self._images - now:
            table.remove(gone)
        self._images = now
        for image in images:
            tags = clean_all([tag for tag in image.repo_tags or [] if tag != "<none>:<none>"])
            table.put(
                clean(image.id),
                name=tags[0] if tags else None,
                tags=tags,
                size_bytes=image.size,
            )

    async def _follow(self, event: docker.Event) -> None:
        id_ = event.container
        if not id_:
            return
        if event.type == "container" and event.action == "start":
            hosts = self._site.ledger["host"]
            before = hosts.get(self._site.host, "containers_started")
            count = before + 1 if isinstance(before, int) else 1
            hosts.put(self._site.host, containers_started=count)
        if event.action in _GONE_ACTIONS:
            self._remove(id_)
        elif not await self._update(id_):
            self._tell_gone(event)
        self._site.urgent()

    async def _update(self, id_: str) -> bool:
        """Look at a container; False when it is gone."""
        found = await self._engine.inspect(id_)
        if found is not None:
            self._tell(found)
        return found is not None

    def _tell_gone(self, event: docker.Event) -> None:
        """Its end is yet to be told of, or it was known when the engine was listed."""
        state = _STATES.get(event.action)
        if event.type != "container" or state is None:
            return
        id_, code = clean(event.container), event.attributes.exit_code
        self._counters.stop(id_)
        self._table.put(
            id_,
            host=self._site.host,
            runtime="docker",
            name=clean(event.attributes.name),
            image_name=clean(event.attributes.image),
            state=state,
            pid=None,
            exit_code=int(code) if code.isdigit() else None,
        )

    def _tell(self, found: docker.Container) -> None:
        site = self._site
        id_ = clean(found.id)
        row = self._table.put(id_, host=site.host, **facts(found, redacts=site.redact))
        if found.state.pid:
            self._counters.run(id_, row, found.state.pid)
            self._counters.note_change(id_)
        else:
            self._counters.stop(id_)

    def _keep_living(self) -> None:
        """Without an engine nothing is known of containers but whether their process lives."""
        for id_ in self._table.ids():
            if self._table.get(id_, "runtime") != "docker":
                continue
            pid = self._table.get(id_, "pid")
            groups = read_or_empty(f"{self._site.proc}/{pid}/cgroup") if pid is not None else b""
            if id_.encode() in groups:
                self._counters.blank(id_)
            else:
                self._remove(id_)

    def _remove(self, id_: str) -> None:
        self._counters.stop(id_)
        self._table.remove(id_)
