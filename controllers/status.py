"""What a controller that serves nobody tells over HTTP: that it lives, is ready, and its metrics.

`GET /healthz` answers 200 while the process lives, `GET /readyz` once its last look came to what it
should, and `GET /metrics` where it has any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from controllers.exposition import CONTENT_TYPE
from controllers.listener import serving


class Status:
    """What the last look came to: `trouble` is None where it came to what it should."""

    def __init__(self, trouble: str) -> None:
        self.trouble: str | None = trouble


def make_app(status: Status, metrics: Callable[[], str] | None = None) -> Starlette:
    """What probes and Prometheus ask."""

    async def ready(_: Request) -> Response:
        if status.trouble is None:
            return PlainTextResponse("ok\n")
        return PlainTextResponse(f"{status.trouble}\n", status_code=503)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def told(_: Request) -> Response:
        assert metrics is not None
        return Response(metrics(), media_type=CONTENT_TYPE)

    routes = [Route("/readyz", ready), Route("/healthz", health)]
    return Starlette(routes=[*routes, *([Route("/metrics", told)] if metrics else [])])


async def serve_beside(
    work: Callable[[], Coroutine[Any, Any, None]],
    app: Starlette,
    stop: asyncio.Event,
    *,
    host: str,
    port: int,
) -> None:
    """Answer while the work goes on, until `stop`.

    Raises:
        ListenError: the address cannot be taken.
        Exception: what the work ended with: the process must not go on answering that it lives.
    """
    async with serving(app, host, port):
        parts: tuple[asyncio.Task[Any], ...] = (
            asyncio.create_task(work()),
            asyncio.create_task(stop.wait()),
        )
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in parts:
                one.cancel()
            await asyncio.wait(parts)
        if not parts[0].cancelled():
            parts[0].result()
