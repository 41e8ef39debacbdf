"""kazoo's client without its threads, for the real watch session.

It keeps one session over one connection, tells its listeners what kazoo would, and hands events on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol
from unittest.mock import patch

from kazoo.exceptions import ConnectionLoss, MarshallingError, UnimplementedError
from kazoo.protocol.states import KazooState, KeeperState

from sync_engine import watch, wire
from sync_engine.connection import Connection
from sync_engine.errors import AuthFailedError, ConnectionLostError, ZkError
from sync_engine.hosts import parse_hosts
from sync_engine.watch import EventKind, WatchEvent

_PAUSE_S = 0.05
_ERRORS = {-6: UnimplementedError, -5: MarshallingError}


@contextlib.contextmanager
def installed() -> Generator[None]:
    """Let watch sessions made meanwhile use this client."""
    with patch.object(watch, "WatchClient", Watcher):
        yield


class Inbox(Protocol):
    """Where events go."""

    def put(self, event: WatchEvent) -> None: ...


class _Answer:
    """What kazoo's AsyncResult is to a watch session."""

    def __init__(self) -> None:
        self.exception: Exception | None = None
        self._links: list[Callable[[_Answer], None]] = []
        self._is_ready = False

    def rawlink(self, callback: Callable[[_Answer], None]) -> None:
        if self._is_ready:
            callback(self)
        else:
            self._links.append(callback)

    def end(self, exception: Exception | None) -> None:
        self.exception, self._is_ready = exception, True
        for link in self._links:
            link(self)


class _Handler:
    @staticmethod
    def async_result() -> _Answer:
        return _Answer()


class _WatchConnection(Connection):
    """A lane's connection that also hears events."""

    def __init__(self, inbox: Inbox) -> None:
        super().__init__(500, lambda: None)
        self._inbox = inbox

    def _on_frame(self, data: bytes, at: int, end: int) -> None:
        is_greeted = self._greeting is not None and self._greeting.done()
        if is_greeted:
            xid, zxid, _ = wire.REPLY.unpack_from(data, at)
            if xid == wire.XID_EVENT:
                kind, _, path = wire.read_event(data, at + wire.REPLY_BYTES)
                known = zxid if zxid > 0 else None
                self._inbox.put(WatchEvent(path, EventKind(kind), known))
                return
        super()._on_frame(data, at, end)


class Watcher:
    """In place of `watch.WatchClient`."""

    def __init__(
        self,
        inbox: Inbox,
        identity: bytes | None,
        *,
        hosts: str,
        timeout: float,
        auth_data: Sequence[tuple[str, str]],
        **_: Any,
    ) -> None:
        assert identity is None
        self._inbox = inbox
        self._servers = parse_hosts(hosts)
        self._timeout_ms = round(timeout * 1000)
        self._auth = [(scheme, credentials.encode()) for scheme, credentials in auth_data]
        self._listeners: list[Callable[[str], None]] = []
        self._connection: _WatchConnection | None = None
        self._runner: asyncio.Task[None] | None = None
        self._session = (0, wire.new_password())
        self._zxid = 0
        self.client_state = KeeperState.CLOSED
        self.handler = _Handler()

    @property
    def client_id(self) -> tuple[int, bytes] | None:
        return self._session if self._connection is not None else None

    def add_listener(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    def start_async(self) -> None:
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="watcher")

    def stop(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
        if self._connection is not None and self._connection.is_open:
            ending = self._connection.submit(wire.OpCode.CLOSE_SESSION, b"", wire.no_body, None)
            ending.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._connection = None
        self._session = (0, wire.new_password())

    def close(self) -> None:
        """Nothing is left after `stop`."""

    def exists_async(self, path: str) -> _Answer:
        return self._ask(wire.OpCode.EXISTS, wire.watchless_body(path))

    def request(self, request: Any, answer: _Answer) -> None:
        self._ask(wire.OpCode(request.type), request.serialize(), answer)

    def _ask(self, code: wire.OpCode, body: bytes, answer: _Answer | None = None) -> _Answer:
        found = answer or _Answer()
        connection = self._connection
        if connection is None or not connection.is_open:
            asyncio.get_running_loop().call_soon(found.end, ConnectionLoss())
            return found

        def on_done(done: asyncio.Future[Any]) -> None:
            error = None if done.cancelled() else done.exception()
            if isinstance(error, ConnectionLostError):
                found.end(ConnectionLoss())
            elif isinstance(error, ZkError):
                found.end(_ERRORS.get(error.code, ConnectionLoss)())
            else:
                found.end(None)

        connection.submit(code, body, wire.no_body, None).add_done_callback(on_done)
        return found

    async def _run(self) -> None:
        while True:
            # Chance is the loop's own here, as `loop` says.
            for host, port in random.sample(self._servers, len(self._servers)):
                if await self._serve(host, port):
                    break
            await asyncio.sleep(_PAUSE_S)

    async def _serve(self, host: str, port: int) -> bool:
        """One connection, from its start to its end; False if there was none."""
        loop = asyncio.get_running_loop()
        connection = _WatchConnection(self._inbox)
        hello = wire.connect(
            last_zxid=self._zxid,
            timeout_ms=self._timeout_ms,
            session_id=self._session[0],
            password=self._session[1],
        )
        try:
            await loop.create_connection(lambda: connection, host, port)
            connected = await connection.handshake(hello, self._auth, bound_s=1.0)
        except AuthFailedError:
            self.client_state = KeeperState.AUTH_FAILED
            self._tell(KazooState.LOST)
            raise asyncio.CancelledError from None
        except (OSError, ConnectionLostError):
            return False
        if connected.timeout_ms <= 0:
            connection.give_up("the session has expired")
            self._session = (0, wire.new_password())
            self._tell(KazooState.LOST)
            return False
        self._session = (connected.session_id, connected.password)
        self._connection = connection
        self.client_state = KeeperState.CONNECTED
        self._tell(KazooState.CONNECTED)
        await connection.lost
        self._zxid = max(self._zxid, connection.last_zxid)
        self._connection = None
        self.client_state = KeeperState.CONNECTING
        self._tell(KazooState.SUSPENDED)
        return True

    def _tell(self, state: str) -> None:
        for listener in self._listeners:
            listener(state)
