"""Namespaces and control groups of its own for a node of a cluster.

A kubelet changes its machine: mounts, interfaces, packet filters, control groups, kernel settings.
Here it finds a machine of its own, which the kernel takes away whole with the first process in it,
however that ends. Only empty control groups can be left, when we are killed ourselves; the next
sandbox removes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.kubernetes.sandbox_init import PLACES
from tests.waiting import block_until

_PREFIX = "mesos-platform-node-"
_NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup")
_LOCKS = Path("/run/lock")
# One process may have several at once.
_NUMBERS = itertools.count(1)
_START_S_MAX = 30.0
_STOP_S_MAX = 30.0
# Joins the control groups named before `--`, then becomes what stands behind it.
_JOIN = (
    'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"'
)


@dataclass(frozen=True)
class Sandbox:
    """A running one; `pid` is its first process, as it is numbered outside."""

    pid: int
    groups: tuple[Path, ...]
    folder: Path

    def wrap(self, words: Sequence[str]) -> list[str]:
        """A command that runs within; it is killed with us."""
        enter = ["nsenter", f"--target={self.pid}", *_NAMESPACES, f"--wdns={Path.cwd()}", "--"]
        return _joined(self.groups, [*enter, *words])

    def outside(self, place: Path) -> Path:
        """Where a place within is found from outside, of those that are the sandbox's own."""
        return self.folder / place.relative_to("/")

    def run(self, words: Sequence[str], *, timeout_s: float, text: str | None = None) -> str:
        """Run a command within to its end; returns what it wrote, errors too.

        Raises:
            AssertionError: it ended with anything but 0.
        """
        done = subprocess.run(
            self.wrap(words),
            check=False,
            input=text or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, (
            f"{' '.join(words)} ended with {done.returncode}: {done.stdout}"
        )
        return done.stdout


@contextmanager
def running(folder: Path) -> Generator[Sandbox]:
    """Start one whose state lies in a folder; ended with all that runs in it."""
    _remove_left_over()
    name = f"{_PREFIX}{os.getpid()}-{next(_NUMBERS)}"
    with (_LOCKS / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        groups = tuple(_make_group(parent, name) for parent in _own_groups())
        try:
            yield from _first_process(folder, groups)
        finally:
            for group in groups:
                _remove_group(group)
            # Gigabytes of unpacked images; logs and settings stay for who looks what went wrong.
            for place in PLACES:
                shutil.rmtree(folder / place.strip("/"), ignore_errors=True)
            (_LOCKS / name).unlink()


def _first_process(folder: Path, groups: tuple[Path, ...]) -> Iterator[Sandbox]:
    first = [sys.executable, "-m", "tests.kubernetes.sandbox_init", str(folder)]
    unshare = ["unshare", *_NAMESPACES, "--fork", "--kill-child=KILL", "--mount-proc"]
    with (folder / "sandbox.log").open("w+") as log:
        process = subprocess.Popen(
            _joined(groups, [*unshare, *first]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            pid = block_until(lambda: _ready(process, log), "a sandbox", _START_S_MAX)
            yield Sandbox(pid, groups, folder)
        finally:
            # Its child is the first process of the namespaces, and is killed with it.
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[bytes], log: IO[str]) -> int | None:
    log.seek(0)
    said = log.read()
    assert process.poll() is None, f"the sandbox ended: {said}"
    if not said.endswith("ready\n"):
        return None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0])


def _joined(groups: tuple[Path, ...], words: Sequence[str]) -> list[str]:
    joined = ["sh", "-c", _JOIN, "sh", *map(str, groups), "--", *words]
    # The kernel ends it with us, however we end.
    return ["setpriv", "--pdeathsig", "KILL", *joined]


def _own_groups() -> Iterator[Path]:
    """Our control group in each hierarchy."""
    places: dict[frozenset[str], Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind == "cgroup2":
            places[frozenset()] = Path(left.split()[4])
        elif kind == "cgroup":
            places[frozenset(options.split(","))] = Path(left.split()[4])
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        wanted = frozenset(filter(None, controllers.split(",")))
        found = (p for names, p in places.items() if (wanted <= names if wanted else not names))
        place = next(found, None)
        if place is not None:
            yield place / path.lstrip("/")


def _make_group(parent: Path, name: str) -> Path:
    group = parent / name
    group.mkdir()
    # Without, nothing can join it.
    for setting in ("cpuset.cpus", "cpuset.mems"):
        if (parent / setting).exists() and not (group / setting).read_text().strip():
            (group / setting).write_text((parent / setting).read_text())
    return group


def _remove_left_over() -> None:
    """Remove groups of sandboxes whose process was killed."""
    for path in _LOCKS.glob(f"{_PREFIX}*"):
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # It runs.
            for parent in _own_groups():
                _remove_group(parent / path.name)
            path.unlink(missing_ok=True)


def _remove_group(group: Path) -> None:
    if group.exists():
        block_until(lambda: _is_removed(group), f"the end of {group}", _STOP_S_MAX)


def _is_removed(group: Path) -> bool:
    # Processes that were killed leave it one after another.
    with contextlib.suppress(OSError):
        for inner, _, _ in os.walk(group, topdown=False):
            Path(inner).rmdir()
    return not group.exists()
