"""Calls of a framework on one connection, sent without waiting for the answers of earlier ones.

A framework makes a call for every status it keeps, and masters take one call a request: one request
at a time, launching is as slow as the way to the master and back. Mesos' own scheduler library
pipelines its calls, and so does this. Answers come in the order of the calls; when one stays away,
is no HTTP, or the connection ends, nobody knows what arrived of what was sent, so all calls that
wait fail, and none is repeated. The next call opens a new connection. The time-out is one of
silence: a call behind many others waits longer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

import h11
import httpx

from clients.mesos.errors import MesosError, ProtocolError, UnreachableError

# Answers to calls are empty, or a sentence; a page of a proxy is larger, and needed only in part.
_BODY_BYTES_MAX = 1024 * 1024
_HEAD_BYTES_MAX = 64 * 1024
_SHOWN_BYTES = 80
# More than a busy master answers in a second: further calls are held back here, not there.
_WAITING_MAX = 2000
_ACCEPTED = httpx.Response(202)
_BEGINNING = b"HTTP/"
_ANY_REQUEST = h11.Request(method="POST", target="/", headers=[("Host", "master")])


class Answers:
    """Takes the answers of pipelined requests apart; bytes go in as they arrive.

    h11 pairs one request with one answer, so each answer has a connection of h11's of its own.

    Raises (feed):
        ProtocolError: what came is no HTTP/1 answer, or one that is far too long.
    """

    def __init__(self) -> None:
        self._parser = _parser()
        self._head: h11.Response | None = None
        self._is_fresh = True
        self._body = bytearray()

    def feed(self, data: bytes) -> list[httpx.Response]:
        """Add bytes; returns the answers that are whole now."""
        if not data:
            return []
        if self._is_fresh and not _BEGINNING.startswith(data[: len(_BEGINNING)]):
            # What never ends its head would be waited for.
            raise _no_answer(data, "another protocol")
        return self._take(data)

    def end(self) -> list[httpx.Response]:
        """The connection has ended, which is how the length of some answers is told."""
        # What was cut off is no answer.
        with suppress(ProtocolError):
            return self._take(b"")
        return []

    def _take(self, data: bytes) -> list[httpx.Response]:
        self._is_fresh = False
        try:
            self._parser.receive_data(data)
            return list(self._read())
        except h11.RemoteProtocolError as error:
            raise _no_answer(data, str(error)) from None

    def _read(self) -> Iterator[httpx.Response]:
        while True:
            match self._parser.next_event():
                case h11.Response() as head:
                    self._head = head
                    self._bound(int(dict(head.headers).get(b"content-length", b"0")))
                case h11.Data(data=data):
                    self._body += data
                    self._bound(len(self._body))
                case h11.EndOfMessage() if self._head is not None:
                    yield self._made(self._head)
                    left, is_ended = self._parser.trailing_data
                    self._parser, self._head = _parser(), None
                    self._body.clear()
                    self._is_fresh = not left
                    if is_ended or not left:
                        return
                    self._parser.receive_data(left)
                case h11.InformationalResponse():
                    continue
                case _:
                    return

    @staticmethod
    def _bound(size: int) -> None:
        if size > _BODY_BYTES_MAX:
            msg = f"expected a short answer of a Mesos master, saw {size} bytes: is this one?"
            raise ProtocolError(msg)

    def _made(self, head: h11.Response) -> httpx.Response:
        if head.status_code == _ACCEPTED.status_code and not self._body:
            return _ACCEPTED
        return httpx.Response(
            head.status_code, headers=head.headers.raw_items(), content=bytes(self._body)
        )


def _no_answer(data: bytes, why: str) -> ProtocolError:
    shown = data[:_SHOWN_BYTES]
    return ProtocolError(
        f"expected an HTTP/1 answer of a Mesos master, saw {shown!r} ({why}): is this one?"
    )


def _parser() -> h11.Connection:
    """One that waits for the answer to a request."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES_MAX)
    parser.send(_ANY_REQUEST)
    parser.send(h11.EndOfMessage())
    return parser


