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
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

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
from kazoo.protocol.states import KazooState, KeeperState
from kazoo.retry import KazooRetry

from sync_engine import sasl
from sync_engine.errors import AuthFailedError, ConnectionLostError, LaneError, ZkError
from sync_engine.rules import SideTls
from sync_engine.session import SavedSession
from sync_engine.tls import kazoo_options
from sync_engine.watch_connection import (
    EVENTS_MAX,
    AddWatch,
    EventKind,
    Inbox,
    WatchClient,
    WatchEvent,
    quiet_logger,
)

__all__ = ["EVENTS_MAX", "EventKind", "WatchEvent", "WatchSession"]
_RETRY: dict[str, Any] = {"max_tries": -1, "delay": 0.05, "backoff": 1.5, "max_delay": 0.5}
_PAUSE_S = 0.05
T = TypeVar("T")
_LOST = (ConnectionLoss, ConnectionClosedError, SessionExpiredError)
# Older servers do not know the request; one with WatchManagerOptimized fails while answering it.
_UNSUPPORTED = (UnimplementedError, MarshallingError)


class WatchSession:
    """One session for watches; callbacks run in the event loop that made it."""

    def __init__(  # noqa: PLR0913 - where, as whom, and whom to tell
        self,
        hosts: str,
        auth: Sequence[tuple[str, bytes]],
        *,
        session_timeout_s: float,
        tls: SideTls | None = None,
        on_event: Callable[[WatchEvent], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._on_gap = on_gap
        self._inbox = Inbox(self._loop, self._deliver)
        self._paths: dict[str, asyncio.Future[None]] = {}
        self._arming: asyncio.Task[None] | None = None
        self._has_gap = False
        self._is_stopped = False
        self._up = asyncio.Event()
        self._settled = asyncio.Event()
        self._session_id = 0
        self.supports_persistent = True
        """False once a server said that it has no such watches; the listener must then scan."""
        self._client = WatchClient(
            self._inbox,
            next((identity for scheme, identity in auth if scheme == sasl.SCHEME), None),
            hosts=hosts,
            timeout=session_timeout_s,
            connection_retry=KazooRetry(**_RETRY),
            auth_data=[(s, identity.decode()) for s, identity in auth if s != sasl.SCHEME],
            logger=quiet_logger(),
            **kazoo_options(tls),
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
            async with asyncio.timeout(bound_s):
                await self._prove()
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
        self._client.request(AddWatch(path), answer)
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
