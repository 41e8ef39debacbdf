"""Processes of a run folder that no supervisor knows any more.

Everything that a supervisor starts carries a mark in its environment, and so do its descendants. So
what a killed supervisor left behind, or the tasks of an agent that is removed, can be found and
ended without guessing by names: only what carries the mark is ever touched. Linux only, by /proc.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

MARK = "MESOS_PLATFORM_PROCESS"
_PAUSE_S = 0.05
_KILL_TIMEOUT_S = 5.0


def marked(mark: str) -> set[int]:
    """Ids of live processes that carry exactly this mark, or one below it when it ends in `/`."""
    wanted = f"{MARK}={mark}".encode()
    is_prefix = mark.endswith("/")
    found: set[int] = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # Ended meanwhile, or another user's.
            continue
        if any(v.startswith(wanted) if is_prefix else v == wanted for v in variables):
            found.add(int(process.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process exists and is more than a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def end(pids: Collection[int], *, grace_s: float) -> None:
    """Ask processes to end, and kill those that have not after `grace_s`."""
    left = _signal(pids, signal.SIGTERM)
    left = _await_end(left, grace_s)
    _await_end(_signal(left, signal.SIGKILL), _KILL_TIMEOUT_S)


def _signal(pids: Collection[int], number: int) -> set[int]:
    reached: set[int] = set()
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        reached.add(pid)
    return reached


def _await_end(pids: set[int], bound_s: float) -> set[int]:
    deadline = time.monotonic() + bound_s
    left = {pid for pid in pids if is_alive(pid)}
    while left and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
        left = {pid for pid in left if is_alive(pid)}
    return left
