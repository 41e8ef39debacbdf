"""Persistent recursive watches: every change of a subtree as an event, handed to an event loop.

kazoo carries the session (authentication, reconnecting, expiry) and knows neither addWatch nor what
such a watch sends, so its connection is taught both here. Rules:

- The session is used for nothing else. Up to ZooKeeper 3.8 a one-shot watch on the same path and
  session silently ends the persistent one (ZOOKEEPER-4466), so nothing here ever passes `watch=`.
- Events of the time without a connection are lost; the server only takes the watch up again. So
  after each reconnect and each new session every watch is added anew and `on_gap` is called:
  whoever listens must then read what is watched. setWatches2 would say no more.
- An event says what kind of change, never its data; from ZooKeeper 3.9 on it carries the zxid
  (ZOOKEEPER-4655). A znode without READ for this session sends no event, and setACL never does.

Not here: what to do about an event.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import (
    AuthFailedError as KazooAuthFailedError,
)
from kazoo.exceptions import (
    ConnectionClosedError,
    ConnectionLoss,
    MarshallingError,
    SessionExpiredError,
    UnimplementedError,
)
from kazoo.handlers.threading import AsyncResult
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.serialization import ReplyHeader
from kazoo.protocol.states import KazooState, KeeperState
from kazoo.retry import KazooRetry

from sync_engine import wire
from sync_engine.errors import AuthFailedError, ConnectionLostError, LaneError, ZkError
from sync_engine.session import SavedSession

EVENTS_MAX = 200_000
"""Events that may wait for the event loop; beyond it they count as lost, and `on_gap` says so."""
_RETRY: dict[str, Any] = {"max_tries": -1, "delay": 0.05, "backoff": 1.5, "max_delay": 0.5}
_PAUSE_S = 0.05
T = TypeVar("T")
_LOST = (ConnectionLoss, ConnectionClosedError, SessionExpiredError)
# Older servers do not know the request; one with WatchManagerOptimized fails while answering it.
_UNSUPPORTED = (UnimplementedError, MarshallingError)


class EventKind(IntEnum):
    """What happened to a znode; the numbers are those of the protocol."""

    CREATED = 1
    DELETED = 2
    CHANGED = 3


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change. `zxid` is None where the server does not tell it (3.8 and older)."""

    path: str
    kind: EventKind
    zxid: int | None


