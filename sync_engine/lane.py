"""The bulk lane: one ZooKeeper session on one pipelined connection.

A client library that serves one request after the other reaches a few thousand requests a second;
a replicator reads and writes whole trees. So requests here are only bytes and a future: up to
`in_flight_max` are under way at once, and asking does not wait for the answer before.

Rules:

- A request in flight when the connection breaks fails at once with `ConnectionLostError`, because
  nobody knows whether it was applied: repeating it is the caller's decision. A request that was not
  sent yet waits for the next connection, up to `reconnect_bound_s`.
- The session is kept over reconnects to any server. Only a server can say that it has expired; then
  a new one is opened, and `on_state` tells.
- A server that lags behind what this lane has seen closes the connection (ZooKeeper's own guard
  against going back in time); the lane then tries the others. It never accepts a read-only server.

Not here: watches (`watch`), what to write (`direction`), reading of trees (`reader`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Unpack

import structlog

from sync_engine import wire
from sync_engine.connection import Connection, EventSink
from sync_engine.errors import (
    AuthFailedError,
    ConnectionLostError,
    LaneBusyError,
    LaneClosedError,
    LaneError,
    MultiFailedError,
    NoNodeError,
    RequestTooLargeError,
    SyncError,
    UnsettledReadError,
)
from sync_engine.hosts import format_server, parse_hosts
from sync_engine.reader import NONE_KNOWN, KnownAcls, Reader, Reading, ScanOptions
from sync_engine.session import LaneState, SavedSession
from sync_engine.wire import Op, OpCode
from sync_engine.znode import PERSISTENT, Acl, NodeKind, Stat, Znode

_log = structlog.get_logger(__name__)
IN_FLIGHT_MAX = 500
WAITING_MAX = 100_000
"""Requests that may wait for room or for a connection; a caller that has more is out of hand."""
_BACK_OFF_MIN_S, _BACK_OFF_MAX_S = 0.02, 0.5
# A connection that lasted this long was a real one: the next starts without a pause.
_STEADY_S = 1.0
_CLOSE_BOUND_S, _HANDSHAKE_MIN_S = 2.0, 0.2
_SYNCS_MAX, _SYNC_PAUSE_S = 500, 0.004  # 2 s; a leader applies within milliseconds
_Request = tuple[asyncio.Future[Any], int, bytes, wire.Decoder, str | None]


class Lane:
    """One session; requests may be made by any number of tasks of one event loop."""

    def __init__(  # noqa: PLR0913 - keywords with defaults, each of them for one kind of caller
        self,
        hosts: str,
        auth: Sequence[tuple[str, bytes]] = (),
        *,
        session_timeout_s: float,
        saved: SavedSession | None = None,
        in_flight_max: int = IN_FLIGHT_MAX,
        request_bytes_max: int = wire.REQUEST_BYTES_MAX,
        reconnect_bound_s: float | None = None,
        tls: ssl.SSLContext | None = None,
        on_event: EventSink | None = None,
    ) -> None:
        """`reconnect_bound_s`: how long requests wait for a connection; None: session's timeout."""
        self._servers = parse_hosts(hosts)
        self._auth, self._tls, self._on_event = tuple(auth), tls, on_event
        self._timeout_s = session_timeout_s
        self._in_flight_max, self._request_bytes_max = in_flight_max, request_bytes_max
        self._bound_s = session_timeout_s if reconnect_bound_s is None else reconnect_bound_s
        self._session = saved or SavedSession(0, wire.new_password())
        self._connection: Connection | None = None
        self._waiting: deque[_Request] = deque()
        self._waiting_timer: asyncio.TimerHandle | None = None
        self._listeners: list[Callable[[LaneState], None]] = []
        self._runner: asyncio.Task[None] | None = None
        self._fatal: LaneError | None = LaneClosedError("the lane was not started")
        self._zxid = 0
        self._reader = Reader(self.submit, in_flight_max=in_flight_max)
        self.connected = asyncio.Event()
        self.server: str | None = None
        """The server that answers, or did last."""
        self.last_failure: str | None = None  # why there was no connection, the last time

    @property
    def session_id(self) -> int:
        """The session's id; 0 before the first connection."""
        return self._session.id

    @property
    def saved(self) -> SavedSession:
        """The session, for another process to go on with."""
        return self._session

    @property
    def last_zxid(self) -> int:
        """The highest zxid seen; no server behind it is accepted."""
        return max(self._zxid, self._connection.last_zxid if self._connection else 0)

    def on_state(self, callback: Callable[[LaneState], None]) -> None:
        """Call back at every change of the connection; EXPIRED comes before a new CONNECTED."""
        self._listeners.append(callback)

    async def start(self, *, bound_s: float = 15.0) -> None:
        """Connect.

        Raises:
            ConnectionLostError: no server took the connection in time; the lane is closed again.
            AuthFailedError: a server refuses the credentials.
        """
        self._fatal = None
        runner = self._runner = asyncio.create_task(self._run(), name="lane")
        waiter = asyncio.create_task(self.connected.wait())
        try:
            await asyncio.wait(
                {runner, waiter}, timeout=bound_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiter.cancel()
        if not self.connected.is_set():
            fatal = self._fatal
            await self.close(keep_session=True)
            raise fatal or ConnectionLostError(
                f"expected a connection to {self._names()} within {bound_s:g} s, saw "
                f"{self.last_failure or 'no answer'}: look at the servers",
                sent=False,
            )

    async def close(self, *, keep_session: bool = False) -> None:
        """End the session; may be called twice.

        With `keep_session` only the connection ends, so that ephemerals last until the session's
        timeout, or another process goes on with `saved`.
        """
        runner, self._runner = self._runner, None
        connection, self._connection = self._connection, None
        self._end(self._fatal or LaneClosedError("the lane was closed"))
        try:
            if runner is not None:
                # Upkeep ends first: it would take the closing for a loss, and connect again.
                runner.cancel()  # not awaited itself: its end would look like the caller's own
                await asyncio.wait({runner})
            if connection and connection.is_open and not keep_session:
                ending = connection.submit(OpCode.CLOSE_SESSION, b"", wire.no_body, None)
                self._session = SavedSession(0, wire.new_password())
                with contextlib.suppress(SyncError, TimeoutError):
                    async with asyncio.timeout(_CLOSE_BOUND_S):
                        await ending
        finally:
            if connection:
                self._zxid = max(self._zxid, connection.last_zxid)
                connection.give_up("the lane was closed")

    def submit(
        self, code: int, body: bytes, decode: wire.Decoder, path: str | None
    ) -> asyncio.Future[Any]:
        """Make any request; the returned future holds what `decode` makes of the answer."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._fatal is not None:
            future.set_exception(self._fatal)
        elif len(body) + 8 > self._request_bytes_max:
            what = f"request for {path}" if path is not None else "request"
            size, size_max = len(body) + 8, self._request_bytes_max
            future.set_exception(RequestTooLargeError(size=size, size_max=size_max, what=what))
        elif self._connection is not None and self._connection.has_room and not self._waiting:
            self._connection.forward(future, code, body, decode, path)
        elif len(self._waiting) >= WAITING_MAX:
            future.set_exception(
                LaneBusyError(f"{len(self._waiting)} requests wait already: ask for less at once")
            )
        else:
            self._waiting.append((future, code, body, decode, path))
        return future

    async def sync(self, path: str = "/", *, upto: int = 0) -> int:
        """Let the server catch up with its leader and reach a zxid that somebody has seen, for the
        reads that follow; returns what it reached, or raises `UnsettledReadError`.

        A leader (LeaderZooKeeperServer) answers before it has applied all that it has committed.
        """
        for _ in range(_SYNCS_MAX):
            zxid = await self.submit(OpCode.SYNC, wire.path_body(path), wire.read_zxid, path)
            if zxid >= upto:
                return zxid
            await asyncio.sleep(_SYNC_PAUSE_S)
        msg = f"expected {self.server} to reach zxid 0x{upto:x}, saw it behind"
        raise UnsettledReadError(msg)

    async def exists(self, path: str) -> Stat | None:
        """The Stat, or None."""
        try:
            return await self.submit(OpCode.EXISTS, wire.watchless_body(path), wire.read_stat, path)
        except NoNodeError:
            return None

    async def get(self, path: str) -> tuple[bytes | None, Stat]:
        """Data and Stat."""
        return await self.submit(OpCode.GET_DATA, wire.watchless_body(path), wire.read_data, path)

    async def get_acl(self, path: str) -> tuple[tuple[Acl, ...], Stat]:
        """ACL and Stat; digests masked (`Acl.is_masked`) without ADMIN on the znode."""
        return await self.submit(OpCode.GET_ACL, wire.path_body(path), wire.read_acl, path)

    async def children(self, path: str) -> tuple[list[str], Stat]:
        """Names of the children, unsorted, and the Stat of the parent."""
        return await self.submit(
            OpCode.GET_CHILDREN2, wire.watchless_body(path), wire.read_children, path
        )

    async def create(
        self,
        path: str,
        data: bytes | None,
        acl: tuple[Acl, ...],
        *,
        ephemeral: bool = False,
        kind: NodeKind = PERSISTENT,
    ) -> Stat | None:
        """Create a znode; its parent must be there."""
        op = wire.Create(path, data, acl, ephemeral, kind)
        body = wire.create_body(op)
        return await self.submit(wire.create_code(op), body, wire.read_created, path)

    async def set_data(self, path: str, data: bytes | None, version: int) -> Stat:
        """Write at an expected version; `wire.ANY_VERSION` expects none."""
        body = wire.set_body(path, data, version)
        return await self.submit(OpCode.SET_DATA, body, wire.read_stat, path)

    async def delete(self, path: str, version: int) -> None:
        """Delete at an expected version."""
        await self.submit(OpCode.DELETE, wire.version_body(path, version), wire.no_body, path)

    async def set_acl(self, path: str, acl: tuple[Acl, ...], aversion: int) -> Stat:
        """Write an ACL at an expected aversion."""
        body = wire.set_acl_body(path, acl, aversion)
        return await self.submit(OpCode.SET_ACL, body, wire.read_stat, path)

    async def multi(self, ops: Sequence[Op]) -> wire.MultiResult:
        """Apply all operations or none.

        Raises:
            MultiFailedError: nothing was applied; it tells which operation failed and how.
        """
        body = wire.multi_body(ops)
        outcome = await self.submit(OpCode.MULTI, body, wire.read_multi, None)
        if isinstance(outcome, wire.MultiResult):
            return outcome
        codes: list[int] = outcome
        # The operations after the failed one say -2, which is no reason.
        index = next((i for i, code in enumerate(codes) if code), 0)
        raise MultiFailedError(index, codes[index], codes)

    async def read(self, path: str) -> Znode | None:
        """Data and ACL of one moment, or None."""
        return await self._reader.read(path)

    async def read_many(self, paths: Sequence[str]) -> list[Znode | None]:
        """`read` for many paths; each of them is of one moment, all of them are not."""
        return await self._reader.read_many(paths)

    async def read_at(self, paths: Sequence[str], acls: KnownAcls = NONE_KNOWN) -> Reading:
        """`Reader.read_at`."""
        return await self._reader.read_at(paths, acls)

    def scan(self, root: str, **options: Unpack[ScanOptions]) -> AsyncGenerator[list[Znode]]:
        """Read a tree in batches, parents before their children, ephemerals included.

        What changes meanwhile is seen or not. A znode that cannot be read for its ACL raises
        `NoAuthError`, or goes to `on_unreadable` and the rest of its subtree is left out.
        """
        return self._reader.scan(root, **options)

    async def _run(self) -> None:
        delay_s = _BACK_OFF_MIN_S
        loop = asyncio.get_running_loop()
        self._start_waiting_timer()
        try:
            while True:
                for host, port in self._in_random_order():
                    connection = await self._try(host, port)
                    if connection is not None:
                        began = loop.time()
                        self.last_failure = await connection.lost
                        self._on_lost(connection)
                        if loop.time() - began > _STEADY_S:
                            delay_s = _BACK_OFF_MIN_S
                        break
                await asyncio.sleep(delay_s * random.uniform(0.5, 1))  # noqa: S311 - no secret
                delay_s = min(2 * delay_s, _BACK_OFF_MAX_S)
        except AuthFailedError as error:
            self.last_failure = str(error)
            self._end(error)
        except Exception:  # noqa: BLE001 - without upkeep it must not look like one that waits
            _log.exception("lane.failed", server=self.server)
            self._end(LaneClosedError("the lane broke down; the log says why"))
        loop.call_soon(self._tell, LaneState.ENDED)  # whoever listens may be what has failed

    def _in_random_order(self) -> list[tuple[str, int]]:
        servers = random.sample(self._servers, len(self._servers))
        return sorted(servers, key=lambda server: format_server(*server) == self.server)

    async def _try(self, host: str, port: int) -> Connection | None:
        """One connection to one server; None if it did not come about: see `last_failure`."""
        loop = asyncio.get_running_loop()
        bound_s = max(_HANDSHAKE_MIN_S, self._timeout_s / (len(self._servers) + 1))
        connection = Connection(self._in_flight_max, self._on_room, self._on_event)
        name = format_server(host, port)
        greeting = wire.connect(
            last_zxid=self.last_zxid,
            timeout_ms=round(self._timeout_s * 1000),
            session_id=self._session.id,
            password=self._session.password,
        )
        try:
            async with asyncio.timeout(bound_s):
                await loop.create_connection(lambda: connection, host, port, ssl=self._tls)
            connected = await connection.handshake(greeting, self._auth, bound_s=bound_s)
        except (OSError, ConnectionLostError, TimeoutError) as error:
            connection.give_up("never used")
            self.last_failure = f"{name}: {error or 'no answer'}"
            return None
        except BaseException:  # refused or cancelled: nobody else knows the connection
            connection.give_up("never used")
            raise
        self.server = name
        if connected.timeout_ms <= 0:
            connection.give_up("the session has expired")
            self.last_failure = f"{name}: the session has expired"
            self._session = SavedSession(0, wire.new_password())
            self._tell(LaneState.EXPIRED)
            return None
        self._session = SavedSession(connected.session_id, connected.password)
        self._connection = connection
        if self._waiting_timer is not None:
            self._waiting_timer.cancel()
        self.connected.set()
        self._tell(LaneState.CONNECTED)
        self._on_room()
        return connection

    def _on_lost(self, connection: Connection) -> None:
        self._zxid = max(self._zxid, connection.last_zxid)
        self._connection = None
        self.connected.clear()
        self._start_waiting_timer()
        self._tell(LaneState.DISCONNECTED)

    def _on_room(self) -> None:
        connection, waiting = self._connection, self._waiting
        while waiting and connection is not None and connection.has_room:
            entry = waiting.popleft()
            # Whoever asked may have stopped waiting: then it must not be sent.
            if not entry[0].done():
                connection.forward(*entry)

    def _start_waiting_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting_timer = loop.call_later(self._bound_s, self._fail_waiting)

    def _fail_waiting(self) -> None:
        msg = (
            f"expected a connection to {self._names()} within {self._bound_s:g} s, saw "
            f"{self.last_failure or 'no answer'}: look at the servers"
        )
        waiting, self._waiting = self._waiting, deque()
        for future, *_ in waiting:
            if not future.done():
                future.set_exception(self._fatal or ConnectionLostError(msg, sent=False))
        # Requests made while the ensemble stays away wait as long again.
        if self._fatal is None:
            self._start_waiting_timer()

    def _end(self, reason: LaneError) -> None:
        self._fatal = reason
        self.connected.clear()
        if self._waiting_timer is not None:
            self._waiting_timer.cancel()
        self._fail_waiting()

    def _tell(self, state: LaneState) -> None:
        for listener in self._listeners:
            listener(state)

    def _names(self) -> str:
        return ",".join(format_server(*server) for server in self._servers)
