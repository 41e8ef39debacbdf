"""What a controller that serves nobody tells over HTTP: that it lives, is ready, and its metrics.

`GET /healthz` answers 200 while the process lives, `GET /readyz` once its last look came to what it
should, and `GET /metrics` where it has any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from controllers.exposition import CONTENT_TYPE


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
    work: Coroutine[Any, Any, None], app: Starlette, *, host: str, port: int
) -> None:
    """Answer while `work` goes on, until SIGTERM or SIGINT.

    Raises:
        Exception: what the work ended with.
    """
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(work)
    # It never ends by itself: when it breaks, the process must not go on answering that it lives.
    task.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        # It takes the signals itself, and ends with what came.
        await server.serve()
    finally:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()
