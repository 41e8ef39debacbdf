"""A ZooKeeper session for asyncio, on kazoo's threads.

kazoo answers in threads of its own; here every answer and every change of state comes back to the
event loop, so that the rig's processes need no locks. Two rules are added to kazoo's:

- a session counts as lost when the ensemble has been away for longer than the session's timeout,
  although no server could say so: what this session held is gone for everybody else by then;
- closing is explicit. A process that dies leaves its session to expire, as Mesos masters do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
    SessionExpiredError,
    SessionMovedError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry
from kazoo.security import ACL, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE

from stacks.local.errors import StartError

# A client that cannot reach a server tries the next one soon: a leader waits for it.
_RETRY: dict[str, Any] = {"max_tries": -1, "delay": 0.05, "backoff": 1.5, "max_delay": 0.5}
_PAUSE_S = 0.05
# After these nobody knows whether the request was applied.
UNKNOWN_OUTCOME = (
    ConnectionLoss,
    ConnectionClosedError,
    OperationTimeoutError,
    SessionExpiredError,
    SessionMovedError,
)
T = TypeVar("T")
ZooKeeperError = (KazooException, KazooTimeoutError)

__all__ = ["UNKNOWN_OUTCOME", "NoNodeError", "Node", "NodeExistsError", "Session", "ZooKeeperError"]


class Node(NamedTuple):
    """Data of a znode and what of its stat anyone here needs."""

    data: bytes
    version: int
    owner: int


class Session:
    """One session; `changed` callbacks run in the event loop at every change of its state."""

    def __init__(self, hosts: str, *, timeout_s: float, auth: str | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._auth = auth
        self._listeners: list[Callable[[], None]] = []
        self._lost: list[Callable[[], None]] = []
        self._lost_timer: asyncio.TimerHandle | None = None
        self.connected = asyncio.Event()
        # kazoo has no types that say more.
        self.client: Any = KazooClient(
            hosts=hosts,
            timeout=timeout_s,
            connection_retry=KazooRetry(**_RETRY),
            auth_data=[("digest", auth)] if auth else None,
        )
        self.client.add_listener(self._on_state)

    async def start(self, *, bound_s: float | None = None) -> None:
        """Begin to connect; with a bound, wait for it.

        Raises:
            StartError: the ensemble was not reached within the bound.
        """
        self.client.start_async()
        if bound_s is None:
            return
        try:
            async with asyncio.timeout(bound_s):
                await self.connected.wait()
        except TimeoutError:
            msg = (
                f"expected a ZooKeeper server at {self.client.hosts} within {bound_s:g} s, "
                "saw none: start the ensemble, or configure where it is"
            )
            raise StartError(msg) from None

    async def close(self) -> None:
        """Close the session: its ephemeral nodes go at once."""
        self._cancel_lost()
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self.client.stop()
        self.client.close()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back, in the loop, whenever the connection comes or goes."""
        self._listeners.append(callback)

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call back, in the loop, when what the session held is gone."""
        self._lost.append(callback)

    @property
    def id(self) -> int:
        """The session's id, as `ephemeralOwner` shows it; 0 without one."""
        identity: Any = self.client.client_id
        return int(identity[0]) if identity else 0

    @property
    def acl(self) -> list[ACL]:
        """What Mesos gives its znodes: open, or its own and readable by all."""
        if self._auth is None:
            return OPEN_ACL_UNSAFE
        return [*CREATOR_ALL_ACL, *READ_ACL_UNSAFE]

    @property
    def own_acl(self) -> list[ACL]:
        """What Marathon gives its state: open, or its own and nobody else's to read."""
        return OPEN_ACL_UNSAFE if self._auth is None else CREATOR_ALL_ACL

    # kazoo's callbacks come from its threads.
    def _on_state(self, state: str) -> None:
        with contextlib.suppress(RuntimeError):  # The loop is closed when the process ends.
            self._loop.call_soon_threadsafe(self._note_state, state)

    def _note_state(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self._cancel_lost()
            self.connected.set()
        else:
            self.connected.clear()
            if state == KazooState.LOST:
                self._note_lost()
            elif self._lost_timer is None:
                self._lost_timer = self._loop.call_later(self._timeout_s, self._note_lost)
        for listener in self._listeners:
            listener()

    def _cancel_lost(self) -> None:
        if self._lost_timer is not None:
            self._lost_timer.cancel()
            self._lost_timer = None

    def _note_lost(self) -> None:
        self._cancel_lost()
        for callback in self._lost:
            callback()

    async def _await(self, result: Any) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()

        def settle() -> None:
            if future.done():
                return
            if result.exception is not None:
                future.set_exception(result.exception)
            else:
                future.set_result(result.value)

        def note(_: Any) -> None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(settle)

        result.rawlink(note)
        return await future

    def _watch(self, callback: Callable[[], None] | None) -> Callable[[Any], None] | None:
        if callback is None:
            return None

        def note(_: Any) -> None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(callback)

        return note

    async def ask(self, method: str, *args: Any, **options: Any) -> Any:
        """Call a kazoo method that ends in `_async`, for what has no method of its own here."""
        return await self._await(getattr(self.client, method)(*args, **options))

    async def insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Repeat reads, or writes that may be done twice, until the ensemble has answered."""
        while True:
            await self.connected.wait()
            try:
                return await work()
            except UNKNOWN_OUTCOME:
                await asyncio.sleep(_PAUSE_S)

    async def children(self, path: str, watch: Callable[[], None] | None = None) -> list[str]:
        """Names of a node's children."""
        return await self._await(self.client.get_children_async(path, watch=self._watch(watch)))

    async def exists(self, path: str, watch: Callable[[], None] | None = None) -> bool:
        """Whether a node is there."""
        found = await self._await(self.client.exists_async(path, watch=self._watch(watch)))
        return found is not None

    async def get(self, path: str) -> Node:
        """Read a node."""
        data, stat = await self._await(self.client.get_async(path))
        return Node(data or b"", stat.version, stat.ephemeralOwner)

    async def create(
        self,
        path: str,
        data: bytes = b"",
        *,
        ephemeral: bool = False,
        sequence: bool = False,
        acl: list[ACL] | None = None,
    ) -> str:
        """Create a node; returns its path."""
        return await self._await(
            self.client.create_async(
                path, data, acl=acl, ephemeral=ephemeral, sequence=sequence, makepath=False
            )
        )

    async def ensure(self, path: str, acl: list[ACL] | None = None) -> None:
        """Create a node and its parents where they are missing."""
        # From below: most of it is there most of the time.
        if path in {"", "/"} or await self.exists(path):
            return
        await self.ensure(path.rpartition("/")[0], acl)
        with contextlib.suppress(NodeExistsError):
            await self.create(path, acl=acl)

    async def set(self, path: str, data: bytes) -> None:
        """Write a node, whatever it held."""
        await self._await(self.client.set_async(path, data))

    async def delete(self, path: str) -> None:
        """Delete a node; one that is gone already is a success."""
        with contextlib.suppress(NoNodeError):
            await self._await(self.client.delete_async(path))


def read_auth(path: Path | None) -> str | None:
    """Read `user:password` of a session.

    Raises:
        StartError: the file cannot be read or holds another form.
    """
    from stacks.local.process import read_secret

    secret = read_secret(path)
    if secret is not None and ":" not in secret:
        msg = f"expected user:password in {path}, saw another form: write it anew"
        raise StartError(msg)
    return secret
