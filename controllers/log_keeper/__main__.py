"""Run the keeper: `python -m controllers.log_keeper --config FILE`.

`GET /readyz` answers 200 once Elasticsearch has been told everything, `GET /healthz` while the
process lives. SIGTERM and SIGINT end it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import structlog

from clients.errors import ClientError
from controllers.errors import LogStoreError
from controllers.log_keeper.keep import Keeper
from controllers.log_keeper.settings import LogKeeperSettings
from controllers.process import run, until_told
from controllers.status import Status, make_app, serve_beside

_log = structlog.get_logger()


async def keep(keeper: Keeper, status: Status, every_s: float) -> None:
    """Look again and again; trouble is told, and tried again."""
    while True:
        try:
            put = await keeper.look()
        except LogStoreError as error:
            if status.trouble != str(error):
                _log.warning("logs.left", reason=str(error))
            status.trouble = str(error)
        else:
            status.trouble = None
            if put:
                _log.info("logs.put", paths=list(put))
        await asyncio.sleep(every_s)


async def serve(path: Path, stop: asyncio.Event) -> None:
    """Keep until `stop`.

    Raises:
        SettingsError: the settings cannot be used.
        ListenError: the address that probes ask cannot be taken.
    """
    settings = LogKeeperSettings.read(path)
    keeper, status = Keeper(settings), Status("Elasticsearch was not asked yet")
    host, port = settings.listen_host, settings.listen_port
    try:
        await serve_beside(
            lambda: keep(keeper, status, settings.every_s),
            make_app(status),
            stop,
            host=host,
            port=port,
        )
    finally:
        await keeper.close()


def main() -> int:
    """Start from the command line."""
    return run("log_keeper", __doc__, until_told(serve), ClientError)


if __name__ == "__main__":
    sys.exit(main())
