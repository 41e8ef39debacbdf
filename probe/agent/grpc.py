"""gRPC over a UNIX socket: a call with one answer, or with answers that do not end.

The library costs 9 MB of resident memory and threads of its own (docs/adr/0006); what a probe needs
of HTTP/2 (RFC 9113) is one stream at a time on a connection: settings, headers, data, windows,
pings. All that comes is bounded. Received windows are opened again as data come, and every wait but
that of an endless call is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncGenerator
from urllib.parse import unquote

from probe.agent import hpack
from probe.agent.errors import AnswerError, RefusedError, UnreachableError
from probe.agent.text import TEXT_CHARS_MAX, clean

UNIMPLEMENTED = 12
NOT_FOUND = 5
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS = 0, 1, 3, 4
_PING, _GO_AWAY, _WINDOW, _CONTINUATION = 6, 7, 8, 9
_ACK = _END_STREAM = 0x1
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20
# No table of headers, nothing pushed, and a window that only a very long list fills.
_OURS = struct.pack("!HIHIHI", 1, 0, 2, 0, 4, 1 << 20)
# What HTTP/2 allows a peer that was told nothing else (SETTINGS_MAX_FRAME_SIZE).
_FRAME_BYTES_MAX = 1 << 14
_BLOCK_BYTES_MAX = 64 * 1024
_STATUS_DIGITS_MAX = 3
MESSAGE_BYTES_MAX = 32 * 1024 * 1024
_CLOSE_S_MAX = 1.0


class Channel:
    """Calls to one server, one at a time. A broken connection is made anew by the next call."""

    def __init__(self, path: str, *, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._stream = 1
        self._busy = asyncio.Lock()

    async def call(self, method: str, request: bytes = b"") -> bytes:
        """Ask, and get the one answer.

        Raises:
            UnreachableError: no connection, or no answer in time.
            AnswerError: what comes is no gRPC.
            RefusedError: the server says no; `status` is gRPC's.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                answers = self.stream(method, request)
                async with contextlib.aclosing(answers):
                    found: list[bytes] = []
                    async for answer in answers:
                        found.append(answer)
                        if len(found) > 1:  # There may be any number of further ones.
                            break
        except TimeoutError:
            msg = f"expected an answer of {self._path} within {self._timeout_s:g} s, saw none"
            raise UnreachableError(msg) from None
        if len(found) != 1:
            seen = "more" if found else "none"
            msg = f"expected one answer of {self._path} to {method}, saw {seen}"
            raise AnswerError(msg)
        return found[0]

    async def stream(self, method: str, request: bytes = b"") -> AsyncGenerator[bytes]:
        """Ask, and get answers as they come, until the server ends them."""
        async with self._busy:
            is_whole = False
            try:
                stream = await self._begin(method, request)
                async for answer in self._answers(stream, method):
                    yield answer
                is_whole = True
            except RefusedError:
                is_whole = True
                raise
            except (OSError, asyncio.IncompleteReadError) as error:
                seen = getattr(error, "strerror", None) or type(error).__name__
                msg = f"expected {self._path} to answer {method}, saw: {seen}"
                raise UnreachableError(msg) from None
            finally:
                if not is_whole:  # What is left of it would come between the answers of the next.
                    await self.close()

    async def close(self) -> None:
        """Close the connection."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S_MAX):
                    await writer.wait_closed()

    async def _begin(self, method: str, request: bytes) -> int:
        if self._writer is None or self._reader is None or self._reader.at_eof():
            await self.close()
            self._reader, self._writer = await asyncio.open_unix_connection(self._path)
            self._stream = 1
            self._writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, _OURS))
        stream, self._stream = self._stream, self._stream + 2
        headers = hpack.encode(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", f"/{method}"),
                (":authority", "localhost"),
                ("content-type", "application/grpc"),
                ("te", "trailers"),  # codespell:ignore te
            ]
        )
        body = struct.pack("!BI", 0, len(request)) + request
        self._writer.write(
            _frame(_HEADERS, _END_HEADERS, stream, headers)
            + _frame(_DATA, _END_STREAM, stream, body)
        )
        await self._writer.drain()
        return stream

    async def _answers(self, stream: int, method: str) -> AsyncGenerator[bytes]:
        kept = bytearray()
        block = b""
        status: dict[str, str] = {}
        is_last = False
        while True:
            kind, flags, of, payload = await self._frame()
            # Frames may call for answers of ours: who does not read those gets no more of them.
            assert self._writer is not None, "frames come over a connection"
            await self._writer.drain()
            if of != stream or kind not in {_DATA, _HEADERS, _CONTINUATION, _RESET}:
                self._serve(kind, flags, payload)
                continue
            if kind == _RESET:
                msg = f"expected an answer of {self._path} to {method}, saw it reset"
                raise UnreachableError(msg)
            if kind == _DATA:
                self._open_window(stream, len(payload))
                kept += _unpadded(flags, payload)
                while (message := _message(kept)) is not None:
                    yield message
            else:
                block += _block(flags, payload) if kind == _HEADERS else payload
                if len(block) > _BLOCK_BYTES_MAX:
                    msg = f"expected at most {_BLOCK_BYTES_MAX} bytes of headers, saw more"
                    raise AnswerError(msg)
                if flags & _END_HEADERS:
                    status |= hpack.decode(block)
                    block = b""
            is_last = is_last or (kind != _CONTINUATION and bool(flags & _END_STREAM))
            if is_last and not block:
                self._check(method, status)
                return

    def _check(self, method: str, status: dict[str, str]) -> None:
        code = status.get("grpc-status", "")
        if code == "0":
            return
        if not (code.isascii() and code.isdigit() and len(code) <= _STATUS_DIGITS_MAX):
            seen = f"status {status.get(':status', 'none')} of HTTP"
            msg = f"expected gRPC of {self._path}, saw {seen}"
            raise AnswerError(msg)
        told = unquote(status.get("grpc-message", ""))
        msg = f"expected {self._path} to answer {method}, saw status {code}: {told}"
        raise RefusedError(clean(msg, TEXT_CHARS_MAX), status=int(code))

    def _serve(self, kind: int, flags: int, payload: bytes) -> None:
        """What belongs to the connection, or to a stream that has ended."""
        assert self._writer is not None, "frames come over a connection"
        if kind == _SETTINGS and not flags & _ACK:
            self._writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._writer.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _GO_AWAY:
            msg = f"expected {self._path} to go on, saw it go away"
            raise UnreachableError(msg)

    def _open_window(self, stream: int, length: int) -> None:
        assert self._writer is not None, "data come over a connection"
        if length:
            more = struct.pack("!I", length)
            self._writer.write(_frame(_WINDOW, 0, 0, more) + _frame(_WINDOW, 0, stream, more))

    async def _frame(self) -> tuple[int, int, int, bytes]:
        assert self._reader is not None, "only asked while connected"
        head = await self._reader.readexactly(9)
        length = int.from_bytes(head[:3], "big")
        if length > _FRAME_BYTES_MAX or head[:4] == b"HTTP":
            msg = f"expected HTTP/2 of {self._path}, saw {head!r}"
            raise AnswerError(msg)
        payload = await self._reader.readexactly(length)
        return head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, payload


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack("!BBI", kind, flags, stream) + payload


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & _PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        msg = "expected a frame with its padding, saw one that is shorter"
        raise AnswerError(msg)
    return payload[1 : len(payload) - payload[0]]


def _block(flags: int, payload: bytes) -> bytes:
    """The headers of a frame that begins them: before them may stand a priority."""
    return _unpadded(flags, payload)[5 if flags & _PRIORITY else 0 :]


def _message(kept: bytearray) -> bytes | None:
    """The next whole message, taken out of what has come."""
    if len(kept) < 5:  # noqa: PLR2004 - whether it is compressed, and its length
        return None
    is_packed, length = struct.unpack_from("!BI", kept)
    if is_packed or length > MESSAGE_BYTES_MAX:
        msg = f"expected a plain message of at most {MESSAGE_BYTES_MAX} bytes, saw another"
        raise AnswerError(msg)
    if len(kept) < 5 + length:
        return None
    found = bytes(kept[5 : 5 + length])
    del kept[: 5 + length]
    return found
