"""ZooKeeper's client protocol as bytes: requests are encoded, answers decoded. No I/O.

Every frame is a length (int32, big-endian) and that many bytes; strings and buffers are a length
and bytes, and length -1 is null. Only what the engine uses is here: no one-shot watches, no
reconfiguration, no SASL. Decoders take the whole frame's bytes, where the body starts and where it
ends, so that an answer is never copied before it is taken apart.

Source: zookeeper.jute and ZooDefs.OpCode of ZooKeeper 3.9.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from sync_engine.errors import ProtocolError
from sync_engine.znode import PERSISTENT, Acl, NodeKind, Stat


class OpCode(IntEnum):
    """Kinds of requests, by their numbers in ZooDefs.OpCode."""

    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    SET_ACL = 7
    SYNC = 9
    PING = 11
    GET_CHILDREN2 = 12
    CHECK = 13
    MULTI = 14
    CREATE2 = 15
    CREATE_CONTAINER = 19
    CREATE_TTL = 21
    MULTI_READ = 22
    AUTH = 100
    ADD_WATCH = 106
    CLOSE_SESSION = -11
    ERROR = -1


XID_EVENT = -1
XID_PING = -2
XID_AUTH = -4
ANY_VERSION = -1
PERSISTENT_RECURSIVE = 1
"""Mode of addWatch: every change at or below the path, until removed."""
REQUEST_BYTES_MAX = 0xFFFFF
"""Largest frame that a server accepts by default (jute.maxbuffer, without the length itself)."""
FRAME_BYTES_MAX = 256 * 1024 * 1024
"""Largest answer that we accept: no real one is larger, so what is larger is a broken stream."""

_EPHEMERAL, _SEQUENTIAL, _CONTAINER, _WITH_TTL = 1, 2, 4, 5
_PASSWORD_BYTES = 16
_int = struct.Struct(">i")
_long = struct.Struct(">q")
_header = struct.Struct(">iii")
_stat = struct.Struct(">qqqqiiiqiiq")
_multi_header = struct.Struct(">i?i")
_connect = struct.Struct(">iqiq")
_connected = struct.Struct(">iiqi")
_event = struct.Struct(">iii")
# A server answers each of them as create2; other versions may name the request.
_CREATES = (OpCode.CREATE2, OpCode.CREATE_CONTAINER, OpCode.CREATE_TTL)
_MULTI_END = _multi_header.pack(-1, 1, -1)
_NULL = _int.pack(-1)
STAT_BYTES = _stat.size
REPLY = struct.Struct(">iqi")
"""Head of an answer: xid, zxid and error code."""
REPLY_BYTES = REPLY.size
_ACLS_CACHED_MAX = 1024


@dataclass(frozen=True, slots=True)
class Create:
    """Create a znode inside a transaction."""

    path: str
    data: bytes | None
    acl: tuple[Acl, ...]
    ephemeral: bool = False
    kind: NodeKind = PERSISTENT
    sequential: bool = False


@dataclass(frozen=True, slots=True)
class SetData:
    """Set data inside a transaction, at an expected version."""

    path: str
    data: bytes | None
    version: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a znode inside a transaction, at an expected version."""

    path: str
    version: int


@dataclass(frozen=True, slots=True)
class Check:
    """Let a transaction fail unless a znode has this version."""

    path: str
    version: int


Op = Create | SetData | Delete | Check


@dataclass(frozen=True, slots=True)
class MultiResult:
    """Outcome of a transaction: its zxid, a Stat for each set, and for creates if told."""

    zxid: int
    stats: list[Stat | None]


@dataclass(frozen=True, slots=True)
class Connected:
    """A server's answer to a connect request; a timeout of 0 says that the session has expired."""

    timeout_ms: int
    session_id: int
    password: bytes


def frame(xid: int, code: int, body: bytes) -> bytes:
    """A whole request."""
    return _header.pack(len(body) + 8, xid, code) + body


def connect(*, last_zxid: int, timeout_ms: int, session_id: int, password: bytes) -> bytes:
    """The first frame of a connection. Never read-only: such a server serves stale data."""
    body = _connect.pack(0, last_zxid, timeout_ms, session_id) + buffer(password) + b"\0"
    return _int.pack(len(body)) + body


def new_password() -> bytes:
    """What a client without a session sends for its password."""
    return bytes(_PASSWORD_BYTES)


def string(text: str) -> bytes:
    """A string with its length."""
    raw = text.encode()
    return _int.pack(len(raw)) + raw


