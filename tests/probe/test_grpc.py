"""gRPC as a probe speaks it, against the library's own server; headers and messages alone."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.agent import hpack
from probe.agent import protobuf as pb
from probe.agent.cri import Runtime
from probe.agent.errors import AnswerError, RefusedError, UnreachableError
from probe.agent.grpc import NOT_FOUND, UNIMPLEMENTED, Channel
from tests.probe.properties import patient

_TIMEOUT_S = 10.0


class Served(grpc.GenericRpcHandler):
    """Methods of a server: bytes in, bytes out."""

    def __init__(self, methods: dict[str, Callable[..., Any]]) -> None:
        self._methods = methods

    def service(self, handler_call_details: Any) -> Any:
        name = handler_call_details.method.lstrip("/")
        method = self._methods.get(name)
        if method is None:
            return None
        if name.endswith(("Stream", "Events")):
            return cast("Any", grpc).unary_stream_rpc_method_handler(method)
        return cast("Any", grpc).unary_unary_rpc_method_handler(method)


@contextlib.asynccontextmanager
async def serving(methods: dict[str, Callable[..., Any]]) -> AsyncGenerator[str]:
    # Paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="grpc-") as folder:
        path = str(Path(folder) / "s.sock")
        options = [("grpc.max_send_message_length", -1)]
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers((Served(methods),))
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        try:
            yield path
        finally:
            await server.stop(None)


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def refuse(request: bytes, context: Any) -> bytes:
    await context.abort(grpc.StatusCode.NOT_FOUND, "no such container: \u201cx\u201d")
    return b""


async def many(request: bytes, context: Any) -> AsyncGenerator[bytes]:
    for number in range(200):
        yield str(number).encode() * 5_000


async def test_calls_are_answered_on_one_connection() -> None:
    async with serving({"a.S/Echo": echo, "a.S/Refuse": refuse}) as path:
        channel = Channel(path, timeout_s=_TIMEOUT_S)
        # More than a window: it has to be opened again.
        for body in (b"", b"\x01", b"x" * 3_500_000):
            assert await channel.call("a.S/Echo", body) == body
        with pytest.raises(RefusedError, match="no such container: \u201cx\u201d") as raised:
            await channel.call("a.S/Refuse")
        assert raised.value.status == NOT_FOUND
        with pytest.raises(RefusedError) as raised:
            await channel.call("a.S/None")
        assert raised.value.status == UNIMPLEMENTED
        assert await channel.call("a.S/Echo", b"again") == b"again"
        await channel.close()


async def test_answers_that_do_not_end_come_whole_and_in_order() -> None:
    async with serving({"a.S/Stream": many, "a.S/Echo": echo}) as path:
        channel = Channel(path, timeout_s=_TIMEOUT_S)
        found = [answer async for answer in channel.stream("a.S/Stream")]
        assert found == [str(number).encode() * 5_000 for number in range(200)]

        async with contextlib.aclosing(channel.stream("a.S/Stream")) as answers:
            async for answer in answers:
                assert answer
                break
        # What was left of it does not come between these.
        assert await channel.call("a.S/Echo", b"next") == b"next"
        await channel.close()


async def test_whoever_is_no_grpc_server_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError):
        await Channel(str(tmp_path / "none"), timeout_s=_TIMEOUT_S).call("a.S/Echo")

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(24)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    with tempfile.TemporaryDirectory(prefix="grpc-") as folder:
        server = await asyncio.start_unix_server(other, f"{folder}/s")
        channel = Channel(f"{folder}/s", timeout_s=_TIMEOUT_S)
        with pytest.raises(AnswerError, match="HTTP/2"):
            await channel.call("a.S/Echo")
        server.close()


async def silent(request: bytes, context: Any) -> bytes:
    await asyncio.sleep(60)
    return b""


async def test_a_server_that_hangs_is_given_up() -> None:
    async with serving({"a.S/Echo": silent}) as path:
        channel = Channel(path, timeout_s=0.2)
        with pytest.raises(UnreachableError, match=r"within 0\.2 s"):
            await channel.call("a.S/Echo")


async def test_events_of_a_runtime_that_has_them_are_its_own() -> None:
    async def events(request: bytes, context: Any) -> AsyncGenerator[bytes]:
        yield pb.write_text(1, "id-1") + pb.write_integer(2, 1)
        yield pb.write_text(1, "id-2") + pb.write_integer(2, 3)

    async with serving({"runtime.v1.RuntimeService/GetContainerEvents": events}) as path:
        runtime = Runtime(path)
        assert [id_ async for id_ in runtime.events()] == ["id-1", "id-2"]
        await runtime.close()


async def test_a_runtime_without_any_events_says_so() -> None:
    async with serving({}) as path:
        runtime = Runtime(path)
        with pytest.raises(RefusedError) as raised:
            async for _ in runtime.events():
                pass
        assert raised.value.status == UNIMPLEMENTED
        await runtime.close()


# RFC 7541, appendix C.4 and C.6, and what is written for one's own.
BLOCKS = {
    "88": {":status": "200"},
    "4803333037": {":status": "307"},
    "48826402": {":status": "302"},
    "20880b677270632d73746174757300": None,
    "000b677270632d737461747573" + "0130": {"grpc-status": "0"},
}


@pytest.mark.parametrize(("block", "headers"), BLOCKS.items())
def test_headers_are_read_as_the_standard_writes_them(
    block: str, headers: dict[str, str] | None
) -> None:
    if headers is None:
        with pytest.raises(AnswerError):
            hpack.decode(bytes.fromhex(block))
    else:
        assert hpack.decode(bytes.fromhex(block)) == headers


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        ("f1e3c2e5f23a6ba0ab90f4ff", b"www.example.com"),
        ("a8eb10649cbf", b"no-cache"),
        ("6402", b"302"),
        ("d07abe941054d444a8200595040b8166e082a62d1bff", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    ],
)
def test_packed_texts_are_those_of_the_standard(packed: str, text: bytes) -> None:
    assert hpack.unpack(bytes.fromhex(packed)) == text


@patient
@given(st.dictionaries(st.text("abc:-", min_size=1), st.text(), max_size=5))
def test_what_is_written_is_read(headers: dict[str, str]) -> None:
    assert hpack.decode(hpack.encode(list(headers.items()))) == headers


@patient
@given(st.binary(max_size=60))
def test_no_bytes_of_others_break_the_readers(data: bytes) -> None:
    for read in (hpack.decode, hpack.unpack, pb.read):
        with contextlib.suppress(AnswerError):
            read(data)


@patient
@given(st.text(), st.integers(0, (1 << 63) - 1))
def test_messages_are_read_as_they_were_written(text: str, number: int) -> None:
    try:
        written = pb.write_text(1, text) + pb.write_integer(15, number)
    except UnicodeEncodeError:
        return
    found = pb.read(written)

    assert pb.text(found, 1) == text
    assert pb.integer(found, 15) == number
    assert pb.integer(found, 9) == 0
    assert pb.integer(pb.read(b"\x08" + b"\xff" * 9 + b"\x01"), 1) == -1
