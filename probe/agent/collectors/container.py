"""Containers of a Docker engine: by its events, never by polling; their use by cgroup files.

The engine's event stream is joined before containers are listed, so nothing falls between the two.
Each event leads to one inspection of its container; a lost stream leads to a new list. A look reads
two kept-open counter files a container, no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, field
from typing import ClassVar

from probe.agent import cgroup, docker
from probe.agent.cgroup import Cgroup
from probe.agent.collector import Capability, Miss, State
from probe.agent.collectors.docker_values import facts
from probe.agent.errors import AbsentError, HttpError, UnreachableError
from probe.agent.files import read
from probe.agent.site import KnownContainer, Site
from probe.agent.text import clean, clean_all

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_INSPECTIONS_AT_ONCE = 8
_SLOW_LOOKS = 5
_GONE_ACTIONS = frozenset({"destroy", "remove"})
# Each changes nothing that is told; `exec_*` come by the thousand from health checks.
_IGNORED = ("exec_", "attach", "detach", "top", "resize", "copy", "export", "commit", "archive")
_NET_BYTES_MAX = 16 * 1024


@dataclass(slots=True)
class _Running:
    """A running container whose counters are read."""

    row: int
    pid: int
    group: Cgroup | None
    namespace: int
    seen_at: float
    cpu_ns: int | None = None
    io: tuple[int, int] | None = None
    net: tuple[int, int] | None = None
    slow_at: float = field(default=0.0)


class ContainerCollector:
    """Looks at the containers of a Docker engine."""

    name: ClassVar[str] = "container"
    interval_s: ClassVar[float] = 3.0

    def __init__(self, site: Site, address: str | None = None) -> None:
        self._site = site
        self._table = site.ledger["container"]
        self._address = address or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS
        self._engine = docker.Engine(self._address)
        self._running: dict[str, _Running] = {}
        self._listening: asyncio.Task[None] | None = None
        self._version = ""
        self._looks = 0
        self._own_namespace = 0
        self._blind: set[str] = set()

    async def start(self) -> None:
        """Ask the engine who it is, and begin to listen."""
        try:
            self._version = clean(await self._engine.version())
        except UnreachableError as error:
            msg = f"no Docker engine at {self._address} ({error})"
            grant = "mount the engine's socket, or set docker_host"
            raise AbsentError(msg, grant=grant) from None
        self._own_namespace = _namespace(self._site.proc, 1) or _namespace(self._site.proc, "self")
        joined = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(joined))
        waiting = asyncio.create_task(joined.wait())
        await asyncio.wait({self._listening, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._listening.done():
            self._listening.result()

    async def collect(self) -> None:
        """Read the counters of all running containers."""
        if self._listening is not None and self._listening.done():
            self._listening.result()  # Raises why; the collector is made anew and lists again.
        now = self._site.clock()
        for id_, running in list(self._running.items()):
            try:
                self._look(running, now)
                if (self._looks + running.row) % _SLOW_LOOKS == 0:
                    self._look_slowly(running, now)
            except (OSError, ValueError, IndexError):
                # It ended; its event is on its way.
                self._stop(id_)
        self._looks += 1

    def capability(self) -> Capability:
        """Counters need cgroup files; the rest is the engine's."""
        mode = f"Docker {self._version} events, cgroup files"
        running = self._running.values()
        blind = sum(1 for one in running if one.group is None or not one.group.sees)
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
        for id_ in list(self._running):
            self._stop(id_)
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
                    await self._update(event.actor.id, event.action)

    async def _list(self) -> None:
        """Learn everything anew."""
        await self._list_images()
        ids = await self._engine.containers()
        for id_ in [one for one in self._table.ids() if one not in set(ids)]:
            if self._table.get(id_, "runtime") == "docker":
                self._remove(id_)
        for id_ in ids:
            await self._update(id_, "")

    async def _list_images(self) -> None:
        images = await self._engine.images()
        table = self._site.ledger["container_image"]
        table.keep({clean(image.id) for image in images})
        for image in images:
            tags = clean_all([tag for tag in image.repo_tags or [] if tag != "<none>:<none>"])
            table.put(
                clean(image.id),
                name=tags[0] if tags else None,
                tags=tags,
                size_bytes=image.size,
            )

    async def _update(self, id_: str, action: str) -> None:
        if not id_:
            return
        found = None if action in _GONE_ACTIONS else await self._engine.inspect(id_)
        if found is None:
            self._remove(id_)
        else:
            self._tell(found)
        self._site.urgent()

    def _tell(self, found: docker.Container) -> None:
        site = self._site
        id_ = clean(found.id)
        row = self._table.put(id_, host=site.host, **facts(found, redacts=site.redact))
        pid = found.state.pid
        known = self._running.get(id_)
        if known is not None and known.pid != pid:
            self._stop(id_)
            known = None
        if pid and known is None:
            group = cgroup.find(site.files, site.proc, site.cgroups, pid)
            namespace = _namespace(site.proc, pid)
            if namespace == self._own_namespace:
                namespace = 0
            running = _Running(row, pid, group, namespace, site.clock())
            with contextlib.suppress(OSError, ValueError, IndexError):
                self._look(running, site.clock())
            self._running[id_] = running
            addresses = self._table.get(id_, "addresses")
            site.containers[id_] = KnownContainer(
                id_, pid, namespace, tuple(addresses) if isinstance(addresses, list) else ()
            )
            site.containers_version += 1

    def _stop(self, id_: str) -> None:
        running = self._running.pop(id_, None)
        if running is None:
            return
        if running.group is not None:
            running.group.close()
        for column in (
            *("cpu_percent", "memory_bytes", "io_read_bytes_per_s", "io_write_bytes_per_s"),
            *("net_received_bytes_per_s", "net_sent_bytes_per_s"),
        ):
            self._table.set(running.row, column, None)
        self._site.containers.pop(id_, None)
        self._site.containers_version += 1

    def _remove(self, id_: str) -> None:
        self._stop(id_)
        self._table.remove(id_)

    def _look(self, running: _Running, now: float) -> None:
        group = running.group
        if group is None:
            return
        used = group.cpu_ns()
        if used is not None:
            elapsed = now - running.seen_at
            if running.cpu_ns is not None and elapsed > 0:
                percent = round((used - running.cpu_ns) / elapsed / 1e7, 1)
                self._table.set(running.row, "cpu_percent", max(0.0, percent))
            running.cpu_ns, running.seen_at = used, now
        memory = group.memory_bytes()
        if memory is not None:
            self._table.set(running.row, "memory_bytes", memory)

    def _look_slowly(self, running: _Running, now: float) -> None:
        """What costs more to read, or moves less."""
        elapsed = now - running.slow_at
        if running.group is not None and (io := running.group.io_bytes()) is not None:
            self._rates(running.row, "io_read", "io_write", running.io, io, elapsed)
            running.io = io
        if running.namespace:
            net = _interface_bytes(self._site.proc, running.pid)
            self._rates(running.row, "net_received", "net_sent", running.net, net, elapsed)
            running.net = net
        if running.group is not None and not running.slow_at:
            limits = running.group.limits()
            self._table.set(running.row, "cpu_limit_percent", limits.cpu_percent)
            self._table.set(running.row, "memory_limit_bytes", limits.memory_bytes)
        running.slow_at = now

    def _rates(  # noqa: PLR0913, PLR0917 - two columns, two readings
        self,
        row: int,
        first: str,
        second: str,
        before: tuple[int, int] | None,
        now: tuple[int, int],
        elapsed: float,
    ) -> None:
        if before is None or elapsed <= 0:
            return
        for name, index in ((first, 0), (second, 1)):
            rate = max(0, round((now[index] - before[index]) / elapsed))
            self._table.set(row, f"{name}_bytes_per_s", rate)


def _namespace(proc: str, pid: int | str) -> int:
    """The number of a process's network namespace; 0 where it cannot be seen."""
    try:
        return os.stat(f"{proc}/{pid}/ns/net").st_ino  # noqa: PTH116 - follows the link without opening it
    except OSError:
        return 0


def _interface_bytes(proc: str, pid: int) -> tuple[int, int]:
    """Bytes received and sent on all interfaces but the loopback."""
    received = sent = 0
    for line in read(f"{proc}/{pid}/net/dev", _NET_BYTES_MAX).splitlines()[2:]:
        name, _, rest = line.partition(b":")
        if name.strip() != b"lo":
            words = rest.split()
            received += int(words[0])
            sent += int(words[8])
    return received, sent
