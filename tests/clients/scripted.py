"""Servers inside a test: answers in order, streams that a test feeds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

import httpx

from clients.marathon.errors import MarathonError
from clients.mesos.errors import MesosError

Answer = httpx.Response | Callable[[httpx.Request], httpx.Response]


class Feed(httpx.AsyncByteStream):
    """A body that arrives when the test says so; `end` ends it, `cut` breaks it."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.is_closed = False

    def put(self, data: bytes) -> None:
        self._pieces.put_nowait(data)

    def record(self, event: Any) -> None:
        """Add a RecordIO record."""
        text = json.dumps(event).encode()
        self.put(f"{len(text)}\n".encode() + text)

    def event(self, kind: str, data: Any) -> None:
        """Add a server-sent event."""
        self.put(f"event: {kind}\r\ndata: {json.dumps(data)}\r\n\r\n".encode())

    def end(self) -> None:
        self._pieces.put_nowait(None)

    def cut(self) -> None:
        self._pieces.put_nowait(httpx.ReadError("cut"))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def aclose(self) -> None:
        self.is_closed = True


class Scripted:
    """Answers by `METHOD path` or by the type of a call; what has no answer left is a failure.

    The last answer of a list is given for ever.
    """

    def __init__(self, **answers: Sequence[Answer]) -> None:
        self.answers = {key: list(given) for key, given in answers.items()}
        self.asked: list[tuple[str, Any]] = []
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        body: Any = json.loads(request.content) if request.content else None
        key = f"{request.method} {request.url.path}"
        if isinstance(body, dict) and "type" in body and request.method == "POST":
            key = str(cast("dict[str, Any]", body)["type"])
        self.asked.append((key, cast("Any", body)))
        self.requests.append(request)
        answers = self.answers[key]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer if isinstance(answer, httpx.Response) else answer(request)

    @property
    def kinds(self) -> list[str]:
        """What was asked, in order."""
        return [key for key, _ in self.asked]

    @property
    def writes(self) -> list[str]:
        """What was asked that changes something."""
        return [key for key in self.kinds if not key.startswith("GET ")]


async def take_all(events: AsyncIterator[Any]) -> tuple[list[Any], Exception | None]:
    """All events of a stream, and the error that it ended with."""
    found: list[Any] = []
    try:
        async for one in events:
            found.append(one)  # noqa: PERF401 - what came before the error is kept
    except (MesosError, MarathonError) as error:
        return found, error
    return found, None
