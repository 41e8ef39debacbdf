"""A connection of the benchmark's own that watches trees and reads what has changed.

It shares the engine's wire format and nothing else: what it sees is what any client of that side
sees. A persistent recursive watch names the path, and a read sent after the event on the same
connection, so to the same server, gives its bytes. After a break it connects to another server,
sets its watches anew and reads everything it looks after, because events in between are lost.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence

from sync_engine import wire
from sync_engine.errors import ConnectionLostError, zk_error
from sync_engine.hosts import parse_hosts
from sync_engine.wire import OpCode

_SESSION_MS = 10_000
_PAUSE_S = 0.05
_START_BOUND_S = 15.0
_SETTLE_BOUND_S = 60.0
_DELETED = 2
_NO_NODE = -101
_length = struct.Struct(">i")
Sight = Callable[[str, bytes | None, float], None]
"""Told of a path, its data (None: deleted) and when that was seen."""


class Watcher:
    """Watches trees on one side. `on_sight` is called in the event loop."""

    def __init__(
        self,
        hosts: str,
        roots: Sequence[str],
        on_sight: Sight,
        *,
        rescanned: Sequence[str] = (),
    ) -> None:
        """`rescanned`: paths to read after each reconnect."""
        self._servers = parse_hosts(hosts)
        self._roots = roots
        self._on_sight = on_sight
        self._rescanned = rescanned
        self._link: _Link | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._watching = asyncio.Event()

    async def start(self) -> None:
        """Connect; returns when every watch is set."""
        self._keeper = asyncio.create_task(self._keep())
        await asyncio.wait_for(self._watching.wait(), _START_BOUND_S)

    async def settle(self) -> None:
        """Wait until everything that the ensemble has acknowledged by now was seen."""
        async with asyncio.timeout(_SETTLE_BOUND_S):
            while True:
                await self._watching.wait()
                assert self._link is not None
                if await self._link.settle(self._roots[0]):
                    return
                await asyncio.sleep(_PAUSE_S)

    async def stop(self) -> None:
        """End the session."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._link is not None:
            self._link.end()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        is_first = True
        while True:
            for host, port in self._servers:
                link = _Link(self._on_sight)
                try:
                    async with asyncio.timeout(_SESSION_MS / 1000 / 3):
                        await loop.create_connection(lambda link=link: link, host, port)
                        await link.watch(self._roots)
                except (OSError, ConnectionLostError):
                    link.end()
                    continue
                if not is_first:
                    for path in self._rescanned:
                        link.read(path)
                is_first = False
                self._link = link
                self._watching.set()
                await link.lost
                self._watching.clear()
            await asyncio.sleep(_PAUSE_S)


class _Link(asyncio.Protocol):
    """One connection and session."""

    def __init__(self, on_sight: Sight) -> None:
        self._on_sight = on_sight
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._raw = b""
        self._xid = 0
        # A path is that of a read; a future is another request's.
        self._asked: deque[str | asyncio.Future[None]] = deque()
        self._out: list[bytes] = []
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._beat: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[None] = self._loop.create_future()

    async def watch(self, roots: Sequence[str]) -> None:
        """Begin a session and set watches; returns when they stand."""
        assert self._transport is not None
        self._transport.write(
            wire.connect(
                last_zxid=0, timeout_ms=_SESSION_MS, session_id=0, password=wire.new_password()
            )
        )
        await self._greeted
        self._keep_alive()
        await asyncio.gather(
            *(self._ask(OpCode.ADD_WATCH, wire.add_watch_body(root)) for root in roots)
        )

    def read(self, path: str) -> None:
        """Read a path; whoever looks is told."""
        self._send(OpCode.GET_DATA, wire.watchless_body(path))
        self._asked.append(path)

    async def settle(self, path: str) -> bool:
        """Wait until all acknowledged by now was seen; False if the connection broke."""
        try:
            # The server sends the events of what it has applied before the answer to a sync, and
            # the reads that those events cause are answered before this second one.
            await self._ask(OpCode.SYNC, wire.path_body(path))
            await self._ask(OpCode.SYNC, wire.path_body(path))
        except ConnectionLostError:
            return False
        return True

    def end(self) -> None:
        """Close."""
        if self._transport is not None:
            self._transport.close()

    def _ask(self, code: OpCode, body: bytes) -> asyncio.Future[None]:
        answered: asyncio.Future[None] = self._loop.create_future()
        if self.lost.done():
            answered.set_exception(ConnectionLostError("the watcher's server is gone", sent=False))
            return answered
        self._send(code, body)
        self._asked.append(answered)
        return answered

    def _send(self, code: OpCode, body: bytes) -> None:
        self._xid += 1
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(wire.frame(self._xid, code, body))

    def _flush(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _keep_alive(self) -> None:
        self._beat = self._loop.call_later(_SESSION_MS / 3000, self._keep_alive)
        if self._transport is not None:
            self._transport.write(wire.frame(wire.XID_PING, OpCode.PING, b""))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # Whatever it was, the next connection begins anew.
        if self._beat is not None:
            self._beat.cancel()
        error = ConnectionLostError("the watcher's server is gone", sent=True)
        for waiting in (self._greeted, *self._asked):
            if isinstance(waiting, asyncio.Future) and not waiting.done():
                waiting.set_exception(error)
                # Nobody may be waiting for it any more.
                waiting.exception()
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        raw = self._raw + data
        at = 0
        while len(raw) - at >= _length.size:
            end = at + _length.size + _length.unpack_from(raw, at)[0]
            if end > len(raw):
                break
            self._on_frame(raw, at + _length.size, end, now)
            at = end
        self._raw = raw[at:]

    def _on_frame(self, raw: bytes, at: int, end: int, now: float) -> None:
        if not self._greeted.done():
            self._greeted.set_result(None)
            return
        xid, _, code = wire.REPLY.unpack_from(raw, at)
        at += wire.REPLY_BYTES
        if xid == wire.XID_EVENT:
            kind, _, path = wire.read_event(raw, at)
            if kind == _DELETED:
                self._on_sight(path, None, now)
            elif kind > 0:
                self.read(path)
        elif xid > 0:
            asked = self._asked.popleft()
            if isinstance(asked, str):
                if code != _NO_NODE:
                    self._on_sight(asked, wire.read_data(raw, at, end)[0], now)
            elif not asked.done():
                if code:
                    asked.set_exception(zk_error(code, None))
                else:
                    asked.set_result(None)
