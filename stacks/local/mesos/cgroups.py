"""Limits of a task, set by control groups: processors as a quota of time, memory as a bound.

As the real agent's `cgroups/cpu` (with `--cgroups_enable_cfs`) and `cgroups/mem`: one group a
container below `mesos` of each hierarchy, of either version of the kernel's interface. The task's
process enters before it runs anything; its executor stays outside, so that how the task ended is
written down when the kernel ends it. Where groups may not be made (no root, a read-only mount), the
agent says so once and tasks run without limits.
"""

from __future__ import annotations

import time
from pathlib import Path

from stacks.local.mesos.values import Scalars

ROOT = Path("/sys/fs/cgroup")
_FOLDER = "mesos"
_PERIOD_US = 100_000
_QUOTA_US_MIN = 1_000
# As Mesos: less is more than most programs need to start.
_MEM_MB_MIN = 32.0
_MB = 1024 * 1024
# A group empties a moment after its last process has ended.
_EMPTY_TRIES, _EMPTY_PAUSE_S = 20, 0.01


class Cgroups:
    """The groups of one host's containers; `root` is where hierarchies are mounted."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        # One hierarchy for all controllers in version 2, one a controller in version 1.
        self._is_unified = (root / "cgroup.controllers").is_file()
        self._parents = (
            [root / _FOLDER]
            if self._is_unified
            else [root / name / _FOLDER for name in ("cpu", "memory")]
        )

    def of(self, container_id: str) -> list[Path]:
        """Folders of a container's groups, which need not be there."""
        return [parent / container_id for parent in self._parents]

    def make(self, container_id: str, resources: Scalars) -> list[Path]:
        """Make a container's groups with its limits.

        Raises:
            OSError: this is not permitted here.
        """
        groups = self.of(container_id)
        try:
            if self._is_unified:
                self._enable()
            for group in groups:
                group.mkdir(parents=True, exist_ok=True)
            self._limit(groups, resources)
        except OSError:
            self.remove(container_id)
            raise
        return groups

    def _enable(self) -> None:
        """Controllers are handed down level by level."""
        for folder in (self._root, self._root / _FOLDER):
            folder.mkdir(exist_ok=True)
            (folder / "cgroup.subtree_control").write_text("+cpu +memory")

    def _limit(self, groups: list[Path], resources: Scalars) -> None:
        cpus = resources.get("cpus")
        if cpus is not None:
            quota_us = max(_QUOTA_US_MIN, round(cpus * _PERIOD_US))
            if self._is_unified:
                (groups[0] / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
            else:
                (groups[0] / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
                (groups[0] / "cpu.cfs_quota_us").write_text(str(quota_us))
        mem = resources.get("mem")
        if mem is not None:
            limit = str(round(max(_MEM_MB_MIN, mem) * _MB))
            name = "memory.max" if self._is_unified else "memory.limit_in_bytes"
            (groups[-1] / name).write_text(limit)

    def ran_out_of_memory(self, container_id: str) -> bool:
        """Whether the kernel ended something of a container for its memory."""
        group = self.of(container_id)[-1]
        file = group / ("memory.events" if self._is_unified else "memory.oom_control")
        try:
            lines = file.read_text().splitlines()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in lines)

    def remove(self, container_id: str) -> None:
        """Remove a container's groups, once they are empty; what stays busy is left."""
        for group in self.of(container_id):
            for _ in range(_EMPTY_TRIES):
                try:
                    group.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(_EMPTY_PAUSE_S)
                else:
                    break