def buffer(data: bytes | None) -> bytes:
    """A buffer with its length; None is null, which is not empty."""
    return _NULL if data is None else _int.pack(len(data)) + data


@lru_cache(maxsize=_ACLS_CACHED_MAX)
def acl_list(acl: tuple[Acl, ...]) -> bytes:
    """A list of ACL entries."""
    parts = [_int.pack(len(acl))]
    for entry in acl:
        parts += [_int.pack(entry.perms), string(entry.scheme), string(entry.id)]
    return b"".join(parts)


def auth_body(scheme: str, auth: bytes) -> bytes:
    """Credentials; sent with `XID_AUTH`."""
    return _int.pack(0) + string(scheme) + buffer(auth)


def path_body(path: str) -> bytes:
    """Body of sync and getACL."""
    return string(path)


def watchless_body(path: str) -> bytes:
    """Body of exists, getData and getChildren, which never leave a watch."""
    return string(path) + b"\0"


def create_body(op: Create) -> bytes:
    """Body of create2, createContainer and createTTL."""
    head = string(op.path) + buffer(op.data) + acl_list(op.acl)
    if op.kind.ttl_ms is not None:
        return head + _int.pack(_WITH_TTL) + _long.pack(op.kind.ttl_ms)
    flags = _EPHEMERAL * op.ephemeral | _SEQUENTIAL * op.sequential
    return head + _int.pack(_CONTAINER if op.kind.is_container else flags)


def create_code(op: Create) -> OpCode:
    """The kind of request that creates such a znode."""
    if op.kind.ttl_ms is not None:
        return OpCode.CREATE_TTL
    return OpCode.CREATE_CONTAINER if op.kind.is_container else OpCode.CREATE2


def set_body(path: str, data: bytes | None, version: int) -> bytes:
    """Body of setData."""
    return string(path) + buffer(data) + _int.pack(version)


def version_body(path: str, version: int) -> bytes:
    """Body of delete and check."""
    return string(path) + _int.pack(version)


def set_acl_body(path: str, acl: tuple[Acl, ...], aversion: int) -> bytes:
    """Body of setACL."""
    return string(path) + acl_list(acl) + _int.pack(aversion)


def add_watch_body(path: str) -> bytes:
    """Body of addWatch, persistent and recursive."""
    return string(path) + _int.pack(PERSISTENT_RECURSIVE)


_HEADERS = {
    code: _multi_header.pack(code, 0, -1)
    for code in (
        OpCode.CREATE2,
        OpCode.CREATE_CONTAINER,
        OpCode.CREATE_TTL,
        OpCode.SET_DATA,
        OpCode.DELETE,
        OpCode.CHECK,
        OpCode.GET_DATA,
    )
}


def op_bytes(op: Op) -> bytes:
    """One operation of a transaction; its length counts towards the limit of the request."""
    match op:
        case Create():
            return _HEADERS[create_code(op)] + create_body(op)
        case SetData():
            return _HEADERS[OpCode.SET_DATA] + set_body(op.path, op.data, op.version)
        case Delete():
            return _HEADERS[OpCode.DELETE] + version_body(op.path, op.version)
        case Check():
            return _HEADERS[OpCode.CHECK] + version_body(op.path, op.version)


def multi_body(ops: Sequence[Op]) -> bytes:
    """Body of multi."""
    return b"".join(map(op_bytes, ops)) + _MULTI_END


def multi_read_body(paths: Sequence[str]) -> bytes:
    """Body of multiRead, asking for data."""
    head = _HEADERS[OpCode.GET_DATA]
    return b"".join([head + watchless_body(path) for path in paths]) + _MULTI_END


Decoder = Callable[[bytes, int, int], object]
"""Takes a frame's bytes, start and end of the body."""


def connect_reply(raw: bytes, at: int) -> Connected:
    """Answer to a connect request."""
    try:
        _, timeout_ms, session_id, length = _connected.unpack_from(raw, at)
    except struct.error:
        msg = (
            f"expected an answer to a connect request, saw {len(raw) - at} bytes of something else"
        )
        raise ProtocolError(msg) from None
    at += _connected.size
    return Connected(timeout_ms, session_id, raw[at : at + length])


def no_body(_raw: bytes, _at: int, _end: int) -> None:
    """Answer without a body, or with one that nobody needs."""


def read_zxid(raw: bytes, at: int, _end: int) -> int:
    """The zxid in the reply's header, right before the body: the last one that the server had
    applied when it answered."""
    return int(REPLY.unpack_from(raw, at - REPLY_BYTES)[1])


