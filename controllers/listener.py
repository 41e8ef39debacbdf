"""An HTTP server inside a controller's process, beside what it does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator

import uvicorn
from starlette.applications import Starlette

from controllers.errors import ListenError

# Answers that are on their way when it is told to end get this long.
_STOP_S = 1


@contextlib.asynccontextmanager
async def serving(app: Starlette, host: str, port: int) -> AsyncGenerator[None]:
    """Answer requests until the end of the block; signals are the caller's.

    Raises:
        ListenError: the address cannot be taken.
    """
    # Taken here, because uvicorn would end the process.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        msg = (
            f"expected to listen on {host}:{port}, saw {error.strerror}: stop what listens there, "
            "or configure another listen_port"
        )
        raise ListenError(msg) from None
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_STOP_S,
    )
    server = _Server(config)
    work = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await work
        listener.close()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
