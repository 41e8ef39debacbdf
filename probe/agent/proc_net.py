"""Sockets as `/proc/PID/net/{tcp,tcp6,udp,udp6}` tells them: of any network namespace, as text.

The way to other namespaces, and the fallback where socket diagnostics are forbidden. It costs twice
as much, and gives the same values.
"""

from __future__ import annotations

import struct

from probe.agent.files import read
from probe.agent.netlink import TCP, UDP, Dumped, unmapped

_TABLE_BYTES_MAX = 32 * 1024 * 1024
_FILES = {TCP: ("tcp", "tcp6"), UDP: ("udp", "udp6")}


def keys(
    proc: str, pid: int | str, protocol: int, states: int, known: set[bytes]
) -> tuple[set[bytes], list[Dumped]]:
    """Keys of all sockets in these states in a process's network namespace, and those that are not
    among the known ones.

    Raises:
        OSError: the process has ended, or may not be looked at.
    """
    seen: set[bytes] = set()
    fresh: list[Dumped] = []
    for name in _FILES[protocol]:
        try:
            table = read(f"{proc}/{pid}/net/{name}", _TABLE_BYTES_MAX)
        except FileNotFoundError:
            if name.endswith("6"):  # IPv6 is switched off.
                continue
            raise
        for line in table.split(b"\n")[1:]:
            words = line.split(None, 10)
            # number, local, remote, state, queues, timer, retransmissions, user, timeout, inode
            if len(words) < 10 or not states >> int(words[3], 16) & 1:  # noqa: PLR2004 - columns of the table
                continue
            # A namespace's own, so that two of them never share a key; TIME_WAIT has inode 0.
            key = b"%s %s %s" % (words[1], words[2], words[9])
            seen.add(key)
            if key not in known:
                local, local_port = _address(words[1])
                remote, remote_port = _address(words[2])
                fresh.append(Dumped(key, local, local_port, remote, remote_port, int(words[9])))
    return seen, fresh


def _address(word: bytes) -> tuple[bytes, int]:
    """`0100007F:1F90`: words of 32 bits in the machine's order."""
    address, _, port = word.partition(b":")
    raw = bytes.fromhex(address.decode())
    count = len(raw) // 4
    packed = struct.pack(f"={count}I", *struct.unpack(f">{count}I", raw))
    return unmapped(packed), int(port, 16)