class WatchSession:
    """One session for watches; callbacks run in the event loop that made it."""

    def __init__(
        self,
        hosts: str,
        auth: Sequence[tuple[str, bytes]],
        *,
        session_timeout_s: float,
        on_event: Callable[[WatchEvent], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._on_gap = on_gap
        self._inbox = _Inbox(self._loop, self._deliver)
        self._paths: dict[str, asyncio.Future[None]] = {}
        self._arming: asyncio.Task[None] | None = None
        self._has_gap = False
        self._is_stopped = False
        self._up = asyncio.Event()
        self._settled = asyncio.Event()
        self._session_id = 0
        self.supports_persistent = True
        """False once a server said that it has no such watches; the listener must then scan."""
        self._client = _Client(
            self._inbox,
            hosts=hosts,
            timeout=session_timeout_s,
            connection_retry=KazooRetry(**_RETRY),
            auth_data=[(scheme, credentials.decode()) for scheme, credentials in auth],
            logger=_logger(),
        )
        self._client.add_listener(self._on_state)

    @property
    def session_id(self) -> int:
        """The session's id; 0 before the first connection."""
        return self._session_id

    @property
    def saved(self) -> SavedSession | None:
        """The session, while it is connected."""
        client_id = self._client.client_id
        return None if client_id is None else SavedSession(*client_id)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._up.is_set()

    async def start(self, *, bound_s: float = 15.0) -> None:
        """Connect.

        Raises:
            ConnectionLostError: no server took the connection in time; `start` may be called again.
            AuthFailedError: a server refuses the credentials.
        """
        self._is_stopped = False
        self._settled.clear()
        # Watches of an earlier start ended with its session.
        self._has_gap = bool(self._paths)
        await asyncio.to_thread(self._client.start_async)
        try:
            await asyncio.wait_for(self._prove(), bound_s)
        except TimeoutError:
            await self.stop()
            msg = f"expected to watch within {bound_s:g} s, saw no server: look at the servers"
            raise ConnectionLostError(msg, sent=False) from None
        except KazooAuthFailedError:
            await self.stop()
            msg = "expected the server to accept the credentials, saw a refusal: check them"
            raise AuthFailedError(msg) from None

    async def _prove(self) -> None:
        """Wait until one request was answered: kazoo says that it is connected before the server
        has looked at the credentials."""
        while True:
            await self._settled.wait()
            try:
                await self._bridge(self._client.exists_async("/"))
            except _LOST:
                await asyncio.sleep(_PAUSE_S)
            else:
                return

    async def add(self, path: str) -> None:
        """Watch a path and all below it, now and after every reconnect.

        Returns when the watch is set: every change acknowledged after that gives an event, or
        `on_gap`. On a server without such watches it returns too, with `supports_persistent` False.

        Raises:
            ZkError: the server refuses for another reason.
            LaneError: the session was stopped, or its credentials are refused.
        """
        future = self._paths.get(path)
        if future is None:
            future = self._paths[path] = self._loop.create_future()
            if self._up.is_set():
                self._arm()
        await asyncio.shield(future)

    async def stop(self) -> None:
        """End the session and its threads."""
        self._is_stopped = True
        if self._arming is not None:
            self._arming.cancel()
            await asyncio.gather(self._arming, return_exceptions=True)
            self._arming = None
        self._fail(ConnectionLostError("the watch session was stopped", sent=False))
        await asyncio.to_thread(self._stop_client)
        self._up.clear()

    def _stop_client(self) -> None:
        self._client.stop()
        self._client.close()

    # In kazoo's threads

    def _on_state(self, state: object) -> None:
        client_id = self._client.client_id if state == KazooState.CONNECTED else None
        try:
            self._loop.call_soon_threadsafe(self._on_state_in_loop, state, client_id)
        except RuntimeError:
            # The event loop has ended before us, and nobody listens any more.
            return

    # In the event loop

    def _on_state_in_loop(self, state: object, client_id: tuple[int, bytes] | None) -> None:
        if self._is_stopped:
            return
        if state == KazooState.CONNECTED:
            if client_id is not None:
                self._session_id = client_id[0]
            self._up.set()
            self._settled.set()
            self._arm()
            return
        self._up.clear()
        self._has_gap = True
        if self._client.client_state == KeeperState.AUTH_FAILED:
            self._settled.set()
            self._fail(AuthFailedError("a server refuses the credentials: check them"))

    def _arm(self) -> None:
        if self._arming is not None:
            self._arming.cancel()
        self._arming = self._loop.create_task(self._add_all(), name="watch")

    async def _add_all(self) -> None:
        """Set every watch on this connection; the next connection begins again."""
        # A gap is over only when every watch stands; after a reconnect all of them must.
        paths = [path for path, future in self._paths.items() if self._has_gap or not future.done()]
        for path, outcome in zip(paths, await self._add_many(paths), strict=True):
            future = self._paths[path]
            if isinstance(outcome, _LOST):
                return
            if isinstance(outcome, _UNSUPPORTED):
                self.supports_persistent = False
            if future.done():
                continue
            if outcome is None or isinstance(outcome, _UNSUPPORTED):
                future.set_result(None)
            elif isinstance(outcome, KazooAuthFailedError):
                future.set_exception(AuthFailedError("a server refuses the credentials"))
            else:
                code = int(getattr(outcome, "code", 0))
                del self._paths[path]
                future.set_exception(ZkError(path, code=code))
                future.exception()
        if self._has_gap:
            self._has_gap = False
            self._on_gap()

    async def _add_many(self, paths: Sequence[str]) -> list[Any]:
        return await asyncio.gather(*map(self._request, paths), return_exceptions=True)

    async def _request(self, path: str) -> None:
        answer = self._client.handler.async_result()
        self._client.request(_AddWatch(path), answer)
        await self._bridge(answer)

    async def _bridge(self, answer: AsyncResult[T]) -> None:
        """Wait in the event loop for an answer that comes in kazoo's threads."""
        answered: asyncio.Future[None] = self._loop.create_future()

        def in_loop() -> None:
            if answered.done():
                return
            if answer.exception is not None:
                answered.set_exception(answer.exception)
            else:
                answered.set_result(None)

        def in_thread(_: AsyncResult[T]) -> None:
            self._loop.call_soon_threadsafe(in_loop)

        answer.rawlink(in_thread)
        await answered

    def _deliver(self, events: Sequence[WatchEvent], *, is_whole: bool) -> None:
        if self._is_stopped:
            return
        for event in events:
            self._on_event(event)
        if not is_whole:
            self._on_gap()

    def _fail(self, error: LaneError) -> None:
        for path, future in list(self._paths.items()):
            if not future.done():
                del self._paths[path]
                future.set_exception(error)
                future.exception()


class _Deliver(Protocol):
    def __call__(self, events: Sequence[WatchEvent], *, is_whole: bool) -> None: ...


class _Inbox:
    """Events from kazoo's thread to the event loop, one wake-up a burst."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deliver: _Deliver,
    ) -> None:
        self._loop = loop
        self._deliver = deliver
        self._lock = threading.Lock()
        self._events: deque[WatchEvent] = deque()
        self._overflowed = False
        self._is_awake = False

    def put(self, event: WatchEvent) -> None:
        with self._lock:
            if len(self._events) >= EVENTS_MAX:
                self._events.clear()
                self._overflowed = True
            self._events.append(event)
            if self._is_awake:
                return
            self._is_awake = True
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            # The event loop has ended before us, and nobody listens any more.
            return

    def _drain(self) -> None:
        with self._lock:
            events, self._events = self._events, deque()
            overflowed, self._overflowed = self._overflowed, False
            self._is_awake = False
        self._deliver(events, is_whole=not overflowed)


class _AddWatch:
    """The request, in the form in which kazoo's connection sends and reads one."""

    type = int(wire.OpCode.ADD_WATCH)

    def __init__(self, path: str) -> None:
        self.path = path

    def serialize(self) -> bytes:
        return wire.add_watch_body(self.path)

    def deserialize(self, raw: bytes, at: int) -> None:
        """Nothing but the error code in the header counts."""


class _Connection(ConnectionHandler):
    """kazoo's connection, whose events go to an inbox and not to one-shot watchers."""

    def __init__(
        self, inbox: _Inbox, client: KazooClient, retry: KazooRetry, logger: logging.Logger
    ) -> None:
        super().__init__(client, retry, logger=logger)
        self._inbox = inbox
        self._event_zxid = -1

    def _read_header(self, timeout: float | None) -> tuple[ReplyHeader, bytes, int]:
        header, raw, at = super()._read_header(timeout)
        if header.xid == wire.XID_EVENT:
            self._event_zxid = header.zxid
        return header, raw, at

    def _read_watch_event(self, buffer: bytes, offset: int) -> None:
        kind, _, path = wire.read_event(buffer, offset)
        if kind in _KINDS:
            zxid = self._event_zxid if self._event_zxid > 0 else None
            self._inbox.put(WatchEvent(path, _KINDS[kind], zxid))


_KINDS = {int(kind): kind for kind in EventKind}


class _Client(KazooClient):
    def __init__(self, inbox: _Inbox, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._connection = _Connection(inbox, self, self._conn_retry.copy(), self.logger)

    def request(self, request: _AddWatch, answer: AsyncResult[object]) -> None:
        self._call(request, answer)


def _logger() -> logging.Logger:
    # At DEBUG kazoo writes every request, credentials included.
    logger = logging.getLogger("sync_engine.kazoo")
    logger.setLevel(logging.WARNING)
    return logger
