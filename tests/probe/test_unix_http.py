"""What answers at a UNIX socket: whoever asks and does not behave holds nothing up, and nothing
back."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from probe.agent import status, unix_http
from probe.agent.errors import OccupiedError
from probe.agent.grants import Grants
from probe.agent.log import Log
from probe.agent.status import StatusServer
from probe.agent.unix_http import Request, Response, SocketServer
from tests.waiting import until

# More than sockets keep between two processes.
BODY = b"x" * 8_000_000


@contextlib.asynccontextmanager
async def serving() -> AsyncGenerator[tuple[str, list[Request]]]:
    asked: list[Request] = []

    def answer(request: Request) -> Response:
        asked.append(request)
        return Response(200, "text/plain", BODY)

    # Paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="unix-") as folder:
        path = f"{folder}/s"
        server = SocketServer(Path(path), answer)
        serving = asyncio.create_task(server.run())
        await server.listening.wait()
        try:
            yield path, asked
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving


def others() -> set[asyncio.Task[None]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_an_answer_comes_whole() -> None:
    async with serving() as (path, asked):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /status?a=b HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.endswith(b"\r\n\r\n" + BODY)
        assert [one.path for one in asked] == ["/status"]


@pytest.mark.parametrize(
    "said", [b"", b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /sta", b"\x16\x03\x01\n\r\n"]
)
async def test_who_says_nothing_or_takes_nothing_is_let_go(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_http, "REQUEST_S_MAX", 0.3)
    async with serving() as (path, _):
        before = others()
        # A small limit: it is not read any further until somebody asks.
        reader, writer = await asyncio.open_unix_connection(path, limit=1024)
        writer.write(said)
        await until(lambda: others() > before, "the server takes the connection")
        await until(lambda: others() == before, "the server lets it go")
        with contextlib.suppress(OSError):
            assert len(await reader.read()) < len(BODY)
        writer.close()


@contextlib.asynccontextmanager
async def at(path: Path, said: bytes) -> AsyncGenerator[None]:
    server = SocketServer(path, lambda _: Response(200, "text/plain", said))
    serving = asyncio.create_task(server.run())
    await server.listening.wait()
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def answer_at(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


async def test_the_socket_of_one_who_serves_is_left_to_it() -> None:
    with tempfile.TemporaryDirectory(prefix="unix-") as folder:
        path = Path(folder) / "s"
        async with at(path, b"first"):
            second = SocketServer(path, lambda _: Response(200, "text/plain", b"second"))
            with pytest.raises(OccupiedError, match="another runs"):
                await second.run()
            assert (await answer_at(path)).endswith(b"first")
        assert not path.exists()


async def test_who_ends_takes_no_other_s_socket_away() -> None:
    with tempfile.TemporaryDirectory(prefix="unix-") as folder:
        path = Path(folder) / "s"
        async with contextlib.AsyncExitStack() as ends:
            async with at(path, b"first"):
                path.unlink()
                await ends.enter_async_context(at(path, b"second"))
            assert (await answer_at(path)).endswith(b"second")
        assert not path.exists()


async def test_a_socket_that_nobody_serves_any_more_is_made_anew() -> None:
    with tempfile.TemporaryDirectory(prefix="unix-") as folder:
        path = Path(folder) / "s"
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(path))
        left.close()
        async with at(path, b"here"):
            assert (await answer_at(path)).endswith(b"here")


async def test_one_that_is_too_busy_to_be_asked_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_http, "_CONNECT_S_MAX", 0.1)
    with tempfile.TemporaryDirectory(prefix="unix-") as folder:
        path = Path(folder) / "s"
        with contextlib.ExitStack() as open_:
            busy = open_.enter_context(socket.socket(socket.AF_UNIX))
            busy.bind(str(path))
            busy.listen(0)
            for _ in range(3):
                waiting = open_.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    waiting.connect(str(path))
            with pytest.raises(OccupiedError):
                await SocketServer(path, lambda _: Response(200, "text/plain", b"")).run()


async def test_a_file_that_is_no_socket_is_not_removed() -> None:
    with tempfile.TemporaryDirectory(prefix="unix-") as folder:
        path = Path(folder) / "s"
        path.write_text("somebody's")
        with pytest.raises(OccupiedError, match="something else"):
            await SocketServer(path, lambda _: Response(200, "text/plain", b"")).run()
        assert path.read_text() == "somebody's"


async def test_the_status_is_told_once_the_agent_before_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status, "_AGAIN_S", 0.01)
    log = io.StringIO()
    with tempfile.TemporaryDirectory(prefix="unix-") as folder:
        path = Path(folder) / "s"

        def nothing() -> status.Status:
            raise AssertionError

        server = StatusServer(str(path), nothing, Grants((), read_only=False), Log(log))
        async with at(path, b"before"):
            serving = asyncio.create_task(server.run())
            await until(lambda: "another runs" in log.getvalue(), "it says so")
        await until(lambda: "trouble.ended" in log.getvalue(), "it serves")
        assert path.is_socket()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert not path.exists()
