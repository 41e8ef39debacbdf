"""What a node has, read once."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from controllers.node_check.decide import Facts

_CGROUPS = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")
_ANSWER_S_MAX = 5.0
_OK = 200


def look(
    work_dir: Path,
    docker_socket: Path | None,
    cgroups: Path = _CGROUPS,
    programs: Sequence[str] = (),
) -> Facts:
    """Look at the node that this runs on, and for programs in its agent's image, which is this."""
    trouble = _trouble(work_dir)
    disk = 0
    if trouble is None:
        found = os.statvfs(work_dir)
        disk = found.f_frsize * found.f_blocks
    return Facts(
        cpus=os.cpu_count() or 0,
        memory_bytes=_memory(_MEMINFO.read_text()),
        disk_bytes=disk,
        cgroups=_version(cgroups),
        docker=None if docker_socket is None else _docker(docker_socket),
        work_dir=trouble,
        programs_missing=tuple(name for name in programs if shutil.which(name) is None),
    )


def _version(root: Path) -> int | None:
    """Version 2 has its list of controllers at the root; in version 1 each has a folder, and a
    host with a folder `unified` beside them has both."""
    if (root / "cgroup.controllers").is_file():
        return 2
    if (root / "memory").is_dir() and not (root / "unified").is_dir():
        return 1
    return None


def _memory(meminfo: str) -> int:
    for line in meminfo.splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            return int(rest.split()[0]) * 1024
    return 0


def _trouble(work_dir: Path) -> str | None:
    if not work_dir.is_dir():
        return f"no folder {work_dir}: mount it from the node"
    return None


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket of the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_S_MAX)
        self._path = path

    def connect(self) -> None:
        """Open the socket in place of an address."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_ANSWER_S_MAX)
        self.sock.connect(str(self._path))


def _docker(path: Path) -> str | None:
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/_ping")
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    else:
        return None if answer.status == _OK else f"status {answer.status}"
    finally:
        connection.close()
