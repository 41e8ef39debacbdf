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
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import NoReturn, Protocol

import httpx

from clients.mesos.errors import MesosError, ProtocolError, UnreachableError

# Answers to calls are empty, or a sentence; a page of a proxy is larger, and needed only in part.
_BODY_BYTES_MAX = 1024 * 1024
_HEAD_BYTES_MAX = 64 * 1024
_SHOWN_BYTES = 80
_CONTINUE_MAX = 199
# More than a busy master answers in a second: further calls are held back here, not there.
_WAITING_MAX = 2000
_EMPTY = frozenset({204, 304})
_ACCEPTED = httpx.Response(202)


class Answers:
    """Takes the answers of pipelined requests apart; bytes go in as they arrive.

    Raises (feed):
        ProtocolError: what came is no HTTP/1 answer, or one that is far too long.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._found: list[httpx.Response] = []
        self._is_last = False
        self._walk = self._read()
        next(self._walk)

    def feed(self, data: bytes) -> list[httpx.Response]:
        """Add bytes; returns the answers that are whole now."""
        self._data += data
        next(self._walk)
        found, self._found = self._found, []
        return found

    def end(self) -> list[httpx.Response]:
        """The connection has ended, which is how the length of some answers is told."""
        self._is_last = True
        with suppress(StopIteration):
            next(self._walk)
        return self._found

    # Generators yield where they need more bytes.

    def _read(self) -> Generator[None]:
        while True:
            status, headers = yield from self._head()
            if status <= _CONTINUE_MAX:
                continue
            body = yield from self._body(status, headers)
            known = not body and status == _ACCEPTED.status_code
            made = _ACCEPTED if known else httpx.Response(status, headers=headers, content=body)
            self._found.append(made)

    def _line(self) -> Generator[None, None, bytes]:
        start = 0
        while (end := self._data.find(b"\r\n", start)) < 0:
            if len(self._data) > _HEAD_BYTES_MAX:
                self._refuse("a line of HTTP")
            start = max(0, len(self._data) - 1)
            yield
        line = bytes(self._data[:end])
        del self._data[: end + 2]
        return line

    def _head(self) -> Generator[None, None, tuple[int, dict[str, str]]]:
        first = yield from self._line()
        version, _, rest = first.partition(b" ")
        code = rest[:3]
        if not version.startswith(b"HTTP/1.") or not code.isdigit():
            self._refuse("an HTTP/1 answer", first)
        headers: dict[str, str] = {}
        while line := (yield from self._line()):
            name, colon, value = line.partition(b":")
            if not colon:
                self._refuse("a header", line)
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        return int(code), headers

    def _body(self, status: int, headers: Mapping[str, str]) -> Generator[None, None, bytes]:
        if status in _EMPTY:
            return b""
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return (yield from self._chunks())
        length = headers.get("content-length")
        if length is None:
            while not self._is_last:
                self._bound(len(self._data))
                yield
            return self._cut(len(self._data))
        if not length.isdigit():
            self._refuse("a length", length.encode())
        return (yield from self._exactly(int(length)))

    def _chunks(self) -> Generator[None, None, bytes]:
        body = bytearray()
        while True:
            line = yield from self._line()
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                self._refuse("the size of a chunk", line)
            if size == 0:
                while (yield from self._line()):
                    pass  # Trailers, of which no master sends any.
                return bytes(body)
            body += yield from self._exactly(size)
            self._bound(len(body))
            yield from self._line()

    def _exactly(self, size: int) -> Generator[None, None, bytes]:
        self._bound(size)
        while len(self._data) < size:
            yield
        return self._cut(size)

    def _cut(self, size: int) -> bytes:
        body = bytes(self._data[:size])
        del self._data[:size]
        return body

    def _bound(self, size: int) -> None:
        if size > _BODY_BYTES_MAX:
            self._refuse("a short answer", b"%d bytes" % size)

    def _refuse(self, expected: str, seen: bytes | None = None) -> NoReturn:
        shown = bytes(self._data if seen is None else seen)[:_SHOWN_BYTES]
        msg = f"expected {expected} of a Mesos master, saw {shown!r}: is this one?"
        raise ProtocolError(msg)


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
