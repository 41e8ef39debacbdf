"""Run the keeper: `python -m controllers.log_keeper --config FILE`.

`GET /readyz` answers 200 once Elasticsearch has been told everything, `GET /healthz` while the
process lives. SIGTERM and SIGINT end it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from clients.errors import ClientError
from controllers.errors import LogStoreError
from controllers.log_keeper.keep import Keeper
from controllers.log_keeper.settings import LogKeeperSettings
from controllers.process import run

_log = structlog.get_logger()


class State:
    """What the last look came to; None: there was none."""

    trouble: str | None = "Elasticsearch was not asked yet"


async def keep(keeper: Keeper, state: State, every_s: float) -> None:
    """Look again and again; trouble is told, and tried again."""
    while True:
        try:
            put = await keeper.look()
        except LogStoreError as error:
            if state.trouble != str(error):
                _log.warning("logs.left", reason=str(error))
            state.trouble = str(error)
        else:
            state.trouble = None
            if put:
                _log.info("logs.put", paths=list(put))
        await asyncio.sleep(every_s)


def make_app(state: State) -> Starlette:
    """What probes ask."""

    async def ready(_: Request) -> Response:
        if state.trouble is None:
            return PlainTextResponse("ok\n")
        return PlainTextResponse(f"{state.trouble}\n", status_code=503)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(routes=[Route("/readyz", ready), Route("/healthz", health)])


async def serve(path: Path) -> None:
    """Keep until SIGTERM or SIGINT.

    Raises:
        SettingsError: the settings cannot be used.
    """
    settings = LogKeeperSettings.read(path)
    keeper, state = Keeper(settings), State()
    config = uvicorn.Config(
        make_app(state),
        host=settings.listen_host,
        port=settings.listen_port,
        log_level="warning",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    work = asyncio.create_task(keep(keeper, state, settings.every_s))
    # It never ends by itself: when it breaks, the process must not go on answering that it lives.
    work.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        # It takes the signals itself, and ends with what came.
        await server.serve()
    finally:
        work.cancel()
        await asyncio.wait({work})
        await keeper.close()
    if not work.cancelled():
        work.result()


def main() -> int:
    """Start from the command line."""
    return run("log_keeper", __doc__, serve, ClientError)


if __name__ == "__main__":
    sys.exit(main())
