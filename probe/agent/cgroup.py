"""Counters of a cgroup, version 1 or 2, from files that stay open.

One read a counter: processor time and memory each look, input and output less often. Working sets
(memory without file caches) take `memory.stat`, fifty times as long to read, and are not told.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from probe.agent.files import CounterFile, OpenFiles, read_number, read_or_empty

_V1_FILES = {
    "cpu": ("cpuacct", "cpuacct.usage"),
    "memory": ("memory", "memory.usage_in_bytes"),
    "io": ("blkio", "blkio.throttle.io_service_bytes"),
}
_V2_FILES = {"cpu": "cpu.stat", "memory": "memory.current", "io": "io.stat"}
_ABOVE = re.compile(r"(/\.\.)+/")
# Of a group that stands above a container's: slice, class of quality, pod, and one to spare.
_DEPTH_MAX = 5
_IO_V2 = re.compile(rb"\b([rw])bytes=(\d+)")


@dataclass(frozen=True)
class Limits:
    """Limits; None without one."""

    cpu_percent: int | None
    memory_bytes: int | None


class Cgroup:
    """The cgroup that a process is in."""

    def __init__(self, files: OpenFiles, folders: Mapping[str, str], *, is_v2: bool) -> None:
        self._is_v2 = is_v2
        self._folders = folders
        self._files: dict[str, CounterFile] = {}
        for counter, folder in folders.items():
            name = _V2_FILES[counter] if is_v2 else _V1_FILES[counter][1]
            try:
                self._files[counter] = files.open(f"{folder}/{name}")
            except OSError:  # Not every controller is there.
                continue

    @property
    def sees(self) -> frozenset[str]:
        """Counters that can be read: `cpu`, `memory`, `io`."""
        return frozenset(self._files)

    def cpu_ns(self) -> int | None:
        """Processor time used.

        Raises (all counters):
            OSError: the cgroup is gone.
        """
        file = self._files.get("cpu")
        if file is None:
            return None
        raw = file.read()
        # v2: usage_usec 12345, in the first line.
        return int(raw.split(None, 2)[1]) * 1000 if self._is_v2 else int(raw)

    def memory_bytes(self) -> int | None:
        """Memory in use."""
        file = self._files.get("memory")
        return None if file is None else int(file.read())

    def io_bytes(self) -> tuple[int, int] | None:
        """Bytes read from and written to devices."""
        file = self._files.get("io")
        if file is None:
            return None
        raw = file.read()
        if self._is_v2:
            pairs = [(kind, int(value)) for kind, value in _IO_V2.findall(raw)]
            return (
                sum(value for kind, value in pairs if kind == b"r"),
                sum(value for kind, value in pairs if kind == b"w"),
            )
        read = written = 0
        for line in raw.splitlines():  # 8:0 Read 4096
            words = line.split()
            if len(words) == 3 and words[1] == b"Read":  # noqa: PLR2004 - device, kind, value
                read += int(words[2])
            elif len(words) == 3 and words[1] == b"Write":  # noqa: PLR2004 - device, kind, value
                written += int(words[2])
        return read, written

    def limits(self) -> Limits:
        """Limits as they are now."""
        if self._is_v2:
            folder = self._folders["cpu"]
            words = read_or_empty(f"{folder}/cpu.max").split()
            memory = read_or_empty(f"{folder}/memory.max").strip()
            quota = int(words[0]) if words and words[0].isdigit() else None
            period = int(words[1]) if len(words) > 1 else 0
        else:
            cpu = self._folders.get("cpu", "").replace("/cpuacct/", "/cpu/")
            quota = read_number(f"{cpu}/cpu.cfs_quota_us")
            period = read_number(f"{cpu}/cpu.cfs_period_us") or 0
            folder = self._folders.get("memory", "")
            memory = read_or_empty(f"{folder}/memory.limit_in_bytes").strip()
        limit = int(memory) if memory.isdigit() else None
        return Limits(
            cpu_percent=100 * quota // period if quota is not None and period else None,
            # Version 1 has no word for none, only a number beyond any memory.
            memory_bytes=None if limit is None or limit >= 1 << 60 else limit,
        )

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


def find(files: OpenFiles, proc: str, cgroups: str, pid: int, container: str) -> Cgroup | None:
    """The cgroup of a container, by one of its processes; None when that has ended or there is none
    to be seen.

    Only hierarchies in which the container has a group of its own, called by its id, count for it:
    elsewhere its process shares one with others, at worst with the whole host.
    """
    paths: dict[str, str] = {}
    unified = ""
    is_v2 = Path(f"{cgroups}/cgroup.controllers").exists()
    for line in read_or_empty(f"{proc}/{pid}/cgroup").decode("utf-8", "replace").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if is_v2 and number == "0" and path == "/":
            path = _whole(cgroups, f"*{glob.escape(container)}*")
        path = _own(path, container)
        if is_v2 and (above := _ABOVE.match(path)):
            path = _whole(cgroups, glob.escape(path[above.end() :]))
        if not path:
            continue
        if number == "0":
            unified = path
        for name in names.split(","):
            paths[name] = path
    if is_v2 and unified:
        folder = f"{cgroups}{unified}"
        return Cgroup(files, dict.fromkeys(_V2_FILES, folder), is_v2=True)
    folders = {
        counter: f"{cgroups}/{controller}{paths[controller]}"
        for counter, (controller, _) in _V1_FILES.items()
        if controller in paths
    }
    return Cgroup(files, folders, is_v2=False) if folders else None


def _own(path: str, container: str) -> str:
    """The part of a path that leads to a container's group; what is nested in it is within."""
    before, found, after = path.rpartition(container)
    return f"{before}{found}{after.partition('/')[0]}" if found else ""


def _whole(cgroups: str, named: str) -> str:
    """The path from the root of the hierarchy of what is named by its end; empty for none.

    A reader in a cgroup namespace of its own, as runtimes give one to each container by version 2,
    is told paths from the namespace's root on: `/` is its own group, `/../pod7/ID` is beside it.
    What stands above that root nobody tells, but with a container's id there is one such place.
    """
    for depth in range(_DEPTH_MAX):
        found = next(Path(cgroups).glob(f"{'*/' * depth}{named}"), None)
        if found is not None:
            return f"/{found.relative_to(cgroups)}"
    return ""
