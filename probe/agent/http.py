"""HTTP/1.1 to one place, over TCP, TLS or a UNIX socket: a request and its answer, or a stream.

h11 knows the protocol, asyncio the sockets. One connection is kept and used by one request at a
time; a broken one is made anew, and its name resolved anew. Every wait is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import h11

from probe.agent.errors import AnswerError, RefusedError, SettingsError, UnreachableError

_PIECE_BYTES = 64 * 1024
ANSWER_BYTES_MAX = 64 * 1024 * 1024
# Asked after 30 s of silence, and given up after three questions without an answer, 10 s apart.
_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
_CLOSE_S_MAX = 1.0
_USER = re.compile(r"^(\w{1,16}://|).*@", re.DOTALL)
_NO_HOST = re.compile(r"[\s@/\\?#,;'\"]")


@dataclass(frozen=True)
class Place:
    """Where to ask: a UNIX socket, or host and port."""

    host: str
    port: int = 0
    unix_socket: str | None = None
    is_tls: bool = False
    path: str = ""
    """What stands before every path."""

    def __str__(self) -> str:
        return self.unix_socket or f"{self.host}:{self.port}"


def parse_place(url: str) -> Place:
    """Read `http://host:port/path`, `https://…` or `unix:///path/of/socket`.

    A user in it is refused: it would not be asked as, and told to whoever reads logs.

    Raises:
        SettingsError: it is none of these.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme == "unix" and parts.path:
        return Place("localhost", unix_socket=parts.path)
    is_plain = "@" not in parts.netloc and _is_path(parts.path)
    if parts.scheme in {"http", "https"} and is_host(parts.hostname) and is_plain:
        assert parts.hostname is not None, "it was looked at just now"
        is_tls = parts.scheme == "https"
        return Place(
            parts.hostname,
            port or (443 if is_tls else 80),
            is_tls=is_tls,
            path=parts.path.rstrip("/"),
        )
    # What stands before the last @ may be a password, whatever is in it.
    seen = _USER.sub(r"\1…@", url)
    msg = "expected http://host:port, https://host:port or unix:///socket, and no user in it"
    msg = f"{msg}, saw {seen!r}"
    raise SettingsError(msg)


def is_host(name: str | None) -> bool:
    """Whether a resolver can be asked for it."""
    try:
        return bool(name) and _NO_HOST.search(name) is None and bool(name.encode("idna"))
    except UnicodeError:
        return False


def _is_path(path: str) -> bool:
    return path.isascii() and (path + "/").isprintable() and " " not in path


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    retry_after_s: float | None = None
    """How long to wait, where the answer says so in seconds."""

    @property
    def is_success(self) -> bool:
        """Whether it is what was asked for."""
        return 200 <= self.status < 300  # noqa: PLR2004 - as HTTP counts