def read_stat(raw: bytes, at: int, _end: int) -> Stat:
    """Answer that is a Stat: exists, setData, setACL."""
    return Stat(*_stat.unpack_from(raw, at))


def read_data(raw: bytes, at: int, _end: int) -> tuple[bytes | None, Stat]:
    """Answer to getData."""
    length = _int.unpack_from(raw, at)[0]
    at += 4
    if length < 0:
        return None, Stat(*_stat.unpack_from(raw, at))
    return raw[at : at + length], Stat(*_stat.unpack_from(raw, at + length))


def read_acl(raw: bytes, at: int, end: int) -> tuple[tuple[Acl, ...], Stat]:
    """Answer to getACL."""
    return _decode_acl(raw[at : end - STAT_BYTES]), Stat(*_stat.unpack_from(raw, end - STAT_BYTES))


def read_created(raw: bytes, _at: int, end: int) -> Stat:
    """Answer to create2, whose path we know."""
    return Stat(*_stat.unpack_from(raw, end - STAT_BYTES))


def read_children(raw: bytes, at: int, _end: int) -> tuple[list[str], Stat]:
    """Answer to getChildren2."""
    count = _int.unpack_from(raw, at)[0]
    at += 4
    names: list[str] = []
    for _ in range(count):
        stop = at + 4 + _int.unpack_from(raw, at)[0]
        names.append(raw[at + 4 : stop].decode())
        at = stop
    return names, Stat(*_stat.unpack_from(raw, at))


@lru_cache(maxsize=_ACLS_CACHED_MAX)
def _decode_acl(raw: bytes) -> tuple[Acl, ...]:
    # A tree has few different lists, so nearly every answer is a look-up.
    count = _int.unpack_from(raw, 0)[0]
    at = 4
    entries: list[Acl] = []
    for _ in range(count):
        perms = _int.unpack_from(raw, at)[0]
        scheme, at = read_string(raw, at + 4)
        id_, at = read_string(raw, at)
        entries.append(Acl(perms, scheme, id_))
    return tuple(entries)


def read_string(raw: bytes, at: int) -> tuple[str, int]:
    """A string, null read as empty, and where it ends."""
    length = max(0, _int.unpack_from(raw, at)[0])
    at += 4
    return raw[at : at + length].decode(), at + length


def read_event(raw: bytes, at: int) -> tuple[int, int, str]:
    """Type, session state and path of a watch event."""
    kind, state, _ = _event.unpack_from(raw, at)
    path, _ = read_string(raw, at + 8)
    return kind, state, path


def read_multi(raw: bytes, at: int, _end: int) -> MultiResult | list[int]:
    """Answer to multi: its result; or, if it failed, one code an operation.

    The zxid stands in the reply's header, right before the body.
    """
    zxid = REPLY.unpack_from(raw, at - REPLY_BYTES)[1]
    stats: list[Stat | None] = []
    codes: list[int] = []
    while True:
        code, done, _ = _multi_header.unpack_from(raw, at)
        at += _multi_header.size
        if done:
            return codes or MultiResult(zxid, stats)
        if code == OpCode.ERROR:
            codes.append(_int.unpack_from(raw, at)[0])
            at += 4
            continue
        if code == OpCode.CREATE or code in _CREATES:
            at += 4 + max(0, _int.unpack_from(raw, at)[0])
        # Servers as old as 3.8.0 answer each create of a transaction as the one without a Stat.
        if code == OpCode.SET_DATA or code in _CREATES:
            stats.append(Stat(*_stat.unpack_from(raw, at)))
            at += STAT_BYTES
        else:
            stats.append(None)


def read_multi_data(raw: bytes, at: int, _end: int) -> list[tuple[bytes | None, Stat] | int]:
    """Answer to multiRead: data and Stat, or an error code, for each path."""
    found: list[tuple[bytes | None, Stat] | int] = []
    while True:
        code, done, _ = _multi_header.unpack_from(raw, at)
        at += _multi_header.size
        if done:
            return found
        if code == OpCode.ERROR:
            found.append(_int.unpack_from(raw, at)[0])
            at += 4
        else:
            length = _int.unpack_from(raw, at)[0]
            at += 4
            data = raw[at : at + length] if length >= 0 else None
            at += max(0, length)
            found.append((data, Stat(*_stat.unpack_from(raw, at))))
            at += STAT_BYTES
