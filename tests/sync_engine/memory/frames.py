"""The protocol as a server speaks it: requests are decoded, answers encoded. Pure.

The counterpart of `sync_engine.wire`, whose layouts it shares and whose code it does not.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from sync_engine.errors import ProtocolError
from sync_engine.wire import Check, Delete, OpCode, SetData
from sync_engine.znode import Acl, Stat
from tests.sync_engine.memory.tree import Create, Happened, Op, Result, SetAcl

_EPHEMERAL, _SEQUENTIAL = 1, 2
_NOT_TRIED = -2
_CONNECTED = 3
_MULTI_END = struct.pack(">i?i", -1, True, -1)


class Cursor:
    """Reads a frame from its start."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def take(self, layout: str) -> tuple[int, ...]:
        found = struct.unpack_from(f">{layout}", self._raw, self._at)
        self._at += struct.calcsize(f">{layout}")
        return found

    def int(self) -> int:
        return self.take("i")[0]

    def buffer(self) -> bytes | None:
        length = self.int()
        if length < 0:
            return None
        self._at += length
        return self._raw[self._at - length : self._at]

    def text(self) -> str:
        return (self.buffer() or b"").decode()

    def acl(self) -> tuple[Acl, ...]:
        return tuple(Acl(self.int(), self.text(), self.text()) for _ in range(self.int()))


