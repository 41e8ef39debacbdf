"""What the kernel tells of connections over netlink: socket diagnostics and connection tracking.

Messages have a fixed layout for what is read here, so one slice or one `struct` a message does;
decoding attributes one by one takes six times as long. The layout is checked on every message, and
one of another shape is left out and counted. Layouts: linux/inet_diag.h, linux/netfilter/
nfnetlink_conntrack.h; all numbers are the kernel's.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from probe.agent.errors import NetlinkError

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
# States of TCP: those in which both sides talk, those in which one has ended, and LISTEN.
OPEN_STATES = 1 << 1 | 1 << 8
CLOSING_STATES = 1 << 4 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 11
LISTEN_STATES = 1 << 10
UNCONNECTED_STATES = 1 << 7

_NETLINK_SOCK_DIAG = 4
_NETLINK_NETFILTER = 12
_DUMP = 0x301
_DONE, _ERROR = 3, 2
_HEADER = struct.Struct("=IHHII")
_BUFFER_BYTES = 256 * 1024
_RECEIVE_BYTES = 4 * 1024 * 1024
_SO_RCVBUFFORCE = 33
_TIMEOUT_S = 2.0


class Dumped(NamedTuple):
    """One socket of a dump. `key` is the same as long as the socket lives."""

    key: bytes
    local: bytes
    local_port: int
    remote: bytes
    remote_port: int
    inode: int


_PORTS = struct.Struct(">HH")
_INODE = struct.Struct("=I")
# Offsets in a message: header, then family, state, timer, retransmissions.
_ID_AT, _ID_END, _INODE_AT = 20, 68, 84
_MAPPED = bytes(10) + b"\xff\xff"


class SocketDiagnostics:
    """Dumps of the sockets of this process's network namespace. Needs no privilege."""

    def __init__(self) -> None:
        """Open it.

        Raises:
            NetlinkError: the kernel does not have it, or it is forbidden.
        """
        self._socket = _open(_NETLINK_SOCK_DIAG, 0)

    def keys(
        self, protocol: int, states: int, known: set[bytes]
    ) -> tuple[set[bytes], list[Dumped]]:
        """Keys of all sockets in these states, and those that are not among the known ones.

        Raises:
            NetlinkError: the kernel refuses.
        """
        seen: set[bytes] = set()
        fresh: list[Dumped] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            request = struct.pack("=BBBxI48x", family, protocol, 0, states)
            for data, at in _dump(self._socket, 20, request):
                key = data[at + _ID_AT : at + _ID_END]
                seen.add(key)
                if key not in known:
                    (inode,) = _INODE.unpack_from(data, at + _INODE_AT)
                    fresh.append(_dumped(key, family, inode))
        return seen, fresh

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def _dumped(key: bytes, family: int, inode: int) -> Dumped:
    local_port, remote_port = _PORTS.unpack_from(key)
    if family == socket.AF_INET:
        local, remote = key[4:8], key[20:24]
    else:
        local, remote = unmapped(key[4:20]), unmapped(key[20:36])
    return Dumped(key, local, local_port, remote, remote_port, inode)


def unmapped(address: bytes) -> bytes:
    """An IPv4 address that stands inside of an IPv6 one, by itself."""
    return address[12:] if address.startswith(_MAPPED) else address


class Tracked(NamedTuple):
    """One tracked connection: who asked for whom, who answered, and whom the answer went to. They
    differ where addresses are translated. `counters`: bytes to the server and to the client, where
    the kernel counts.

    `is_answered`: somebody was there. Of TCP, the handshake was completed; a refusal is an answer
    to the kernel, too. Of UDP, a datagram came back. The event of a new one comes too early to say.
    """

    protocol: int
    client: bytes
    client_port: int
    dialled: bytes
    dialled_port: int
    server: bytes
    server_port: int
    seen: bytes
    seen_port: int
    is_new: bool
    is_answered: bool
    counters: tuple[int, int] | None


