"""Run the exporter: `python -m controllers.exporter --config FILE`.

`GET /metrics` asks the cluster and answers with what it told; `GET /healthz` says that the process
lives. SIGTERM and SIGINT end it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from clients.access import Tls
from clients.mesos.errors import MesosError
from controllers.exporter.gather import Gatherer
from controllers.exporter.render import render
from controllers.exporter.settings import ExporterSettings
from controllers.exposition import CONTENT_TYPE
from controllers.process import run


def make_app(gatherer: Gatherer, color: str) -> Starlette:
    """The application of one exporter."""
    # Scrapes of several Prometheus at once wait for each other, and do not ask twice at a time.
    turn = asyncio.Lock()

    async def metrics(_: Request) -> Response:
        async with turn:
            started = time.monotonic()
            (masters, agents), marathon = await asyncio.gather(
                gatherer.look(), gatherer.look_at_marathon()
            )
        text = render(masters, agents, color, time.monotonic() - started, marathon)
        return Response(text, media_type=CONTENT_TYPE)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", health)])


async def serve(path: Path) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SettingsError: the settings cannot be used.
        MesosError: a file of the credential or of TLS cannot be used.
    """
    settings = ExporterSettings.read(path)
    tls = None if settings.ca_file is None else Tls(settings.ca_file)
    gatherer = Gatherer(
        settings.masters,
        settings.credential_file,
        timeout_s=settings.timeout_s,
        with_agents=settings.with_agents,
        marathon=settings.marathon,
        tls=tls,
    )
    config = uvicorn.Config(
        make_app(gatherer, settings.color),
        host=settings.listen_host,
        port=settings.listen_port,
        log_level="warning",
        lifespan="off",
    )
    try:
        # It takes the signals itself, and ends with what came.
        await uvicorn.Server(config).serve()
    finally:
        await gatherer.close()


def main() -> int:
    """Start from the command line."""
    return run("exporter", __doc__, serve, MesosError)


if __name__ == "__main__":
    sys.exit(main())
