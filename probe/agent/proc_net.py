"""Sockets as `/proc/PID/net/{tcp,tcp6,udp,udp6}` tells them: of any network namespace, as text.

The way to other namespaces, and the fallback where socket diagnostics are forbidden. It costs twice
as much, and gives the same values.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from probe.agent.files import read
from probe.agent.netlink import TCP, UDP, Dumped, unmapped

_TABLE_BYTES_MAX = 32 * 1024 * 1024
_COLUMNS = 10
_COUNTED = frozenset((b"TCP:", b"UDP:", b"TCP6:", b"UDP6:"))
_OWN = frozenset((b"inuse", b"tw"))
_FILES = {TCP: ("tcp", "tcp6"), UDP: ("udp", "udp6")}


class Tables:
    """The tables of one network namespace, each read once: what is asked of them again costs no
    further read. For one look."""

    def __init__(self, proc: str, pid: int | str) -> None:
        self._folder = f"{proc}/{pid}/net"
        self._rows: dict[int, list[tuple[int, list[bytes]]]] = {}

    def keys(
        self, protocol: int, states: int, known: set[bytes]
    ) -> tuple[set[bytes], list[Dumped]]:
        """Keys of all sockets in these states, and those that are not among the known ones.

        Raises:
            OSError: the process has ended, or may not be looked at.
        """
        rows = self._rows.get(protocol)
        if rows is None:
            rows = self._rows[protocol] = list(self._read(protocol))
        seen: set[bytes] = set()
        fresh: list[Dumped] = []
        for state, words in rows:
            if not states >> state & 1:
                continue
            # Addresses are a namespace's own; the inode tells sockets of two namespaces apart.
            key = b"%s %s %s" % (words[1], words[2], words[9])
            seen.add(key)
            if key not in known:
                ends = *_address(words[1]), *_address(words[2])
                fresh.append(Dumped(key, *ends, int(words[9])))
        return seen, fresh

    def _read(self, protocol: int) -> Iterator[tuple[int, list[bytes]]]:
        for name in _FILES[protocol]:
            try:
                table = read(f"{self._folder}/{name}", _TABLE_BYTES_MAX)
            except FileNotFoundError:
                if name.endswith("6"):  # IPv6 is switched off.
                    continue
                raise
            for line in table.split(b"\n")[1:]:
                # number, local, remote, state, queues, timer, retransmissions, user, timeout, inode
                words = line.split(None, 10)
                if len(words) >= _COLUMNS:
                    yield int(words[3], 16), words


Usage = tuple[int, ...]


def usage(proc: str, pid: int) -> Usage:
    """How many sockets a network namespace has, by kind: TCP, those that wait for their end, UDP,
    and the same of IPv6. What stays equal has most likely not changed.

    Reading a table walks through the sockets of all namespaces (1 ms); this is a counter each.

    Raises:
        OSError: the process has ended, or may not be looked at.
    """
    counts: list[int] = []
    for name in ("sockstat", "sockstat6"):
        try:
            lines = read(f"{proc}/{pid}/net/{name}").splitlines()
        except FileNotFoundError:
            if name.endswith("6"):  # IPv6 is switched off.
                continue
            raise
        for line in lines:
            # TCP: inuse 5 orphan 0 tw 1 alloc 10 mem 2; only `inuse` and `tw` are the namespace's.
            words = line.split()
            if words[0] in _COUNTED:
                counts += [int(words[n + 1]) for n, word in enumerate(words) if word in _OWN]
    return tuple(counts)


def _address(word: bytes) -> tuple[bytes, int]:
    """`0100007F:1F90`: words of 32 bits in the machine's order."""
    address, _, port = word.partition(b":")
    raw = bytes.fromhex(address.decode())
    count = len(raw) // 4
    packed = struct.pack(f"={count}I", *struct.unpack(f">{count}I", raw))
    return unmapped(packed), int(port, 16)