class _Connection(asyncio.Protocol):
    """One connection: who waits for an answer, in the order of the requests."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._answers = Answers()
        self._waiting: deque[asyncio.Future[httpx.Response]] = deque()
        self._writable = asyncio.Event()
        self._writable.set()
        self._is_closing = False
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if not self.is_open:
            return
        self._heard_at = asyncio.get_running_loop().time()
        try:
            self._hand_out(self._answers.feed(data))
        except ProtocolError as error:
            self.give_up(error)

    def _hand_out(self, answers: list[httpx.Response]) -> None:
        for answer in answers:
            if not self._waiting:
                return
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(answer)
        self._close_if_done()

    def close(self) -> None:
        """End once nobody waits: the last call of a framework ends the stream before its answer."""
        self._is_closing = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._is_closing and not self._waiting and self.is_open:
            self.is_open = False
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            self._hand_out(self._answers.end())
        except ProtocolError as error:
            self.give_up(error)
        seen = "the end of the connection" if exc is None else type(exc).__name__
        self.give_up(UnreachableError(f"expected an answer of the master, saw {seen}: is it up?"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def ask(self, request: bytes) -> httpx.Response:
        await self._writable.wait()
        waiting: asyncio.Future[httpx.Response] = asyncio.get_running_loop().create_future()
        if not self.is_open:
            msg = "expected a connection to the master, saw its end: is it up?"
            raise UnreachableError(msg)
        if not self._waiting:
            self._heard_at = asyncio.get_running_loop().time()
        self._waiting.append(waiting)
        if self._watch is None:
            self._watch_silence()
        self._transport.write(request)
        return await waiting

    def _watch_silence(self) -> None:
        """Give up once nothing was heard for too long while somebody waits."""
        loop = asyncio.get_running_loop()
        left_s = self._heard_at + self._silence_s - loop.time()
        if self._waiting and left_s <= 0:
            self._watch = None
            self.give_up(
                UnreachableError("expected an answer of the master, saw TimeoutError: is it up?")
            )
        elif self._waiting:
            self._watch = loop.call_later(left_s, self._watch_silence)
        else:
            self._watch = None

    def give_up(self, error: MesosError) -> None:
        """Nobody who waits will hear what became of a call."""
        self.is_open = False
        self._writable.set()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._transport.abort()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(error)
        self._waiting.clear()


class Poster(Protocol):
    """Posts calls to one path of one master.

    Raises (post):
        UnreachableError: there was no answer in time; the call may have arrived.
        ProtocolError: what came is no answer.
    """

    async def post(self, body: bytes) -> httpx.Response:
        """The answer to a call, which is not looked at."""
        ...

    def close(self) -> None:
        """Let go of the connection."""


class OneByOne:
    """A `Poster` through a client of httpx, for what replaces the network."""

    def __init__(self, client: httpx.AsyncClient, request: httpx.Request) -> None:
        self._client = client
        self._request = request

    async def post(self, body: bytes) -> httpx.Response:
        """See `Poster`."""
        url, headers = self._request.url, self._request.headers
        try:
            return await self._client.post(url, content=body, headers=_without_length(headers))
        except httpx.HTTPError as error:
            seen = type(error).__name__
            msg = f"expected an answer of master {url.netloc.decode()}, saw {seen}: is it up?"
            raise UnreachableError(msg) from None

    def close(self) -> None:
        """See `Poster`."""


def _without_length(headers: httpx.Headers) -> list[tuple[bytes, bytes]]:
    left_out = {b"content-length", b"connection"}
    return [(name, value) for name, value in headers.raw if name.lower() not in left_out]


class Lane:
    """A `Poster` with a connection of its own. `request` says what every call has."""

    def __init__(
        self, request: httpx.Request, *, tls: ssl.SSLContext | None, timeout_s: float
    ) -> None:
        url = request.url
        self._host = url.host
        self._port = url.port or (80 if tls is None else 443)
        self._tls = tls
        self._timeout_s = timeout_s
        lines = [f"POST {url.raw_path.decode()} HTTP/1.1".encode()]
        lines += [name + b": " + value for name, value in _without_length(request.headers)]
        self._head = b"\r\n".join([*lines, b"Content-Length: "])
        self._connection: _Connection | None = None
        self._slots = asyncio.Semaphore(_WAITING_MAX)
        self._connecting = asyncio.Lock()
        self._is_closed = False

    async def post(self, body: bytes) -> httpx.Response:
        """See `Poster`."""
        if self._is_closed:
            msg = "expected a subscription, saw its end: subscribe again"
            raise UnreachableError(msg)
        async with self._slots:
            connection = await self._connect()
            return await connection.ask(b"%s%d\r\n\r\n%s" % (self._head, len(body), body))

    async def _connect(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.is_open:
                loop = asyncio.get_running_loop()
                try:
                    async with asyncio.timeout(self._timeout_s):
                        _, self._connection = await loop.create_connection(
                            lambda: _Connection(self._timeout_s),
                            self._host,
                            self._port,
                            ssl=self._tls,
                        )
                except (OSError, TimeoutError) as error:
                    seen, where = type(error).__name__, f"{self._host}:{self._port}"
                    msg = f"expected a connection to master {where}, saw {seen}: is it up?"
                    raise UnreachableError(msg) from None
            return self._connection

    def close(self) -> None:
        """See `Poster`; calls on their way still get their answers."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.close()