@dataclass(frozen=True, slots=True)
class Greeting:
    """A connect request."""

    last_zxid: int
    timeout_ms: int
    session: int
    password: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `ops` is what it writes, `paths` what it reads; `credentials` those of an auth."""

    xid: int
    code: OpCode
    ops: tuple[Op, ...] = ()
    paths: tuple[str, ...] = ()
    credentials: tuple[str, bytes] = ("", b"")


def greeting(raw: bytes) -> Greeting:
    cursor = Cursor(raw)
    _, last_zxid, timeout_ms, session = cursor.take("iqiq")
    return Greeting(last_zxid, timeout_ms, session, cursor.buffer() or b"")


def asked(raw: bytes) -> Asked:
    """Decode a request."""
    cursor = Cursor(raw)
    xid, number = cursor.take("ii")
    code = OpCode(number)
    match code:
        case OpCode.PING | OpCode.CLOSE_SESSION:
            return Asked(xid, code)
        case OpCode.AUTH:
            cursor.int()
            return Asked(xid, code, credentials=(cursor.text(), cursor.buffer() or b""))
        case OpCode.MULTI:
            return Asked(xid, code, ops=tuple(_ops(cursor)))
        case OpCode.MULTI_READ:
            return Asked(xid, code, paths=tuple(_paths(cursor)))
        case OpCode.CREATE2 | OpCode.SET_DATA | OpCode.DELETE | OpCode.SET_ACL:
            return Asked(xid, code, ops=(_op(code, cursor),))
        case _:
            return Asked(xid, code, paths=(cursor.text(),))


def _ops(cursor: Cursor) -> list[Op]:
    found: list[Op] = []
    while True:
        code, done, _ = cursor.take("i?i")
        if done:
            return found
        found.append(_op(OpCode(code), cursor))


def _paths(cursor: Cursor) -> list[str]:
    found: list[str] = []
    while not cursor.take("i?i")[1]:
        found.append(cursor.text())
        cursor.take("?")
    return found


def _op(code: OpCode, cursor: Cursor) -> Op:
    path = cursor.text()
    match code:
        case OpCode.CREATE2:
            data, acl, flags = cursor.buffer(), cursor.acl(), cursor.int()
            return Create(path, data, acl, bool(flags & _EPHEMERAL), bool(flags & _SEQUENTIAL))
        case OpCode.SET_DATA:
            return SetData(path, cursor.buffer(), cursor.int())
        case OpCode.DELETE:
            return Delete(path, cursor.int())
        case OpCode.CHECK:
            return Check(path, cursor.int())
        case OpCode.SET_ACL:
            return SetAcl(path, cursor.acl(), cursor.int())
        case _:
            msg = f"expected an operation that writes, saw {code.name}"
            raise ProtocolError(msg)


def frame(body: bytes) -> bytes:
    """A body with its length."""
    return struct.pack(">i", len(body)) + body


def connected(*, timeout_ms: int, session: int, password: bytes) -> bytes:
    """Answer to a connect request."""
    return frame(struct.pack(">iiq", 0, timeout_ms, session) + _buffer(password) + b"\0")


def answer(xid: int, zxid: int, code: int, body: bytes = b"") -> bytes:
    """Any answer."""
    return frame(struct.pack(">iqi", xid, zxid, code) + body)


def event(happened: Happened, zxid: int) -> bytes:
    """A watch event; -1 stands for a zxid that older servers do not tell."""
    body = struct.pack(">ii", happened.kind, _CONNECTED) + _string(happened.path)
    return answer(-1, zxid, 0, body)


def written(op: Op, result: Result) -> bytes:
    """Body of the answer to a single write."""
    path = _string(result.path) if isinstance(op, Create) else b""
    return path + (b"" if result.stat is None else stat(result.stat))


def multi(ops: Sequence[Op], results: Sequence[Result]) -> bytes:
    """Body of the answer to a transaction that was applied."""
    heads = [struct.pack(">i?i", _CODES[type(op)], False, 0) for op in ops]
    bodies = map(written, ops, results)
    return b"".join(head + body for head, body in zip(heads, bodies, strict=True)) + _MULTI_END


_CODES: dict[type[Op], OpCode] = {
    Create: OpCode.CREATE2,
    SetData: OpCode.SET_DATA,
    Delete: OpCode.DELETE,
    Check: OpCode.CHECK,
}


def multi_failed(count: int, index: int, code: int) -> bytes:
    """Body of the answer to a transaction of which nothing was applied."""
    codes = [0] * index + [code] + [_NOT_TRIED] * (count - index - 1)
    parts = [struct.pack(">i?ii", OpCode.ERROR, False, entry, entry) for entry in codes]
    return b"".join(parts) + _MULTI_END


def data(content: bytes | None, found: Stat) -> bytes:
    """Body of the answer to getData."""
    return _buffer(content) + stat(found)


def acl(entries: Sequence[Acl], found: Stat) -> bytes:
    """Body of the answer to getACL."""
    packed = [struct.pack(">i", e.perms) + _string(e.scheme) + _string(e.id) for e in entries]
    return struct.pack(">i", len(entries)) + b"".join(packed) + stat(found)


def children(names: Sequence[str], found: Stat) -> bytes:
    """Body of the answer to getChildren2."""
    return struct.pack(">i", len(names)) + b"".join(map(_string, names)) + stat(found)


def multi_read(entries: Sequence[tuple[bytes | None, Stat] | int]) -> bytes:
    """Body of the answer to multiRead: data and Stat, or a code."""
    parts: list[bytes] = []
    for entry in entries:
        if isinstance(entry, int):
            parts.append(struct.pack(">i?ii", OpCode.ERROR, False, entry, entry))
        else:
            parts.append(struct.pack(">i?i", OpCode.GET_DATA, False, 0) + data(*entry))
    return b"".join(parts) + _MULTI_END


def stat(found: Stat) -> bytes:
    """A Stat."""
    return struct.pack(
        ">qqqqiiiqiiq",
        found.czxid,
        found.mzxid,
        found.ctime,
        found.mtime,
        found.version,
        found.cversion,
        found.aversion,
        found.ephemeral_owner,
        found.data_length,
        found.num_children,
        found.pzxid,
    )


def _buffer(content: bytes | None) -> bytes:
    return struct.pack(">i", -1) if content is None else struct.pack(">i", len(content)) + content


def _string(text: str) -> bytes:
    return _buffer(text.encode())
