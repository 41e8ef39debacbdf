"""gRPC as a probe speaks it, when the other side keeps to no rule: bounded, and told as an error.

The server is a script of frames, because the library's own would not write them.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import tempfile
import time
from collections.abc import AsyncGenerator

import pytest

from probe.agent import hpack
from probe.agent.errors import AnswerError, UnreachableError
from probe.agent.grpc import Channel
from tests.waiting import until

_TIMEOUT_S = 10.0
_DATA, _HEADERS, _SETTINGS, _PING, _CONTINUATION = 0, 1, 4, 6, 9
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x4, 0x8, 0x20
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int = 0, payload: bytes = b"", *, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack("!BBI", kind, flags, stream) + payload


def message(body: bytes) -> bytes:
    return struct.pack("!BI", 0, len(body)) + body


def headers(*pairs: tuple[str, str]) -> bytes:
    return hpack.encode(list(pairs))


END = frame(_HEADERS, _END_HEADERS | _END_STREAM, headers(("grpc-status", "0")))


class Script:
    """Sends frames again and again, without a look at what it is told."""

    def __init__(self, frames: bytes, again: bytes) -> None:
        self._frames = frames
        self._again = again
        self.sent = 0
        self.is_held_up = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(len(_GREETING))
            writer.write(frame(_SETTINGS, stream=0) + self._frames)
            self.sent += len(self._frames)
            while self._again:
                try:
                    async with asyncio.timeout(1):
                        await writer.drain()
                except TimeoutError:
                    self.is_held_up = True
                    break
                writer.write(self._again)
                self.sent += len(self._again)
            await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def serving(
    frames: bytes, again: bytes = b"", *, timeout_s: float = _TIMEOUT_S
) -> AsyncGenerator[tuple[Channel, Script]]:
    # Paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="grpc-") as folder:
        script = Script(frames, again)
        # A small limit stops the server reading: it must not depend on being told anything.
        server = await asyncio.start_unix_server(script.serve, f"{folder}/s", limit=1024)
        channel = Channel(f"{folder}/s", timeout_s=timeout_s)
        try:
            yield channel, script
        finally:
            await channel.close()
            server.close()
            await server.wait_closed()


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (frame(_DATA, _PADDED), "padding"),
        (frame(_DATA, _PADDED, b"\x04abc"), "padding"),
        (frame(_HEADERS, _PADDED | _END_HEADERS, b"\xff" + END), "padding"),
        (frame(_HEADERS, _END_HEADERS, b"\xbe"), "entry 62"),
        (frame(_HEADERS, _END_HEADERS, b"\x00\x7f\xff\xff\xff\xff\xff\x7f"), "breaks off"),
        (b"\x00\x40\x01" + frame(_DATA)[3:], "HTTP/2"),
        (frame(_DATA, payload=b"\x01\0\0\0\x01x"), "plain message"),
        (frame(_DATA, payload=b"\0\xff\xff\xff\xffx"), "plain message"),
    ],
)
async def test_a_frame_that_keeps_to_no_rule_is_told_as_an_answer(frames: bytes, told: str) -> None:
    async with serving(frames) as (channel, _):
        with pytest.raises(AnswerError, match=told):
            await channel.call("a.S/Echo")


@pytest.mark.parametrize("status", ["\u00b2", "-1", "", "9" * 5_000, "0x0"])
async def test_a_status_that_is_no_number_of_grpc_is_told_as_an_answer(status: str) -> None:
    end = frame(_HEADERS, _END_HEADERS | _END_STREAM, headers(("grpc-status", status)))
    async with serving(end) as (channel, _):
        with pytest.raises(AnswerError, match="expected gRPC"):
            await channel.call("a.S/Echo")


async def test_padding_and_a_priority_are_no_part_of_an_answer() -> None:
    body = message(b"told")
    end = b"\x02" + bytes(5) + headers(("grpc-status", "0")) + bytes(2)
    frames = (
        # A flag that data do not know says nothing.
        frame(_DATA, _PADDED | _PRIORITY, b"\x03" + body + bytes(3)),
        frame(_HEADERS, _PADDED | _PRIORITY | _END_HEADERS | _END_STREAM, end),
    )
    async with serving(b"".join(frames)) as (channel, _):
        assert await channel.call("a.S/Echo") == b"told"


async def test_headers_that_do_not_end_are_given_up() -> None:
    more = frame(_CONTINUATION, payload=bytes(16_000)) * 4
    async with serving(frame(_HEADERS), more) as (channel, script):
        with pytest.raises(AnswerError, match="bytes of headers"):
            async for _ in channel.stream("a.S/Stream"):
                pass
        assert script.sent < 4 * 1024 * 1024


async def test_frames_that_say_nothing_end_with_the_time_of_a_call() -> None:
    more = frame(_CONTINUATION) * 1_000
    async with serving(frame(_HEADERS), more, timeout_s=0.3) as (channel, _):
        with pytest.raises(UnreachableError, match=r"within 0\.3 s"):
            await channel.call("a.S/Echo")


async def test_answers_to_a_call_that_wants_one_are_not_gathered() -> None:
    many = frame(_DATA, payload=message(b"x" * 1_000) * 10) * 10
    async with serving(b"", many) as (channel, script):
        with pytest.raises(AnswerError, match="one answer"):
            await channel.call("a.S/Echo")
        assert script.sent < 4 * 1024 * 1024


async def test_who_pings_and_does_not_read_is_held_up() -> None:
    pings = frame(_PING, payload=bytes(8), stream=0) * 1_000
    async with serving(b"", pings) as (channel, script):

        async def follow() -> None:
            async for _ in channel.stream("a.S/Stream"):
                pass

        following = asyncio.create_task(follow())
        await until(lambda: script.is_held_up, "holding up the server")
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        assert script.sent < 16 * 1024 * 1024


@pytest.mark.parametrize(
    "data",
    [
        # The end of a text, and ones after it.
        b"\xff" * 64_000,
        b"\xff\xff\xff\xfb" * 16_000,
        b"\xff\xff\xff\xf0" * 16_000,
    ],
)
def test_a_packed_text_costs_what_its_length_says(data: bytes) -> None:
    begun = time.process_time()
    with contextlib.suppress(AnswerError):
        hpack.unpack(data)
    assert time.process_time() - begun < 2