_CONNTRACK = 1 << 8
_NEW, _DELETE, _GET, _STATISTICS = 0, 2, 1, 4
_GROUPS = 1 | 4  # New and destroyed ones; updates come ten times as often and tell nothing more.
_TUPLE_V4, _TUPLE_V6 = 52, 76
_PROTOCOLS = frozenset((TCP, UDP))
_STATUS, _COUNTERS_ORIG, _COUNTERS_REPLY, _NESTED = 3, 9, 10, 0x8000
# Bits of the status (linux/netfilter/nf_conntrack_common.h).
_SEEN_REPLY, _ASSURED = 1 << 1, 1 << 2
_ATTRIBUTE = struct.Struct("=HH")


def _attribute(length: int, kind: int) -> bytes:
    return struct.pack("=HH", length, kind)


# What stands before the values of a tuple, for one address family: nests and attribute headers.
def _frame(address_bytes: int, source_kind: int) -> tuple[bytes, bytes, bytes]:
    each = 4 + address_bytes
    before_source = _attribute(4 + 2 * each, _NESTED | 1) + _attribute(each, source_kind)
    before_target = _attribute(each, source_kind + 1)
    before_protocol = _attribute(28, _NESTED | 2) + _attribute(5, 1)
    return before_source, before_target, before_protocol


_FRAMES = {4: _frame(4, 1), 16: _frame(16, 3)}


