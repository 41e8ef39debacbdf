"""Who is connected to whom on this machine, read plainly: what a probe's report is compared with.

Shares no code with the probe: text of `/proc/net/tcp*`, and every open file of every process.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field
from pathlib import Path

_ESTABLISHED, _LISTEN = "01", "0A"
_End = tuple[bytes, int]


@dataclass(frozen=True)
class Edge:
    """Established connections of a client process to a port of a server process."""

    client: int
    server: int
    port: int


@dataclass
class Truth:
    """One look. `flows`: connections by both ends, as (client, server, port) of processes."""

    listeners: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    flows: dict[tuple[_End, _End], Edge] = field(default_factory=dict[tuple[_End, _End], Edge])


def look() -> Truth:
    """Look once."""
    sockets = [row for name in ("tcp", "tcp6") for row in _rows(Path("/proc/net", name))]
    owners = _owners()
    truth = Truth()
    ports: set[int] = set()
    for state, local, _, inode in sockets:
        if state == _LISTEN:
            ports.add(local[1])
            truth.listeners |= {(pid, local[1]) for pid in owners.get(inode, ())}
    ends = {
        (local, remote): min(owners[inode])
        for state, local, remote, inode in sockets
        if state == _ESTABLISHED and inode in owners
    }
    for (local, remote), pid in ends.items():
        server = ends.get((remote, local))
        if server is not None and remote[1] in ports and local[1] not in ports:
            truth.flows[local, remote] = Edge(pid, server, remote[1])
    return truth


def _rows(file: Path) -> list[tuple[str, _End, _End, int]]:
    rows: list[tuple[str, _End, _End, int]] = []
    for line in file.read_text().splitlines()[1:]:
        words = line.split()
        rows.append((words[3], _end(words[1]), _end(words[2]), int(words[9])))
    return rows


def _end(text: str) -> _End:
    """Address and port; an IPv4 address in IPv6 is that of IPv4."""
    digits, _, port = text.partition(":")
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    address = b"".join(words)
    mapped = bytes(10) + b"\xff\xff"
    return (address.removeprefix(mapped), int(port, 16))


def _owners() -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # It has ended.
            for file in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    target = str(file.readlink())
                    if target.startswith("socket:["):
                        found.setdefault(int(target[8:-1]), set()).add(int(process.name))
    return found


def four_letter_word(address: str, word: str) -> str:
    """What a ZooKeeper server answers; empty when it does not."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(word.encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    except OSError:
        return ""
