"""Counter files that are read again and again: kept open, inside a bound.

Opening a file of /proc or of a cgroup costs more than reading it. A file that is kept open also
answers for the process or cgroup that it was opened for, never for one that took its name later:
reading it after the end is an error. `/proc/PID/net/*` and `/proc/PID/ns/*` are never kept, because
an open one keeps the network namespace of a dead container alive.
"""

from __future__ import annotations

import os
import resource

_READ_BYTES = 4096
# Descriptors for connections, watches and the rest of the process.
_SPARED = 256


class OpenFiles:
    """How many files may stay open. Raises the process's soft limit to its hard one."""

    def __init__(self, most: int = 65_536) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        hard_wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
        if soft < hard_wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard_wanted, hard))
            soft = hard_wanted
        self.limit = max(0, soft - _SPARED)
        self.used = 0

    def open(self, path: str) -> CounterFile:
        """A file to be read again and again.

        Raises:
            OSError: it cannot be opened.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if self.used >= self.limit:
            os.close(descriptor)
            return CounterFile(self, path, None)
        self.used += 1
        return CounterFile(self, path, descriptor)


class CounterFile:
    """A small file, read from its beginning each time."""

    __slots__ = ("_descriptor", "_owner", "_path")

    def __init__(self, owner: OpenFiles, path: str, descriptor: int | None) -> None:
        self._owner = owner
        self._path = path
        self._descriptor = descriptor

    def read(self) -> bytes:
        """What it holds now.

        Raises:
            OSError: what it tells of is gone.
        """
        if self._descriptor is not None:
            return os.pread(self._descriptor, _READ_BYTES, 0)
        return read(self._path)

    def close(self) -> None:
        """Close it; twice is no error."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self._owner.used -= 1


def read(path: str, bytes_max: int = _READ_BYTES) -> bytes:
    """The beginning of a file, opened for this once.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # A file of /proc may give less than it was asked for.
        pieces: list[bytes] = []
        left = bytes_max
        while left > 0 and (piece := os.read(descriptor, left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def read_or_empty(path: str, bytes_max: int = _READ_BYTES) -> bytes:
    """The beginning of a file; nothing where it is missing, forbidden or gone."""
    try:
        return read(path, bytes_max)
    except OSError:
        return b""


def read_number(path: str) -> int | None:
    """The number that a file holds; None where it holds none, or cannot be read."""
    text = read_or_empty(path).strip()
    return int(text) if text.isdigit() else None
