"""One TCP connection to one server: frames in, frames out, answers matched to requests in order.

The hot path of the bulk lane. ZooKeeper answers the requests of a connection in the order they were
sent, so a deque of futures is all the bookkeeping there is. All requests of one turn of the event
loop leave in one write; answers are decoded where they lie in the received bytes.

Not here: which server, when to try again, and what a session is (`lane`).
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from sync_engine import sasl, wire
from sync_engine.errors import (
    AuthFailedError,
    ConnectionLostError,
    ProtocolError,
    ZkError,
    zk_error,
)

_XID_MAX = 0x7FFFFFFF
IN_FLIGHT_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of requests under way, besides their number: a server keeps each of them in memory several
times over, and 40 MB of transactions at once ended one with a heap of 128 MB."""

EventSink = Callable[[bytes, int, int], None]
"""Takes a watch event: a frame's bytes, start of the body, and the zxid of the header."""

_length = struct.Struct(">i")
_LENGTH_BYTES = _length.size


class Connection(asyncio.Protocol):
    """Made by `lane`, used up when it breaks: `lost` is then done and holds the reason."""

    def __init__(
        self, in_flight_max: int, on_room: Callable[[], None], on_event: EventSink | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._in_flight_max = in_flight_max
        self._on_room = on_room
        self._transport: asyncio.Transport | None = None
        self._pending: deque[tuple[int, asyncio.Future[Any], wire.Decoder, str | None, int]] = (
            deque()
        )
        self._bytes = 0
        self._xid = 0
        self._out: list[bytes] = []
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = _LENGTH_BYTES
        self._greeting: asyncio.Future[wire.Connected] | None = None
        self._auth: asyncio.Future[None] = self._loop.create_future()
        self._auth_missing = 0
        self._beat: asyncio.TimerHandle | None = None
        self._beat_s = 0.0
        self._reason = "the server closed the connection"
        self._heard_at = 0.0
        self.is_open = False
        self.last_zxid = 0
        self.lost: asyncio.Future[str] = self._loop.create_future()

    @property
    def has_room(self) -> bool:
        """Whether a request would be sent at once."""
        return (
            self.is_open
            and self._bytes < IN_FLIGHT_BYTES_MAX
            and len(self._pending) < self._in_flight_max
        )

    async def handshake(
        self, greeting: bytes, auth: Sequence[tuple[str, bytes]], *, bound_s: float
    ) -> wire.Connected:
        """Send the connect request and the credentials; the connection then takes requests.

        Returns the server's answer as it is; with a timeout of 0 the session has expired and the
        connection is of no use.

        Raises:
            ConnectionLostError: the server closed the connection, as one does that lags behind what
                we have seen, or did not answer in time.
            AuthFailedError: the server refuses the credentials.
        """
        assert self._transport is not None
        self._greeting = self._loop.create_future()
        self._auth_missing = sum(scheme != sasl.SCHEME for scheme, _ in auth)
        try:
            async with asyncio.timeout(bound_s):
                self._transport.write(greeting)
                connected = await self._greeting
                if connected.timeout_ms <= 0:
                    return connected
                for scheme, credentials in auth:
                    if scheme == sasl.SCHEME:
                        await self._authenticate(credentials)
                        continue
                    body = wire.auth_body(scheme, credentials)
                    self._transport.write(wire.frame(wire.XID_AUTH, wire.OpCode.AUTH, body))
                if self._auth_missing:
                    await self._auth
        except TimeoutError:
            self.give_up(f"no answer to a connect request within {bound_s:g} s")
            raise ConnectionLostError(self._reason, sent=False) from None
        if self._transport.is_closing():
            raise ConnectionLostError(self._reason, sent=False)
        self.is_open = True
        self._beat_s = connected.timeout_ms / 3000
        self._beat = self._loop.call_later(self._beat_s, self._on_beat)
        return connected

    async def _authenticate(self, credentials: bytes) -> None:
        """SASL: a word and an answer, until both have proved that they know the password."""
        client = sasl.DigestMd5(credentials)
        token: bytes | None = b""
        while token is not None:
            body = wire.buffer(token)
            try:
                challenge = await self.submit(sasl.OPCODE, body, sasl.read_token, None)
            except ZkError as error:
                msg = f"expected the server to accept the credentials, saw: {error}"
                raise AuthFailedError(msg) from None
            token = client.answer(challenge)

    def submit(
        self, code: int, body: bytes, decode: wire.Decoder, path: str | None
    ) -> asyncio.Future[Any]:
        """Send a request with the others of this turn of the loop; only while `is_open`."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self.forward(future, code, body, decode, path)
        return future

    def forward(
        self,
        future: asyncio.Future[Any],
        code: int,
        body: bytes,
        decode: wire.Decoder,
        path: str | None,
    ) -> None:
        """`submit` for a future that somebody waits for already."""
        xid = self._xid = self._xid % _XID_MAX + 1
        size = len(body)
        self._bytes += size
        self._pending.append((xid, future, decode, path, size))
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(wire.frame(xid, code, body))

    def give_up(self, reason: str) -> None:
        """Break the connection now; every request in flight fails."""
        self._reason = reason
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        out = b"".join(self._out)
        self._out.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(out)

    def _on_beat(self) -> None:
        # Two thirds of the session's time without a word leave one third to find another server.
        silent_s = self._loop.time() - self._heard_at
        if silent_s > 2 * self._beat_s:
            self.give_up(f"the server was silent for {silent_s:.1f} s")
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(wire.frame(wire.XID_PING, wire.OpCode.PING, b""))
            self._beat = self._loop.call_later(self._beat_s, self._on_beat)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; what is under way bounds its buffer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._heard_at = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way: nobody knows what became of it."""
        self.is_open = False
        if exc is not None:
            self._reason = f"the connection broke ({exc})"
        if self._beat is not None:
            self._beat.cancel()
        for future in (self._greeting, self._auth):
            if future is not None and not future.done():
                future.set_exception(ConnectionLostError(self._reason, sent=False))
                # Not everybody comes to wait for the credentials' answer.
                future.exception()
        while self._pending:
            _, future, _, path, _ = self._pending.popleft()
            if not future.done():
                where = f" with a request for {path} under way" if path is not None else ""
                future.set_exception(ConnectionLostError(f"{self._reason}{where}", sent=True))
        if not self.lost.done():
            self.lost.set_result(self._reason)

    def data_received(self, data: bytes) -> None:
        """Take whole frames apart, and keep what is left for the next bytes."""
        self._heard_at = self._loop.time()
        if self._have:
            self._chunks.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._chunks)
            self._chunks.clear()
        at = 0
        size = len(data)
        need = _LENGTH_BYTES
        while size - at >= _LENGTH_BYTES:
            length = _length.unpack_from(data, at)[0]
            if not 0 <= length <= wire.FRAME_BYTES_MAX:
                self.give_up(f"the server sent a frame of {length} bytes")
                return
            need = _LENGTH_BYTES + length
            if size - at < need:
                break
            try:
                self._on_frame(data, at + _LENGTH_BYTES, at + need)
            except (struct.error, IndexError, ValueError, ProtocolError) as error:
                self.give_up(f"the server sent what cannot be read ({error})")
                return
            at += need
            need = _LENGTH_BYTES
        self._have = size - at
        self._need = need
        if self._have:
            self._chunks.append(data[at:] if at else data)
        self._on_room()

    def _on_frame(self, data: bytes, at: int, end: int) -> None:
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_result(wire.connect_reply(data, at))
            return
        xid, zxid, code = wire.REPLY.unpack_from(data, at)
        if xid > 0:
            if xid != self._pending[0][0]:
                msg = f"an answer to request {xid} in place of {self._pending[0][0]}"
                raise ProtocolError(msg)
            _, future, decode, path, size = self._pending.popleft()
            self._bytes -= size
            if zxid > 0:
                self.last_zxid = zxid
            if future.done():
                return
            if code:
                future.set_exception(zk_error(code, path))
                return
            try:
                future.set_result(decode(data, at + wire.REPLY_BYTES, end))
            except (struct.error, IndexError, ValueError):
                future.set_exception(ProtocolError(f"an answer for {path} that cannot be read"))
                raise
        elif xid == wire.XID_EVENT and self._on_event is not None:
            self._on_event(data, at + wire.REPLY_BYTES, zxid)
        elif xid == wire.XID_AUTH:
            self._on_auth(code)
        # Pings need no more than to be heard.

    def _on_auth(self, code: int) -> None:
        self._auth_missing -= 1
        if self._auth.done():
            return
        if code:
            msg = (
                f"expected the server to accept the credentials, saw error {code}: check the scheme"
            )
            self._auth.set_exception(AuthFailedError(msg))
        elif self._auth_missing == 0:
            self._auth.set_result(None)
