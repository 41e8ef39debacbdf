"""Counters of running containers, of any runtime: read from kept-open files, told as rates.

A look reads two files a container: processor time and memory. Input, output and network come every
fifth look, each container at another one, because they cost more and move less.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass

from probe.agent import cgroup
from probe.agent.cgroup import Cgroup
from probe.agent.files import read, read_or_empty
from probe.agent.site import KnownContainer, Site

_SLOW_LOOKS = 5
# Some 500 interfaces.
_NET_BYTES_MAX = 64 * 1024
_COLUMNS = (
    *("cpu_percent", "memory_bytes", "io_read_bytes_per_s", "io_write_bytes_per_s"),
    *("net_received_bytes_per_s", "net_sent_bytes_per_s"),
)


@dataclass(slots=True)
class _Running:
    """A running container whose counters are read."""

    row: int
    pid: int
    group: Cgroup | None
    namespace: int | None
    seen_at: float
    cpu_ns: int | None = None
    io: tuple[int, int] | None = None
    net: tuple[int, int] | None = None
    slow_at: float = 0.0
    limits_known: bool = False
    is_lost: bool = False
    """Whether its counters could not be read, though it runs."""


class Counters:
    """Running containers of one collector."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._table = site.ledger["container"]
        self._running: dict[str, _Running] = {}
        self._looks = 0
        self._own_namespace = _namespace(site.proc, 1) or _namespace(site.proc, "self")

    @property
    def blind(self) -> int:
        """Containers whose counters cannot be seen."""
        return sum(1 for one in self._running.values() if one.group is None or not one.group.sees)

    def ids(self) -> list[str]:
        """Running containers."""
        return list(self._running)

    def run(self, id_: str, row: int, pid: int) -> None:
        """A container runs, with this first process; it may have run with another before."""
        known = self._running.get(id_)
        if known is not None and known.pid == pid:
            return
        self.stop(id_)
        site = self._site
        is_on_host = self._table.get(id_, "host_network") is True
        namespace = 0 if is_on_host else _namespace(site.proc, pid)
        if namespace is not None and namespace == self._own_namespace:
            namespace = 0
        group = cgroup.find(site.files, site.proc, site.cgroups, pid, id_)
        running = _Running(row, pid, group, namespace, site.clock())
        with contextlib.suppress(OSError, ValueError, IndexError):
            self._look(running, site.clock())
        self._running[id_] = running
        told = self._table.get(id_, "addresses")
        addresses = tuple(told) if isinstance(told, list) else ()
        site.containers[id_] = KnownContainer(id_, pid, namespace, addresses)
        site.containers_version += 1

    def note_change(self, id_: str) -> None:
        """Something about a container has changed: its limits may have, and its addresses."""
        running = self._running.get(id_)
        if running is None:
            return
        self._tell_limits(running)
        told = self._table.get(id_, "addresses")
        addresses = tuple(told) if isinstance(told, list) else ()
        known = self._site.containers[id_]
        if known.addresses != addresses:
            known.addresses = addresses
            self._site.containers_version += 1

    def look(self) -> None:
        """Read the counters of all of them."""
        now = self._site.clock()
        for id_, running in list(self._running.items()):
            is_slow = (self._looks + running.row) % _SLOW_LOOKS == 0
            try:
                if running.is_lost and is_slow:
                    self._find_again(id_, running)
                self._look(running, now)
                if is_slow:
                    self._look_slowly(running, now)
            except (OSError, ValueError, IndexError):
                self._lose(id_, running)
        self._looks += 1

    def stop(self, id_: str) -> None:
        """A container runs no more, whoever counted it; one that did not is no error."""
        running = self._running.pop(id_, None)
        if running is not None and running.group is not None:
            running.group.close()
        self.blank(id_)
        if self._site.containers.pop(id_, None) is not None:
            self._site.containers_version += 1

    def blank(self, id_: str) -> None:
        """Nobody reads the counters of a container now."""
        if id_ in self._table:
            row = self._table.row(id_)
            for column in _COLUMNS:
                self._table.set(row, column, None)

    def lives(self, id_: str) -> bool:
        """Whether a container's process, as it was told last, is still there. Its counters are
        taken back then, because nobody reads them.

        Of the container that it is in itself a reader with a cgroup namespace is told `/`.
        """
        pid = self._table.get(id_, "pid")
        groups = read_or_empty(f"{self._site.proc}/{pid}/cgroup") if pid is not None else b""
        if id_.encode() not in groups and groups != b"0::/\n":
            return False
        self.blank(id_)
        return True

    def keep_living(self, ids: Iterable[str]) -> None:
        """Without their runtime nothing is known of containers but whether their process lives:
        those whose process does not are taken away."""
        for id_ in ids:
            if not self.lives(id_):
                self.stop(id_)
                self._table.remove(id_)

    def close(self) -> None:
        """Close all files. The containers run on: others go by that, and whoever comes next."""
        for running in self._running.values():
            if running.group is not None:
                running.group.close()
        self._running.clear()

    def _lose(self, id_: str, running: _Running) -> None:
        """Its counters could not be read: mostly because it ended, of which whoever knows it will
        tell. One that lives, as where this process has too many open files, is only not counted."""
        if not os.path.exists(f"{self._site.proc}/{running.pid}"):  # noqa: PTH110 - opens no file
            self.stop(id_)
            return
        if running.group is not None:
            running.group.close()
        running.group, running.is_lost = None, True
        running.cpu_ns = running.io = running.net = None
        self.blank(id_)

    def _find_again(self, id_: str, running: _Running) -> None:
        site = self._site
        running.group = cgroup.find(site.files, site.proc, site.cgroups, running.pid, id_)
        running.is_lost = running.group is None or not running.group.sees

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
            if net is not None:
                self._rates(running.row, "net_received", "net_sent", running.net, net, elapsed)
            running.net = net
        if not running.limits_known:
            self._tell_limits(running)
        running.slow_at = now

    def _tell_limits(self, running: _Running) -> None:
        running.limits_known = True
        if running.group is not None:
            limits = running.group.limits()
            self._table.set(running.row, "cpu_limit_percent", limits.cpu_percent)
            self._table.set(running.row, "memory_limit_bytes", limits.memory_bytes)

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


def _namespace(proc: str, pid: int | str) -> int | None:
    """The number of a process's network namespace; None where it cannot be seen."""
    try:
        return os.stat(f"{proc}/{pid}/ns/net").st_ino  # noqa: PTH116 - follows the link without opening it
    except OSError:
        return None


def _interface_bytes(proc: str, pid: int) -> tuple[int, int] | None:
    """Bytes received and sent on all interfaces but the loopback; None where there are too many."""
    received = sent = 0
    found = read(f"{proc}/{pid}/net/dev", _NET_BYTES_MAX)
    if len(found) == _NET_BYTES_MAX:
        return None
    for line in found.splitlines()[2:]:
        name, _, rest = line.partition(b":")
        if name.strip() != b"lo":
            words = rest.split()
            received += int(words[0])
            sent += int(words[8])
    return received, sent
