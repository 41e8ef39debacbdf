"""Whether a loopback port is free, and who holds it when it is not.

A port that is taken must be said before a process is started: afterwards the readiness probe would
be answered by the stranger. Linux only, by /proc; no other process is needed.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

LOOPBACK = "127.0.0.1"
_LISTEN = "0A"


def is_free(port: int) -> bool:
    """Whether a server could listen there now; connections in TIME_WAIT do not matter."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def owner_of(port: int) -> str:
    """Text that names the process listening on a port, as far as we may see it."""
    inodes = set(_listening_inodes(port))
    if inodes:
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and _holds(process, inodes):
                return f"process {process.name} ({_command(process)})"
    return "a process that we may not look into"


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == _LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                yield columns[9]


def _holds(process: Path, inodes: set[str]) -> bool:
    names = {f"socket:[{inode}]" for inode in inodes}
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:  # The process ended, or is not ours to look into.
        return False
    return any(_target(descriptor) in names for descriptor in descriptors)


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:  # Closed meanwhile; for this process, the one that listed them.
        return ""


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "ended meanwhile"
    # Two words tell what it is; arguments of strangers may hold what is none of our business.
    return " ".join(word.decode(errors="replace") for word in words[:2] if word)
