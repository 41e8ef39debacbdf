"""Containers of a Docker engine: by its events, never by polling; their use by cgroup files.

The engine's event stream is joined before containers are listed, so nothing falls between the two.
Each event leads to one inspection of its container; a lost stream leads to a new list. Inspections
have connections of their own, and so have images: one that hangs holds up no event. Of a container
that has gone before it could be inspected, the event itself tells what there is to tell. One that
the engine cannot inspect is missed by itself, told of as far as lists and events do, and asked for
again now and then. A look reads two kept-open counter files a container, no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import ClassVar

from probe.agent import docker
from probe.agent.collector import Capability, Miss, State
from probe.agent.collectors.container_images import ContainerImages, ListedImage
from probe.agent.collectors.container_texts import ContainerTexts
from probe.agent.collectors.docker_values import facts
from probe.agent.counters import Counters
from probe.agent.errors import AbsentError, HttpError, UnreachableError
from probe.agent.inspections import Inspections
from probe.agent.metering import at_once
from probe.agent.site import Site
from probe.agent.text import clean
from probe.agent.unseen import Unseen, answer_of

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_GONE_ACTIONS = frozenset({"destroy", "remove"})
# What an event says of a container that is there no more.
_STATES = {"create": "created", "start": "running", "die": "exited"}
# Each changes nothing that is told; `exec_*` come by the thousand from health checks.
_IGNORED = ("exec_", "attach", "detach", "top", "resize", "copy", "export", "commit", "archive")
# How many inspections may hang before one more waits: of what events tell of, and of what lists do.
_SOON, _LATER = 3, 2
_LISTED_S_MAX = 60.0
_EXIT_DIGITS_MAX = 10
_NO_TAG = "<none>:<none>"
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
        self._inspectors = [
            (docker.Engine(self._address), is_soon)
            for is_soon in (*[True] * _SOON, *[False] * _LATER)
        ]
        self._inspections = Inspections(self._hear)
        self._about: dict[str, docker.Event | docker.Listed] = {}
        """What else is known of containers that are to be inspected."""
        self._sign_at = site.clock()
        self._unseen = Unseen(site.clock)
        self._counters = Counters(site)
        self._texts = ContainerTexts(redacts=site.redact)
        self._listening: asyncio.Task[list[None]] | None = None
        self._version = ""
        self._image_lister = docker.Engine(self._address)
        self._images = ContainerImages(site, self._fetch_images)

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
        at_work = [self._inspect(engine, is_soon=is_soon) for engine, is_soon in self._inspectors]
        self._listening = asyncio.create_task(
            at_once([self._listen(joined), self._images.follow(), *at_work])
        )
        waiting = asyncio.create_task(self._wait_for_list(joined))
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
        if self._unseen.is_time():
            self._ask_again()
        self._counters.look()

    def capability(self) -> Capability:
        """Counters need cgroup files; the rest is the engine's."""
        mode = f"Docker {self._version} events, cgroup files"
        misses: list[Miss] = []
        if self._unseen:
            what = f"{len(self._unseen)} containers that the engine does not tell of"
            what = f"{what} ({self._unseen.problem})"
            misses.append(Miss(what, "an engine that can inspect them"))
        misses += [*self._texts.misses(), *self._images.misses()]
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
        others = (engine for engine, _ in self._inspectors)
        for engine in (self._engine, self._image_lister, *others):
            await engine.close()

    async def _listen(self, joined: asyncio.Event) -> None:
        async with contextlib.aclosing(self._engine.events()) as events:
            async for event in events:
                if event is None:
                    await self._list()
                    joined.set()
                elif event.type == "image":
                    self._images.note_change()
                elif not event.action.startswith(_IGNORED):
                    self._follow(event)

    async def _wait_for_list(self, joined: asyncio.Event) -> None:
        await joined.wait()
        await self._inspections.done()
        await self._images.listed.wait()

    async def _list(self) -> None:
        """Learn everything anew."""
        self._images.note_change()
        listed = await self._engine.containers()
        self._unseen.clear()
        ids = {one.id for one in listed}
        for id_ in [one for one in self._table.ids() if one not in ids]:
            if self._table.get(id_, "runtime") == "docker":
                self._remove(id_)
        for one in listed:
            self._about[one.id] = one
            self._inspections.ask(one.id, is_soon=False)

    async def _fetch_images(self) -> list[ListedImage]:
        return [
            ListedImage(one.id, [t for t in one.repo_tags or [] if t != _NO_TAG], one.size)
            for one in await self._image_lister.images()
        ]

    def _follow(self, event: docker.Event) -> None:
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
            self._site.urgent()
            return
        hangs = id_ in self._unseen
        if hangs or self._inspections.is_under_way(id_):
            self._tell_event(event)
            self._site.urgent()
        elif self._table.get(clean(id_), "runtime") is None:
            # It may be gone before it is its turn; what looks at it says that it is urgent.
            self._tell_event(event)
        self._about[id_] = event
        self._inspections.ask(id_, is_soon=not hangs)

    async def _inspect(self, engine: docker.Engine, *, is_soon: bool) -> None:
        async def look(id_: str) -> docker.Container | HttpError | None:
            return await answer_of(engine.inspect(id_), self._engine.ping)

        await self._inspections.work(look, is_soon=is_soon)

    def _hear(self, id_: str, found: docker.Container | HttpError | None) -> None:
        """Tell of a container as far as it is known; None for one that the engine does not have."""
        about = self._about.pop(id_, None)
        was_unseen = id_ in self._unseen
        if isinstance(found, HttpError):
            self._unseen.note(id_, found)
        else:
            self._unseen.forget(id_)
        if isinstance(found, docker.Container):
            self._tell(found)
        elif isinstance(about, docker.Event):
            self._tell_event(about)
        elif found is None:
            self._remove(id_)
        elif about is not None and not self._counters.lives(id_):
            name = about.names[0].lstrip("/") if about.names else ""
            self._tell_briefly(id_, name, about.image, about.state)
        if isinstance(about, docker.Event):
            self._site.urgent()
        if was_unseen and id_ not in self._unseen:
            self._ask_again()

    def _ask_again(self) -> None:
        """Look at one that the engine did not tell of; if it does now, at the next one after it."""
        for id_ in self._unseen:
            self._inspections.ask(id_, is_soon=False)
            break

    def _tell_event(self, event: docker.Event) -> None:
        """What an event itself says of a container that cannot be inspected: its end is yet to be
        told of, or it was known when the engine was listed."""
        state = _STATES.get(event.action)
        if event.type != "container" or state is None:
            return
        about = event.attributes
        code = about.exit_code
        is_number = code.isascii() and code.isdigit() and len(code) <= _EXIT_DIGITS_MAX
        exit_code = int(code) if is_number else None
        self._tell_briefly(event.container, about.name, about.image, state, exit_code)

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
        id_ = clean(found.id)
        arguments = [found.path, *(found.args or [])]
        texts = self._texts.shown(id_, arguments, found.config.labels or {})
        row = self._table.put(id_, host=self._site.host, **facts(found), **texts)
        if found.state.pid:
            self._counters.run(id_, row, found.state.pid)
            self._counters.note_change(id_)
        else:
            self._counters.stop(id_)

    def _remove(self, id_: str) -> None:
        self._about.pop(id_, None)
        self._inspections.drop(id_)
        self._unseen.forget(id_)
        self._texts.forget(clean(id_))
        self._counters.stop(id_)
        self._table.remove(id_)
