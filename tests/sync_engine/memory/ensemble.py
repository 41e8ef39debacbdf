"""An ensemble: what its leader has committed, servers that follow behind, and sessions.

All writes are committed by the leader in one order; each server applies them `lag_s` later, so a
read from a server may be old. A `sync` or a write of its own brings a server up to that point.
A session belongs to the connection that used it last: what an older one still has under way is
refused, as ZooKeeper does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sync_engine.wire import REQUEST_BYTES_MAX, OpCode
from sync_engine.znode import Acl, Stat
from tests.sync_engine.memory.faults import Faults
from tests.sync_engine.memory.loop import EPOCH_S, VirtualLoop
from tests.sync_engine.memory.tree import (
    SUPER,
    Check,
    EndSession,
    Happened,
    Op,
    RefusedError,
    Request,
    Result,
    Tree,
)

if TYPE_CHECKING:
    import asyncio

    from tests.sync_engine.memory.door import Door

SESSION_EXPIRED, SESSION_MOVED = -112, -118
_PASSWORD_BYTES = 16
_EPOCH_BITS = 32


@dataclass(frozen=True, slots=True)
class Copy:
    """A znode at some moment."""

    data: bytes | None
    acl: tuple[Acl, ...]
    stat: Stat


@dataclass(frozen=True, slots=True)
class Txn:
    """A committed transaction. `before` holds the znodes that it names as they were."""

    who: str
    request: Request
    ops: tuple[Op, ...]
    results: Sequence[Result]
    happened: Sequence[Happened]
    before: dict[str, Copy | None]
    at_s: float
    order: int
    """Its place among the transactions of all ensembles of this run."""

    @property
    def zxid(self) -> int:
        """Its number."""
        return self.request.zxid


@dataclass(slots=True)
class Session:
    """A session; `who` is who opened it, `door` its connection.

    `owner` is the connection that took it last, also when that is gone: what an older one has still
    under way is refused.
    """

    id: int
    who: str
    password: bytes
    timeout_s: float
    door: Door | None = None
    owner: Door | None = None
    expiry: asyncio.TimerHandle | None = None


class Server:
    """One server: its own tree, as far as it has come."""

    def __init__(self, ensemble: Ensemble, name: str) -> None:
        self.ensemble = ensemble
        self.name = name
        self.tree = Tree()
        self.applied = 0
        self.zxid = ensemble.zxid
        self.lag_s = 0.001
        self.is_up = True
        self.refuses: dict[OpCode, int] = {}
        """Error codes by kind of request; of AUTH the connection ends with it."""
        self.doors: list[Door] = []

    def hear(self, index: int) -> None:
        """Learn that the leader has committed so many transactions."""
        self.ensemble.loop.call_later(self.lag_s, self.catch_up, index)

    def catch_up(self, index: int) -> None:
        """Apply what the leader has committed, up to there."""
        if not self.is_up:
            return
        log = self.ensemble.log
        while self.applied < index:
            txn = log[self.applied]
            self.tree.do(txn.ops, txn.request)
            self.applied += 1
            self.zxid = txn.zxid
            for door in self.doors:
                door.tell(txn)
        for door in list(self.doors):
            door.pump()

    def stop(self) -> None:
        """End it; its clients' connections break."""
        self.is_up = False
        for door in list(self.doors):
            door.cut()

    def start(self) -> None:
        """Start it again; it catches up first."""
        self.is_up = True
        self.catch_up(len(self.ensemble.log))


