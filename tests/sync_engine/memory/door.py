"""One connection to one server, seen from the server.

Answers go out in the order of the requests. Writes and syncs go to the leader as they come and are
answered when this server has applied as much as they have seen; a read waits for its turn.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sync_engine.wire import OpCode
from sync_engine.znode import PERM_ADMIN, PERM_READ, Acl, Stat, is_within
from tests.sync_engine.memory import frames
from tests.sync_engine.memory.ensemble import (
    SESSION_EXPIRED,
    SESSION_MOVED,
    Server,
    Session,
    Txn,
)
from tests.sync_engine.memory.faults import DELAY_S, Fate
from tests.sync_engine.memory.frames import Asked
from tests.sync_engine.memory.tree import SUPER, Node, RefusedError, digest_id, may

if TYPE_CHECKING:
    from tests.sync_engine.memory.network import End

SUPER_CREDENTIALS = b"super:secret"
_AUTH_FAILED = -115
_LENGTH = struct.Struct(">i")
_READS = frozenset(
    {
        OpCode.EXISTS,
        OpCode.GET_DATA,
        OpCode.GET_ACL,
        OpCode.GET_CHILDREN2,
        OpCode.MULTI_READ,
        OpCode.ADD_WATCH,
    }
)


@dataclass(slots=True)
class _Slot:
    """A request that is not answered. `index` is how far the server must have come."""

    asked: Asked
    index: int | None = None
    zxid: int = 0
    code: int = 0
    body: bytes = b""
    order: int = 0
    """Of the transaction that it became; 0: of none."""


class Door:
    """A connection."""

    def __init__(self, server: Server, end: End) -> None:
        self.server = server
        self.end = end
        self.session: Session | None = None
        self.watches: list[str] = []
        self._loop = server.ensemble.loop
        self._identities: list[tuple[str, str]] = []
        self._slots: deque[_Slot] = deque()
        self._have = b""
        self._is_open = True
        self._leader_at = 0.0
        server.doors.append(self)

    def feed(self, raw: bytes) -> None:
        """Bytes from the client."""
        self._have += raw
        while self._is_open and len(self._have) >= _LENGTH.size:
            length = int(_LENGTH.unpack_from(self._have)[0])
            if length > self.server.ensemble.frame_bytes_max:
                self.cut()
                return
            end = _LENGTH.size + length
            if len(self._have) < end:
                return
            whole, self._have = self._have[_LENGTH.size : end], self._have[end:]
            if self.session is None:
                self._greet(whole)
            else:
                self._take(frames.asked(whole))

    def cut(self) -> None:
        """Break the connection: what is under way to the client is lost."""
        if self._is_open:
            self.close()
            self.end.break_off()

    def close(self) -> None:
        """The client is gone."""
        if not self._is_open:
            return
        self._is_open = False
        self._slots.clear()
        self.server.doors.remove(self)
        self.server.ensemble.leave(self)

    def tell(self, txn: Txn) -> None:
        """Send events of what the server has just applied."""
        if not self.watches:
            return
        zxid = txn.zxid if self.server.ensemble.tells_zxid else -1
        for happened in txn.happened:
            covered = any(is_within(happened.path, watch) for watch in self.watches)
            if covered and may(happened.acl, PERM_READ, self._identities):
                self.end.deliver(frames.event(happened, zxid))

    def pump(self) -> None:
        """Answer what can be answered, in order."""
        while self._slots and self._is_open:
            slot = self._slots[0]
            if slot.asked.code in _READS:
                self._read(slot)
            elif slot.index is None or self.server.applied < slot.index:
                return
            self._slots.popleft()
            zxid = slot.zxid or self.server.zxid
            heard = partial(self.server.ensemble.unheard.discard, slot.order)
            answer = frames.answer(slot.asked.xid, zxid, slot.code, slot.body)
            self.end.deliver(answer, heard)
            if slot.asked.code is OpCode.CLOSE_SESSION:
                self.close()
                self.end.finish()

    # The session

    def _greet(self, raw: bytes) -> None:
        greeting, ensemble = frames.greeting(raw), self.server.ensemble
        if greeting.last_zxid > self.server.zxid:
            # It would let the client go back in time.
            self.cut()
            return
        if greeting.session:
            self.session = ensemble.find(greeting.session, greeting.password)
        else:
            self.session = ensemble.open(self.end.who, greeting.timeout_ms / 1000, self)
        if self.session is None:
            self.end.deliver(frames.connected(timeout_ms=0, session=0, password=bytes(16)))
            self.close()
            self.end.finish()
            return
        ensemble.take(self.session, self)
        self.end.deliver(
            frames.connected(
                timeout_ms=round(self.session.timeout_s * 1000),
                session=self.session.id,
                password=self.session.password,
            )
        )

    def _auth(self, asked: Asked) -> None:
        scheme, credentials = asked.credentials
        if scheme != "digest" or asked.code in self.server.refuses:
            self.end.deliver(frames.answer(asked.xid, 0, _AUTH_FAILED))
            self.close()
            self.end.finish()
            return
        if credentials == SUPER_CREDENTIALS:
            self._identities.append(SUPER)
        self._identities.append((scheme, digest_id(credentials)))
        self.end.deliver(frames.answer(asked.xid, 0, 0))

    # Requests

    def _take(self, asked: Asked) -> None:
        if asked.code is OpCode.PING:
            self.end.deliver(frames.answer(asked.xid, self.server.zxid, 0))
            return
        if asked.code is OpCode.AUTH:
            self._auth(asked)
            return
        fate = self.server.ensemble.faults.judge(asked.code)
        if fate is Fate.LOST_BEFORE:
            self.cut()
            return
        slot = _Slot(asked)
        self._slots.append(slot)
        if asked.code not in _READS:
            delay_s = self.end.delay_s() + (DELAY_S if fate is Fate.DELAYED else 0)
            self._leader_at = max(self._leader_at + 1e-6, self._loop.time() + delay_s)
            self._loop.call_at(self._leader_at, self._at_leader, slot, fate)
        elif fate is Fate.LOST_AFTER:
            self.cut()
        self.pump()

    def _at_leader(self, slot: _Slot, fate: Fate) -> None:
        """The leader does a write, whether or not its connection is still there."""
        ensemble, session = self.server.ensemble, self.session
        assert session is not None
        asked = slot.asked
        if session.id not in ensemble.sessions:
            slot.code = SESSION_EXPIRED
        elif session.owner is not self:
            slot.code = SESSION_MOVED
        elif asked.code is OpCode.CLOSE_SESSION:
            session.door = None
            ensemble.expire(session.id)
        elif asked.ops or asked.code is OpCode.MULTI:
            self._commit(slot, session)
        slot.index = len(ensemble.log)
        if fate is Fate.LOST_AFTER:
            self.cut()
        else:
            self._loop.call_later(self.end.delay_s(), self.server.catch_up, slot.index)

    def _commit(self, slot: _Slot, session: Session) -> None:
        asked = slot.asked
        try:
            txn = self.server.ensemble.commit(session, asked.ops, self._identities)
        except RefusedError as refused:
            slot.zxid = self.server.ensemble.zxid
            if asked.code is OpCode.MULTI:
                slot.body = frames.multi_failed(len(asked.ops), refused.index, refused.code)
            else:
                slot.code = refused.code
            return
        slot.zxid, slot.order = txn.zxid, txn.order
        self.server.ensemble.unheard.add(txn.order)
        if asked.code is OpCode.MULTI:
            slot.body = frames.multi(asked.ops, txn.results)
        else:
            slot.body = frames.written(asked.ops[0], txn.results[0])

    def _read(self, slot: _Slot) -> None:
        asked = slot.asked
        if asked.code is OpCode.MULTI_READ:
            slot.body = frames.multi_read([self._entry(path) for path in asked.paths])
            return
        (path,) = asked.paths
        if asked.code in self.server.refuses:
            slot.code = self.server.refuses[asked.code]
            return
        if asked.code is OpCode.ADD_WATCH:
            self.watches.append(path)
            # The body of its answer is one more error code.
            slot.body = bytes(4)
            return
        perms = PERM_READ | PERM_ADMIN if asked.code is OpCode.GET_ACL else PERM_READ
        try:
            node = self._node(path, perms)
        except RefusedError as refused:
            slot.code = refused.code
            return
        match asked.code:
            case OpCode.EXISTS:
                slot.body = frames.stat(node.stat)
            case OpCode.GET_DATA:
                slot.body = frames.data(node.data, node.stat)
            case OpCode.GET_ACL:
                slot.body = frames.acl(self._shown(node.acl), node.stat)
            case _:
                slot.body = frames.children(list(node.children), node.stat)

    def _node(self, path: str, perms: int) -> Node:
        return self.server.tree.check(path, perms, self._identities)

    def _entry(self, path: str) -> tuple[bytes | None, Stat] | int:
        try:
            node = self._node(path, PERM_READ)
        except RefusedError as refused:
            return refused.code
        return node.data, node.stat

    def _shown(self, acl: Sequence[Acl]) -> list[Acl]:
        if may(acl, PERM_ADMIN, self._identities):
            return list(acl)
        return [
            Acl(e.perms, e.scheme, e.id.partition(":")[0] + ":x") if e.scheme == "digest" else e
            for e in acl
        ]
