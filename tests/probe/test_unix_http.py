"""What answers at a UNIX socket: whoever asks and does not behave holds nothing up, and nothing
back."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from probe.agent import unix_http
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