@dataclass(slots=True)
class Ensemble:
    """Leader and servers."""

    name: str
    loop: VirtualLoop
    epoch: int = 1
    size: int = 2
    tells_zxid: bool = True
    frame_bytes_max: int = REQUEST_BYTES_MAX
    tree: Tree = field(default_factory=Tree)
    log: list[Txn] = field(default_factory=list[Txn])
    unheard: set[int] = field(default_factory=set[int])
    """Transactions, by order, whose answer did not reach their client."""
    sessions: dict[int, Session] = field(default_factory=dict[int, Session])
    servers: list[Server] = field(init=False)
    faults: Faults = field(init=False)
    on_commit: list[Callable[[Txn], None]] = field(default_factory=list[Callable[[Txn], None]])
    zxid: int = field(init=False)
    _session: int = 0

    def __post_init__(self) -> None:
        self.zxid = self.epoch << _EPOCH_BITS
        self.faults = Faults(self.loop.chance)
        self.servers = [Server(self, f"{self.name}{n}") for n in range(self.size)]

    def commit(
        self, session: Session, ops: Sequence[Op], identities: Sequence[tuple[str, str]]
    ) -> Txn:
        """Do all operations or none, under the next zxid (a refusal uses one up as well).

        Raises:
            RefusedError: nothing was done.
        """
        self.zxid += 1
        now = self.loop.time()
        request = Request(self.zxid, int((EPOCH_S + now) * 1000), session.id, tuple(identities))
        before = {
            op.path: self.copy(op.path) for op in ops if not isinstance(op, EndSession | Check)
        }
        results, happened = self.tree.do(ops, request)
        txn = Txn(
            session.who, request, tuple(ops), results, happened, before, now, next(self.loop.ticks)
        )
        self.log.append(txn)
        for listener in self.on_commit:
            listener(txn)
        for server in self.servers:
            server.hear(len(self.log))
        return txn

    def copy(self, path: str) -> Copy | None:
        """A znode as the leader has it."""
        node = self.tree.nodes.get(path)
        return None if node is None else Copy(node.data, node.acl, node.stat)

    def open(self, who: str, timeout_s: float, door: Door | None = None) -> Session:
        """Open a session; it costs a zxid."""
        self._session += 1
        self.zxid += 1
        password = self.loop.chance.randbytes(_PASSWORD_BYTES)
        session = Session(self.epoch << 40 | self._session, who, password, timeout_s, door, door)
        self.sessions[session.id] = session
        return session

    def find(self, id_: int, password: bytes) -> Session | None:
        """A session that is alive, for somebody who knows its password."""
        session = self.sessions.get(id_)
        return session if session is not None and session.password == password else None

    def leave(self, door: Door) -> None:
        """Note that a session's connection is gone; it expires unless another one comes."""
        session = door.session
        if session is None or session.door is not door or session.id not in self.sessions:
            return
        session.door = None
        session.expiry = self.loop.call_later(session.timeout_s, self.expire, session.id)

    def take(self, session: Session, door: Door) -> None:
        """Let a connection go on with a session; the one before ends."""
        before, session.door = session.door, door
        session.owner = door
        if before is not None and before is not door:
            before.cut()
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None

    def expire(self, id_: int) -> Txn | None:
        """End a session, and its connection."""
        session = self.sessions.pop(id_, None)
        if session is None:
            return None
        if session.expiry is not None:
            session.expiry.cancel()
        txn = self.commit(session, [EndSession(id_)], [SUPER])
        if session.door is not None:
            self.loop.call_soon(session.door.cut)
        return txn

    def stop(self) -> None:
        """Take all servers down; what is committed stays."""
        for server in self.servers:
            server.stop()

    def start(self) -> None:
        """Bring them back, with a new leader's epoch."""
        self.epoch += 1
        self.zxid = max(self.zxid, self.epoch << _EPOCH_BITS)
        for server in self.servers:
            server.start()

    def restore(self, snapshot: Tree) -> None:
        """Bring the servers back with an earlier copy of the tree, in a higher epoch: no zxid tells
        that anything is missing. No session is known any more."""
        self.stop()
        for session in self.sessions.values():
            if session.expiry is not None:
                session.expiry.cancel()
        self.sessions.clear()
        self.tree = copy.deepcopy(snapshot)
        for server in self.servers:
            server.tree, server.applied = copy.deepcopy(snapshot), len(self.log)
        self.start()
        for server in self.servers:
            server.zxid = self.zxid

    def raise_epoch(self, above: int) -> None:
        """Let the next zxid be above one of another ensemble."""
        self.epoch = max(self.epoch, above >> _EPOCH_BITS) + 1
        self.zxid = self.epoch << _EPOCH_BITS


class Client:
    """Somebody who writes to the leader itself: acknowledged at once, seen by servers later."""

    def __init__(
        self, ensemble: Ensemble, who: str, identities: Sequence[tuple[str, str]] = (SUPER,)
    ) -> None:
        self.ensemble = ensemble
        self.who = who
        self.identities = tuple(identities)
        self.session = ensemble.open(who, float("inf"))

    def write(self, *ops: Op) -> Txn | None:
        """Do it; None if it is refused."""
        if self.session.id not in self.ensemble.sessions:
            self.session = self.ensemble.open(self.who, float("inf"))
        try:
            return self.ensemble.commit(self.session, ops, self.identities)
        except RefusedError:
            return None

    def leave(self) -> None:
        """End the session, and so its ephemerals."""
        self.ensemble.expire(self.session.id)