class Connection:
    """Requests to one place, one at a time.

    `context` is asked for anew before each connection, so that rotated certificates are taken up.
    """

    def __init__(
        self,
        place: Place,
        *,
        timeout_s: float,
        context: Callable[[], ssl.SSLContext] | None = None,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        self._place = place
        self._timeout_s = timeout_s
        self._answer_bytes_max = answer_bytes_max
        self._context = context or ssl.create_default_context
        self._protocol: h11.Connection | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._busy = asyncio.Lock()

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Ask once; a connection that was kept and turns out to be dead is made anew.

        Raises:
            UnreachableError: no connection, or no answer in time.
            AnswerError: the answer is no HTTP, or too large.
        """
        async with self._busy:
            is_fresh = self._writer is None
            try:
                return await self._exchange(method, path, headers or {}, body)
            except UnreachableError:
                if is_fresh:
                    raise
                return await self._exchange(method, path, headers or {}, body)

    async def get(self, path: str) -> bytes:
        """The body of a successful answer.

        Raises:
            RefusedError: the answer is none.
        """
        answer = await self.request("GET", path)
        if not answer.is_success:
            msg = f"expected success of {path} at {self._place}, saw status {answer.status}"
            msg = f"{msg}: {answer.body[:200]!r}"
            raise RefusedError(msg, status=answer.status)
        return answer.body

    async def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send(method, path, headers, body)
                response = await self._response()
                pieces: list[bytes] = []
                size = 0
                async for piece in self._body():
                    size += len(piece)
                    if size > self._answer_bytes_max:
                        most = self._answer_bytes_max
                        msg = f"expected at most {most} bytes at {path}, saw more"
                        raise AnswerError(msg)
                    pieces.append(piece)
        except BaseException as error:
            await self._drop()
            self._explain(error)
            raise
        assert self._protocol is not None, "an answer came over a connection"
        if self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE:
            self._protocol.start_next_cycle()
        else:
            await self._drop()
        return Answer(response.status_code, b"".join(pieces), _retry_after_s(response))

    async def stream(
        self,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        silence_s_max: float | None = None,
    ) -> AsyncGenerator[bytes]:
        """The body of an answer that does not end, as it comes. Nothing else can be asked then.

        Where the other side speaks now and then, longer silence than `silence_s_max` ends the
        stream: it may be gone without having said so.

        Raises:
            UnreachableError: the stream ended or broke.
            RefusedError: there is no stream.
        """
        async with self._busy:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._send("GET", path, headers or {}, b"")
                    response = await self._response()
                if response.status_code != 200:  # noqa: PLR2004 - as HTTP counts
                    msg = f"expected a stream of {path} at {self._place}"
                    status = response.status_code
                    msg = f"{msg}, saw status {status}"
                    raise RefusedError(msg, status=status)
                yield b""
                async for piece in self._body(silence_s_max):
                    yield piece
                msg = f"expected a stream of {path} at {self._place} to go on, saw its end"
                raise UnreachableError(msg)
            except h11.RemoteProtocolError as error:
                msg = f"expected a stream of {path} at {self._place} to go on, saw: {error}"
                raise UnreachableError(msg) from None
            except (OSError, TimeoutError) as error:
                self._explain(error)
                raise
            finally:
                await self._drop()

    async def close(self) -> None:
        """Close the connection."""
        await self._drop()

    async def _send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        if self._writer is None:
            await self._connect()
        assert self._protocol is not None, "it was connected just now"
        assert self._writer is not None, "it was connected just now"
        lines = {"Host": self._place.host, **headers}
        if body or method == "POST":
            lines["Content-Length"] = str(len(body))
        target = f"{self._place.path}{path}"
        request = h11.Request(method=method, target=target, headers=list(lines.items()))
        head = self._protocol.send(request) or b""
        data = self._protocol.send(h11.Data(data=body)) or b"" if body else b""
        end = self._protocol.send(h11.EndOfMessage()) or b""
        self._writer.write(b"".join((head, data, end)))
        await self._writer.drain()

    async def _connect(self) -> None:
        place = self._place
        if place.unix_socket is not None:
            streams = await asyncio.open_unix_connection(place.unix_socket)
        else:
            context = self._context() if place.is_tls else None
            streams = await asyncio.open_connection(place.host, place.port, ssl=context)
            # Who has gone without a word, a stream would wait for for ever.
            peer = streams[1].get_extra_info("socket")
            for level, option, value in _KEEP_ALIVE:
                peer.setsockopt(level, option, value)
        self._reader, self._writer = streams
        self._protocol = h11.Connection(h11.CLIENT)

    async def _response(self) -> h11.Response:
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                msg = f"expected an answer of {self._place}, saw the end of the connection"
                raise UnreachableError(msg)

    async def _body(self, silence_s_max: float | None = None) -> AsyncGenerator[bytes]:
        while True:
            try:
                async with asyncio.timeout(silence_s_max):
                    event = await self._event()
            except TimeoutError:
                msg = f"expected {self._place} to go on, saw nothing for {silence_s_max} s"
                raise UnreachableError(msg) from None
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                return

    async def _event(self) -> object:
        assert self._protocol is not None, "only asked while connected"
        assert self._reader is not None, "only asked while connected"
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            self._protocol.receive_data(await self._reader.read(_PIECE_BYTES))
        return event

    def _explain(self, error: BaseException) -> None:
        """Turn what asyncio and h11 raise into this package's errors."""
        place = self._place
        if isinstance(error, TimeoutError):
            msg = f"expected an answer of {place} within {self._timeout_s:g} s, saw none"
            raise UnreachableError(msg) from None
        if isinstance(error, OSError):
            seen = error.strerror or type(error).__name__
            msg = f"expected a connection to {place}, saw: {seen}"
            raise UnreachableError(msg) from None
        if isinstance(error, h11.RemoteProtocolError):
            msg = f"expected HTTP of {place}, saw: {error}"
            raise AnswerError(msg) from None

    async def _drop(self) -> None:
        writer, self._writer, self._reader, self._protocol = self._writer, None, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S_MAX):
                    await writer.wait_closed()


@dataclass(frozen=True)
class TlsFiles:
    """Certificates by their files. Without `ca_file` the system's authorities are believed."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def version(self) -> tuple[tuple[int, int, int], ...]:
        """Changes with the files: of each its number, size and time; none for one that is gone."""
        return tuple(_version(file) for file in (self.ca_file, self.cert_file, self.key_file))

    def context(self) -> ssl.SSLContext:
        """Read the files as they are now.

        Raises:
            SettingsError: one of them cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except OSError as error:
            files = ", ".join(str(f) for f in (self.ca_file, self.cert_file, self.key_file) if f)
            msg = f"expected PEM files in {files}, saw {error.strerror or error}: check their paths"
            raise SettingsError(msg) from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def _retry_after_s(response: h11.Response) -> float | None:
    for name, value in response.headers:
        if name == b"retry-after":
            return float(value) if value.isdigit() else None
    return None


def _version(path: Path | None) -> tuple[int, int, int]:
    if path is None:
        return (0, 0, 0)
    try:
        about = path.stat()
    except OSError:
        return (0, 0, 0)
    return (about.st_ino, about.st_size, about.st_mtime_ns)
