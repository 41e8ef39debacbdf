"""What tasks leave in their sandboxes on this agent, before the disk is full.

A sandbox that nobody limits (`disk/du` is off by default) fills the disk of all: logs that do not
rotate, core files, downloads. Told are, of each running container, its size, its files, its logs
and its largest file; of the host, what all sandboxes hold, what those of ended tasks hold, which
the agent removes by itself (`--gc_delay`), and how much is free.

The layout is Mesos's own (src/slave/paths.hpp): below the work folder stands
`slaves/S/frameworks/F/executors/E/runs/C`, and in `meta/` the same with an `executor.sentinel` for
an executor that has ended. An executor that was made for one command has the id of its task.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from probe.plugins import hooks

_BLOCK_BYTES = 512
_ENTRIES_MAX = 50_000
"""Of one sandbox; beyond it, the size told is the least that it has."""
_SANDBOXES_MAX = 5_000
_LOGS = ("stdout", "stderr")


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the agent works: its `--work_dir`."""

    work_dir: str = "/var/lib/mesos"


@dataclass
class _Sandbox:
    """A folder and what is in it."""

    framework: str
    executor: str
    container: str
    folder: Path
    has_ended: bool
    size_bytes: int = 0
    files: int = 0
    log_bytes: int = 0
    largest: tuple[int, str] = (0, "")
    is_cut: bool = False


class MesosSandbox(hooks.Plugin):
    """Adds sandboxes to containers, tasks and the host."""

    id = "mesos-sandbox"
    label = "Mesos sandboxes"
    description = "Size, files and logs of the sandboxes of tasks, and what is free for them."
    columns = (
        hooks.gauge("sandbox_bytes", "Sandbox", unit="filesize"),
        hooks.gauge("sandbox_files", "Files in the sandbox", unit="integer"),
        hooks.gauge("log_bytes", "Logs", unit="filesize"),
        hooks.text("largest_file", "Largest file"),
        hooks.text("sandbox_note", "Sandbox, note"),
        hooks.gauge("sandboxes_bytes", "All sandboxes", unit="filesize"),
        hooks.gauge("sandboxes_ended_bytes", "Sandboxes of ended tasks", unit="filesize"),
        hooks.gauge("work_dir_free_percent", "Free for sandboxes", unit="percent"),
    )
    interval_s = 60.0
    look_s_max = 600.0
    settings_type = Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._work_dir = Path(settings.work_dir)

    def start(self) -> None:
        """A work folder of an agent has to be there."""
        if not (self._work_dir / "slaves").is_dir():
            msg = f"expected an agent's work folder, saw no {self._work_dir}/slaves: set work_dir"
            raise FileNotFoundError(msg)

    def look(self, told: hooks.Told) -> None:
        """Walk through every sandbox once."""
        total = ended = 0
        for sandbox in self._sandboxes():
            _measure(sandbox)
            total += sandbox.size_bytes
            if sandbox.has_ended:
                ended += sandbox.size_bytes
            else:
                values = _values(sandbox)
                told.container(sandbox.container, **values)
                told.node("mesos_task", f"{sandbox.framework};{sandbox.executor}", **values)
        disk = os.statvfs(self._work_dir)
        told.host(
            sandboxes_bytes=total,
            sandboxes_ended_bytes=ended,
            work_dir_free_percent=round(100 * disk.f_bavail / max(1, disk.f_blocks), 1),
        )

    def _sandboxes(self) -> Iterator[_Sandbox]:
        runs = self._work_dir.glob("slaves/*/frameworks/*/executors/*/runs/*")
        for number, folder in enumerate(runs):
            if number >= _SANDBOXES_MAX:
                return
            if folder.is_symlink() or not folder.is_dir():  # `latest` names one of the others.
                continue
            *_, framework, _, executor, _, container = folder.parts
            meta = self._work_dir / "meta" / folder.relative_to(self._work_dir)
            has_ended = (meta / "executor.sentinel").exists()
            yield _Sandbox(framework, executor, container, folder, has_ended)


def _values(sandbox: _Sandbox) -> dict[str, str | float | None]:
    size, name = sandbox.largest
    note = f"more than {_ENTRIES_MAX} files: the rest is not counted" if sandbox.is_cut else None
    return {
        "sandbox_bytes": sandbox.size_bytes,
        "sandbox_files": sandbox.files,
        "log_bytes": sandbox.log_bytes,
        "largest_file": f"{name}, {size / 1e6:.1f} MB" if name else None,
        "sandbox_note": note,
    }


def _measure(sandbox: _Sandbox) -> None:
    """Add up what is on the disk of the sandbox itself: volumes are mounted from elsewhere."""
    try:
        device = sandbox.folder.stat().st_dev
    except OSError:  # It was removed meanwhile.
        return
    folders = [sandbox.folder]
    entries = 0
    while folders:
        folder = folders.pop()
        try:
            found = list(os.scandir(folder))
        except OSError:
            continue
        for entry in found:
            entries += 1
            if entries > _ENTRIES_MAX:
                sandbox.is_cut = True
                return
            try:
                about = entry.stat(follow_symlinks=False)
                is_folder = entry.is_dir(follow_symlinks=False)
            except OSError:
                continue
            if is_folder and about.st_dev == device:
                folders.append(Path(entry.path))
            elif not is_folder:
                _count(sandbox, entry, about.st_blocks * _BLOCK_BYTES)


def _count(sandbox: _Sandbox, entry: os.DirEntry[str], size: int) -> None:
    sandbox.size_bytes += size
    sandbox.files += 1
    name = os.path.relpath(entry.path, sandbox.folder)
    if name.split(".")[0] in _LOGS:
        sandbox.log_bytes += size
    sandbox.largest = max(sandbox.largest, (size, name))