class ConnectionTracking:
    """Connections of this network namespace as the kernel tracks them. Needs CAP_NET_ADMIN."""

    def __init__(self) -> None:
        """Join the events.

        Raises:
            NetlinkError: the kernel does not have it, or it is forbidden.
        """
        self._events = _open(_NETLINK_NETFILTER, _GROUPS)
        self._events.setblocking(False)  # noqa: FBT003 - as sockets have it
        self._asks = _open(_NETLINK_NETFILTER, 0)
        self.unread = 0
        """Messages of a shape that is not known here."""

    def fileno(self) -> int:
        """Of the events, to wait for."""
        return self._events.fileno()

    def events(self, buffers_max: int = 64) -> Iterator[Tracked]:
        """What has happened; ends when there is nothing more, or enough for one go.

        Raises:
            NetlinkError: events were lost (ENOBUFS); a dump makes up for them.
        """
        for _ in range(buffers_max):
            try:
                data = self._events.recv(_BUFFER_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                raise _refused(error.errno or 0) from None
            for at, length, kind in _messages(data):
                if kind in {_CONNTRACK | _NEW, _CONNTRACK | _DELETE}:
                    is_new = kind & 0xFF == _NEW
                    found = self._read(data, at, length, is_new=is_new, counts=not is_new)
                    if found is not None:
                        yield found

    def check(self) -> None:
        """Find out whether dumps are allowed, by one that is short.

        Raises:
            NetlinkError: the kernel refuses.
        """
        request = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
        for _ in _dump(self._asks, _CONNTRACK | _STATISTICS, request):
            pass

    def dump(self) -> Iterator[Tracked]:
        """All tracked connections.

        Raises:
            NetlinkError: the kernel refuses.
        """
        for family in (socket.AF_INET, socket.AF_INET6):
            request = struct.pack("=BBH", family, 0, 0)
            for data, at in _dump(self._asks, _CONNTRACK | _GET, request):
                (length,) = _INODE.unpack_from(data, at)
                found = self._read(data, at, length, is_new=True, counts=True)
                if found is not None:
                    yield found

    def close(self) -> None:
        """Leave."""
        self._events.close()
        self._asks.close()

    def _read(
        self, data: bytes, at: int, length: int, *, is_new: bool, counts: bool
    ) -> Tracked | None:
        size = 4 if data[at + 16] == socket.AF_INET else 16
        tuple_bytes = _TUPLE_V4 if size == 4 else _TUPLE_V6  # noqa: PLR2004 - bytes of an address
        end = at + 20 + 2 * tuple_bytes
        asked = _tuple(data, at + 20, size)
        answered = _tuple(data, at + 20 + tuple_bytes, size)
        if length < 20 + 2 * tuple_bytes or asked is None or answered is None:
            # Others than these have no ports, and so another shape.
            if _protocol(data, at + 20, at + length) in _PROTOCOLS:
                self.unread += 1
            return None
        protocol, client, client_port, dialled, dialled_port = asked
        _, server, server_port, seen, seen_port = answered
        if protocol not in _PROTOCOLS:
            return None
        counters = _counters(data, end, at + length) if counts else None
        answer = _ASSURED if protocol == TCP else _SEEN_REPLY
        return Tracked(
            protocol,
            *(client, client_port, dialled, dialled_port, server, server_port, seen, seen_port),
            is_new,
            bool(_status(data, end, at + length) & answer),
            counters,
        )


def _protocol(data: bytes, at: int, end: int) -> int | None:
    """The protocol of a tuple of any shape: the first value in its second part."""
    (addresses,) = struct.unpack_from("=H", data, at + 4)
    place = at + 4 + ((addresses + 3) & ~3) + 8
    return data[place] if place < end else None


def _tuple(data: bytes, at: int, size: int) -> tuple[int, bytes, int, bytes, int] | None:
    before_source, before_target, before_protocol = _FRAMES[size]
    source = at + 4 + len(before_source)
    target = source + size + 4
    protocol = target + size + 8
    if (
        data[at + 4 : source] != before_source
        or data[source + size : target] != before_target
        or data[target + size : protocol] != before_protocol
    ):
        return None
    ports = struct.unpack_from(">4xH2x4xH", data, protocol + 4)
    return (
        data[protocol],
        data[source : source + size],
        ports[0],
        data[target : target + size],
        ports[1],
    )


def _status(data: bytes, at: int, end: int) -> int:
    """It stands right behind the tuples, or after a number or two."""
    while at + 8 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if kind == _STATUS:
            return int.from_bytes(data[at + 4 : at + 8], "big")
        if length < 4:  # noqa: PLR2004 - an attribute's own header
            break
        at += (length + 3) & ~3
    return 0


def _counters(data: bytes, at: int, end: int) -> tuple[int, int] | None:
    found: dict[int, int] = {}
    while at + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4:  # noqa: PLR2004 - an attribute's own header
            break
        if kind & ~_NESTED in {_COUNTERS_ORIG, _COUNTERS_REPLY}:
            # Packets (12 bytes with their header), then bytes.
            (found[kind & ~_NESTED],) = struct.unpack_from(">Q", data, at + 20)
        at += (length + 3) & ~3
    if len(found) != 2:  # noqa: PLR2004 - both ways
        return None
    return found[_COUNTERS_ORIG], found[_COUNTERS_REPLY]


def _open(family: int, groups: int) -> socket.socket:
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
    except OSError as error:
        raise _refused(error.errno or 0) from None
    try:
        opened.settimeout(_TIMEOUT_S)
        try:
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        except PermissionError:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        opened.bind((0, groups))
    except OSError as error:
        opened.close()
        raise _refused(error.errno or 0) from None
    return opened


def _dump(asks: socket.socket, kind: int, request: bytes) -> Iterator[tuple[bytes, int]]:
    """Messages of a dump, each as its buffer and where it begins."""
    header = _HEADER.pack(_HEADER.size + len(request), kind, _DUMP, 1, 0)
    try:
        asks.send(header + request)
        while True:
            data = asks.recv(_BUFFER_BYTES)
            for at, _, answered in _messages(data):
                if answered == _DONE:
                    return
                if answered == _ERROR:
                    (code,) = struct.unpack_from("=i", data, at + _HEADER.size)
                    if code:
                        raise _refused(-code)
                    return
                yield data, at
    except OSError as error:
        raise _refused(error.errno or 0) from None


def _messages(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Where each message of a buffer begins, how long it is, and of what kind."""
    at, end = 0, len(data)
    unpack = _HEADER.unpack_from
    while at + _HEADER.size <= end:
        length, kind, _, _, _ = unpack(data, at)
        if length < _HEADER.size or at + length > end:
            return
        yield at, length, kind
        at += (length + 3) & ~3


def _refused(code: int) -> NetlinkError:
    seen = os.strerror(code) if code else "no answer in time"
    name = errno.errorcode.get(code, str(code))
    msg = f"expected an answer of the kernel over netlink, saw {name}: {seen}"
    return NetlinkError(msg, errno=code)
