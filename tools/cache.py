"""Where built programs are kept: outside the checkout, so that a fresh clone builds nothing.

A folder's name ends in a hash of all it is built from. A folder is built beside its place and then
renamed, under a lock: at any moment it is there whole or not at all, whoever is killed when.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from tools.errors import PrerequisiteError
from tools.progress import wait

_PROJECT = "mesos-platform"


def root() -> Path:
    """The folder of all built programs; it need not exist."""
    given = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification: a path that is not absolute counts as none.
    base = Path(given) if given and Path(given).is_absolute() else Path.home() / ".cache"
    return base / _PROJECT / "tools"


def ensure(name: str, build: Callable[[Path], None]) -> Path:
    """The folder `name`, built unless it is there.

    Raises:
        PrerequisiteError: the cache cannot be written.
        ToolError: whatever `build` raises.
    """
    folder = root() / name
    if folder.is_dir():
        return folder
    with locked(root() / f".{name}.lock", f"Another run builds {name}; waiting for it"):
        if folder.is_dir():
            return folder
        unfinished = root() / f".{name}.unfinished"
        # We hold the lock: what lies here was left by a run that was killed.
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            build(unfinished)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


@contextmanager
def locked(path: Path, title: str) -> Generator[None]:
    """Hold a lock on a file; the title is shown only where another process has it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        msg = (
            f"expected to write in {path.parent}, saw: {error.strerror}; set XDG_CACHE_HOME to a "
            "folder of yours"
        )
        raise PrerequisiteError(msg) from None
    # The kernel drops the lock with the process, so nobody waits for a dead one.
    with file:
        if not _taken(file.fileno()):
            wait(title, lambda: _taken(file.fileno()))
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
