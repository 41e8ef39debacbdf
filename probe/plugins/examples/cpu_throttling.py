"""How much containers are held up by their processor limits, and what the kernel killed in them.

A container with a limit of one processor that has ten busy threads uses up its share of each 100
ms in 10 ms and stands still for 90: it looks idle, and answers late. Neither Mesos nor Docker shows
that; cgroups count it. Containers are found by the names of their cgroups: ids of Docker and
containerd, and those of the Mesos containerizer (`mesos/ID`).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from probe.plugins import hooks

_FOLDERS_MAX = 20_000
_FILE_BYTES_MAX = 4096
_CONTAINER = re.compile(
    r"(?:^|[-/])([0-9a-f]{64})(?:\.scope)?$"
    r"|(?:^|/)mesos/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$"
)


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where to look."""

    cgroups: str = "/sys/fs/cgroup"


@dataclass(frozen=True)
class _Reading:
    at: float
    periods: int
    throttled: int
    throttled_ms: float


class CpuThrottling(hooks.Plugin):
    """Adds throttling and kills to containers."""

    id = "cpu-throttling"
    label = "CPU throttling"
    description = "How much containers are held up by their processor limit, and OOM kills."
    columns = (
        hooks.gauge("throttled_percent", "Throttled periods", unit="percent"),
        hooks.gauge("throttled_ms_per_s", "Standing still", unit="ms/s"),
        hooks.number("oom_kills", "OOM kills"),
    )
    settings_type = Settings

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(settings)
        self._root = Path(settings.cgroups)
        self._clock = clock
        self._last: dict[str, _Reading] = {}

    def start(self) -> None:
        """Cgroups have to be there."""
        if not any((self._root / name).exists() for name in ("cpu", "cgroup.controllers")):
            msg = f"expected cgroups in {self._root}, saw none: set cgroups=PATH"
            raise FileNotFoundError(msg)

    def look(self, told: hooks.Told) -> None:
        """Tell what has happened since the last look; a rate takes two."""
        readings: dict[str, _Reading] = {}
        is_v2 = (self._root / "cgroup.controllers").exists()
        for id_, folder in _containers(self._root if is_v2 else self._root / "cpu"):
            now = self._read(folder, is_v2=is_v2)
            if now is None:
                continue
            readings[id_] = now
            before = self._last.get(id_)
            told.container(id_, **({} if before is None else _rates(before, now)))
        for id_, folder in _containers(self._root if is_v2 else self._root / "memory"):
            kills = _numbers(folder / ("memory.events" if is_v2 else "memory.oom_control"))
            told.container(id_, oom_kills=kills.get("oom_kill"))
        self._last = readings

    def _read(self, folder: Path, *, is_v2: bool) -> _Reading | None:
        found = _numbers(folder / "cpu.stat")
        if "nr_periods" not in found:  # It has no limit, or has just ended.
            return None
        waited = found.get("throttled_usec", 0) / 1e3 if is_v2 else found["throttled_time"] / 1e6
        return _Reading(self._clock(), found["nr_periods"], found["nr_throttled"], waited)


def _rates(before: _Reading, now: _Reading) -> dict[str, float]:
    periods, elapsed = now.periods - before.periods, now.at - before.at
    if elapsed <= 0 or periods < 0:
        return {}
    share = (now.throttled - before.throttled) / periods if periods else 0.0
    waited = (now.throttled_ms - before.throttled_ms) / elapsed
    return {"throttled_percent": round(100 * share, 1), "throttled_ms_per_s": round(waited, 1)}


def _containers(root: Path) -> Iterator[tuple[str, Path]]:
    """Cgroups of containers by their ids. What is below one belongs to it."""
    for number, (folder, below, _) in enumerate(os.walk(root)):
        if number >= _FOLDERS_MAX:
            return
        found = _CONTAINER.search(folder)
        if found is not None:
            below.clear()
            yield found[1] or found[2], Path(folder)


def _numbers(path: Path) -> dict[str, int]:
    """Lines `name number`; nothing where the cgroup is gone."""
    try:
        lines = path.read_bytes()[:_FILE_BYTES_MAX].decode("ascii", "replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}  # noqa: PLR2004 - name and number
