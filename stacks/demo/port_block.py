"""A block of free ports for this checkout, which no other checkout takes at the same time.

Checkouts begin to look at different places, every port is probed, and a block that was chosen is
held by a lock for as long as the demo runs: its ports are bound one after the other in the course
of a migration, so probing alone would let two demos choose the same block.

The blocks lie below the range that the kernel hands to clients, and below those of the tests.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from components.targets import ports
from stacks.demo.errors import RefusedError

SIZE = 100
FIRST = 10_000
COUNT = 130


class Block:
    """A block that is held until `release`, or until the process ends."""

    def __init__(self, base: int, lock: int) -> None:
        self.base = base
        self._lock: int | None = lock

    def release(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def candidates(project_dir: Path) -> Iterator[int]:
    """First ports of all blocks, beginning where no other checkout is likely to begin."""
    digest = hashlib.sha256(str(project_dir.resolve()).encode()).digest()
    start = int.from_bytes(digest[:4], "big") % COUNT
    for offset in range(COUNT):
        yield FIRST + (start + offset) % COUNT * SIZE


def take(base: int, *, is_free: Callable[[int], bool] = ports.is_free) -> Block | int | None:
    """Hold a block; the port that is in use when one is, None when another demo holds it."""
    lock = _lock(base)
    if lock is None:
        return None
    busy = next((port for port in range(base, base + SIZE) if not is_free(port)), None)
    if busy is not None:
        os.close(lock)
        return busy
    return Block(base, lock)


def choose(project_dir: Path, *, is_free: Callable[[int], bool] = ports.is_free) -> Block:
    """Hold the first block that is free.

    Raises:
        RefusedError: there is none.
    """
    for base in candidates(project_dir):
        found = take(base, is_free=is_free)
        if isinstance(found, Block):
            return found
    msg = (
        f"expected {SIZE} free ports in a row between {FIRST} and {FIRST + COUNT * SIZE}, saw "
        "none. Stop what uses them, or write a port_base of yours into Pulumi.local.yaml"
    )
    raise RefusedError(msg)


def _lock(base: int) -> int | None:
    folder = Path(tempfile.gettempdir()) / f"mesos-platform-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid():
        msg = f"expected {folder} to be ours alone, it is not. Remove it"
        raise RefusedError(msg)
    descriptor = os.open(folder / str(base), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
