"""The machine: what it is, and how busy.

Everything comes from /proc; the size of the root file system is asked in a thread, because a file
system whose server is away can hold the question for ever.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import ClassVar

from probe.agent.collector import Capability, Miss, State
from probe.agent.collectors.addresses import interface_addresses, networks
from probe.agent.files import CounterFile, read_or_empty
from probe.agent.site import Site
from probe.agent.text import clean, clean_all

_PRESSURES = ("cpu", "memory", "io")
_DISK_S_MAX = 2.0
_SLOW_LOOKS = 10
_RELEASE_FILES = ("etc/os-release", "usr/lib/os-release")


class HostCollector:
    """Looks at the machine."""

    name: ClassVar[str] = "host"
    interval_s: ClassVar[float] = 3.0

    def __init__(self, site: Site) -> None:
        self._site = site
        self._files: dict[str, CounterFile] = {}
        self._busy: tuple[int, int] | None = None
        self._looks = 0
        self._pressures: tuple[str, ...] = ()
        self._disk: asyncio.Task[tuple[int, int]] | None = None

    async def start(self) -> None:
        """Open what is read each time, and tell what does not change."""
        site = self._site
        for name in ("stat", "meminfo", "loadavg"):
            self._files[name] = site.files.open(f"{site.proc}/{name}")
        for name in _PRESSURES:
            try:
                self._files[name] = site.files.open(f"{site.proc}/pressure/{name}")
                self._files[name].read()
            except OSError:  # Not built into this kernel, or switched off.
                self._files.pop(name, None)
        self._pressures = tuple(name for name in _PRESSURES if name in self._files)
        self._tell_identity()

    async def collect(self) -> None:
        """Look once."""
        self._tell_processors()
        self._tell_memory()
        values = self._files["loadavg"].read().split()
        self._put(load1=float(values[0]))
        for name in self._pressures:
            self._put(**{f"pressure_{name}_percent": self._pressure(name)})
        if self._looks % _SLOW_LOOKS == 0:
            self._put(addresses=clean_all(interface_addresses(self._site.proc)))
            self._put(networks=clean_all(networks(self._site.proc)))
            await self._tell_disk()
        self._put(processes=len(self._site.ledger["process"]) or None)
        self._looks += 1

    def capability(self) -> Capability:
        """Only pressure may be missing."""
        missing = [name for name in _PRESSURES if name not in self._pressures]
        if not missing:
            return Capability(State.FULL, "proc")
        grant = "a kernel with CONFIG_PSI, started with psi=1"
        return Capability(
            State.PARTIAL, "proc", (Miss(f"pressure of {', '.join(missing)}", grant),)
        )

    async def close(self) -> None:
        """Close files; a question to a dead file system is left behind."""
        for file in self._files.values():
            file.close()
        if self._disk is not None:
            self._disk.cancel()

    def _put(self, **values: str | float | list[str] | None) -> None:
        self._site.ledger["host"].put(self._site.host, **values)

    def _tell_identity(self) -> None:
        proc = self._site.proc
        stat = self._files["stat"].read().decode()
        boot_s = next(
            (int(line.split()[1]) for line in stat.splitlines() if line.startswith("btime")), None
        )
        self._put(
            name=clean(read_or_empty(f"{proc}/sys/kernel/hostname").strip() or self._site.host),
            kernel=clean(read_or_empty(f"{proc}/sys/kernel/osrelease").strip()),
            os=_os_name(proc),
            boot_time_ms=None if boot_s is None else boot_s * 1000,
            cpus=os.cpu_count(),
        )

    def _tell_processors(self) -> None:
        for line in self._files["stat"].read().splitlines():
            words = line.split()
            if words[0] == b"cpu":
                times = [int(word) for word in words[1:9]]
                # Idle time and waiting for devices; guests are in user time already.
                total, idle = sum(times), times[3] + times[4]
                if self._busy is not None and total > self._busy[0]:
                    used = 1 - (idle - self._busy[1]) / (total - self._busy[0])
                    self._put(cpu_percent=round(100 * max(0.0, used), 1))
                self._busy = (total, idle)
            elif words[0] == b"processes":
                self._put(processes_started=int(words[1]))

    def _tell_memory(self) -> None:
        found: dict[bytes, int] = {}
        for line in self._files["meminfo"].read().splitlines()[:3]:
            name, _, value = line.partition(b":")
            found[name] = int(value.split()[0]) * 1024
        total, available = found.get(b"MemTotal"), found.get(b"MemAvailable")
        if total is not None and available is not None:
            self._put(memory_total_bytes=total, memory_used_bytes=total - available)

    def _pressure(self, name: str) -> float | None:
        # some avg10=0.00 avg60=0.00 avg300=0.00 total=0
        for word in self._files[name].read().split(b"\n")[0].split():
            if word.startswith(b"avg10="):
                return float(word[6:])
        return None

    async def _tell_disk(self) -> None:
        if self._disk is None:
            self._disk = asyncio.create_task(asyncio.to_thread(_root_disk, self._site.proc))
        await asyncio.wait({self._disk}, timeout=_DISK_S_MAX)
        if not self._disk.done():
            return  # Asked again next time; no second thread meanwhile.
        task, self._disk = self._disk, None
        total, used = task.result()
        self._put(disk_total_bytes=total, disk_used_bytes=used)


def _root_disk(proc: str) -> tuple[int, int]:
    try:
        told = os.statvfs(f"{proc}/1/root")
    except OSError:  # Another user's, without privileges.
        told = os.statvfs("/")
    return told.f_blocks * told.f_frsize, (told.f_blocks - told.f_bfree) * told.f_frsize


def _os_name(proc: str) -> str | None:
    for root in (f"{proc}/1/root", ""):
        for name in _RELEASE_FILES:
            for line in read_or_empty(f"{root}/{name}").decode("utf-8", "replace").splitlines():
                if line.startswith("PRETTY_NAME="):
                    return clean(line.partition("=")[2].strip().strip('"'))
    return None


def boot_wall_s() -> float:
    """When the machine started, in seconds since 1970, as its clocks say now."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
