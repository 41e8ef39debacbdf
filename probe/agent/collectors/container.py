"""Containers of a Docker engine: by its events, never by polling; their use by cgroup files.

The engine's event stream is joined before containers are listed, so nothing falls between the two.
Each event leads to one inspection of its container; a lost stream leads to a new list. Of one that
has gone before it could be inspected, the event itself tells what there is to tell. One that the
engine cannot inspect is missed by itself, told of as far as lists and events do, and asked for
again now and then. A look reads two kept-open counter files a container, no more.
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
from probe.agent.metering import counted
from probe.agent.site import Site
from probe.agent.text import clean, clean_all

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_GONE_ACTIONS = frozenset({"destroy", "remove"})
# What an event says of a container that is there no more.
_STATES = {"create": "created", "start": "running", "die": "exited"}
# Each changes nothing that is told; `exec_*` come by the thousand from health checks.
_IGNORED = ("exec_", "attach", "detach", "top", "resize", "copy", "export", "commit", "archive")
_AGAIN_S = 60.0
_LISTED_S_MAX = 60.0
# A stream of events may be silent for days, and says nothing of an engine that hangs.
_SIGN_S = 30.0


class ContainerCollector:
    """Looks at the containers of a Docker engine."""

    name: ClassVar[str] = "container"
    interval_s: ClassVar[float] = 3.0

    def __init__(self, site: Site, address: str | None = None) -> None:
        self._site = site
        self._table = site.ledger["container"]
        self._address = address or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS
        self._engine = docker.Engine(self._address)
        # One that hangs again holds up no events.
        self._asked_again = docker.Engine(self._address)
        self._asked_again_at = site.clock()
        self._sign_at = site.clock()
        self._unseen: dict[str, str] = {}
        """Containers that the engine did not tell, each with what it did; the last asked last."""
        self._counters = Counters(site)
        self._listening: asyncio.Task[None] | None = None
        self._version = ""
        self._images: set[str] = set()

    async def start(self) -> None:
        """Ask the engine who it is, and begin to listen."""
        try:
            self._version = clean(await self._engine.version())
        except UnreachableError as error:
            told = [id_ for id_ in self._table.ids() if self._table.get(id_, "runtime") == "docker"]
            self._counters.keep_living(told)
            msg = f"no Docker engine at {self._address} ({error})"
            grant = "mount the engine's socket, or set docker_host"
            raise AbsentError(msg, grant=grant) from None
        joined = asyncio.Event()
        self._listening = asyncio.create_task(counted(self._listen(joined)))
        waiting = asyncio.create_task(joined.wait())
        # Where many hang, the list goes on behind the looks.
        await asyncio.wait(
            {self._listening, waiting},
            timeout=_LISTED_S_MAX,
            return_when=asyncio.FIRST_COMPLETED,
        )
        waiting.cancel()
        if self._listening.done():
            self._listening.result()

    async def collect(self) -> None:
        """Read the counters of all running containers."""
        if self._listening is not None and self._listening.done():
            self._listening.result()  # Raises why; the collector is made anew and lists again.
        if self._site.clock() - self._sign_at >= _SIGN_S:
            self._sign_at = self._site.clock()
            await self._engine.ping()
        if self._site.clock() - self._asked_again_at >= _AGAIN_S:
            self._asked_again_at = self._site.clock()
            await self._ask_again()
        self._counters.look()

    def capability(self) -> Capability:
        """Counters need cgroup files; the rest is the engine's."""
        mode = f"Docker {self._version} events, cgroup files"
        misses: list[Miss] = []
        if self._unseen:
            problem = next(iter(self._unseen.values()))
            what = f"{len(self._unseen)} containers that the engine does not tell of ({problem})"
            misses.append(Miss(what, "an engine that can inspect them"))
        if self._counters.blind:
            what = f"counters of {self._counters.blind} containers, whose cgroup cannot be seen"
            grant = "run in the host's pid namespace with /sys/fs/cgroup mounted"
            misses.append(Miss(what, grant))
        return Capability(State.PARTIAL if misses else State.FULL, mode, tuple(misses))

    async def close(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, HttpError):
                await self._listening
        self._counters.close()
        await self._engine.close()
        await self._asked_again.close()

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
        listed = await self._engine.containers()
        self._unseen.clear()
        ids = {one.id for one in listed}
        for id_ in [one for one in self._table.ids() if one not in ids]:
            if self._table.get(id_, "runtime") == "docker":
                self._remove(id_)
        for one in listed:
            if await self._update(one.id):
                continue
            if one.id not in self._unseen:
                self._remove(one.id)
            elif not self._counters.lives(one.id):
                name = one.names[0].lstrip("/") if one.names else ""
                self._tell_briefly(one.id, name, one.image, one.state)

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
            self._tell_event(event)
        self._site.urgent()

    async def _update(self, id_: str) -> bool:
        """Look at a container; False when it is gone, or `_unseen` now."""
        found = await self._inspect(self._engine, id_)
        if found is not None:
            self._tell(found)
        return found is not None

    async def _inspect(self, engine: docker.Engine, id_: str) -> docker.Container | None:
        try:
            found = await engine.inspect(id_)
        except HttpError as error:
            if isinstance(error, UnreachableError):
                await engine.ping()  # Raises where it is the engine that does not answer.
            self._unseen.pop(id_, None)
            self._unseen[id_] = clean(str(error))
            return None
        self._unseen.pop(id_, None)
        return found

    async def _ask_again(self) -> None:
        """Look at those that the engine did not tell, until one is not told again."""
        for id_ in list(self._unseen):
            found = await self._inspect(self._asked_again, id_)
            if found is not None:
                self._tell(found)
            elif id_ in self._unseen:
                break
            else:
                self._remove(id_)

    def _tell_event(self, event: docker.Event) -> None:
        """What an event itself says of a container that cannot be inspected: its end is yet to be
        told of, or it was known when the engine was listed."""
        state = _STATES.get(event.action)
        if event.type != "container" or state is None:
            return
        about = event.attributes
        code = int(about.exit_code) if about.exit_code.isdigit() else None
        self._tell_briefly(event.container, about.name, about.image, state, code)

    def _tell_briefly(
        self, id_: str, name: str, image: str, state: str, exit_code: int | None = None
    ) -> None:
        id_ = clean(id_)
        self._counters.stop(id_)
        self._table.put(
            id_,
            host=self._site.host,
            runtime="docker",
            name=clean(name),
            image_name=clean(image),
            state=clean(state, 32),
            pid=None,
            exit_code=exit_code,
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

    def _remove(self, id_: str) -> None:
        self._unseen.pop(id_, None)
        self._counters.stop(id_)
        self._table.remove(id_)
