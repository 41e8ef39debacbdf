"""Run the autoscaler: `python -m controllers.autoscaler --config FILE`.

SIGTERM and SIGINT end it after the request that is on its way. It keeps nothing: a new process
watches for half of `stabilise_s` before it scales anything down. `GET /status` and `/metrics` tell
each decision with its reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import structlog

from clients.access import Tls
from clients.marathon import MarathonClient, MarathonError
from controllers.autoscaler.driver import Autoscaler
from controllers.autoscaler.metrics import Prometheus
from controllers.autoscaler.settings import AutoscalerSettings
from controllers.autoscaler.show import routes
from controllers.errors import SettingsError
from controllers.listener import serving
from controllers.process import run, until_told

_log = structlog.get_logger()


async def serve(path: Path, stop: asyncio.Event) -> None:
    """Go round until `stop`. Addresses and files are those of the start.

    Raises:
        SettingsError: the settings cannot be used from the start.
        AuthenticationError: a file of the credential or of TLS cannot be used.
        ListenError: the address to be asked on cannot be taken.
    """
    settings = AutoscalerSettings.read(path)
    tls = None if settings.ca_file is None else Tls(settings.ca_file)
    metrics = Prometheus(settings.prometheus)
    try:
        async with MarathonClient(settings.marathon, settings.credential_file, tls=tls) as client:
            autoscaler = Autoscaler(client, metrics, time.monotonic)
            async with _shown(autoscaler, settings):
                await _go_round(autoscaler, settings, path, stop)
    finally:
        await metrics.close()


def _shown(
    autoscaler: Autoscaler, settings: AutoscalerSettings
) -> contextlib.AbstractAsyncContextManager[None]:
    if settings.listen_port is None:
        return contextlib.nullcontext()
    return serving(routes(autoscaler), settings.listen_host, settings.listen_port)


async def _go_round(
    autoscaler: Autoscaler, settings: AutoscalerSettings, path: Path, stop: asyncio.Event
) -> None:
    while not stop.is_set():
        try:
            settings = AutoscalerSettings.read(path)
        except SettingsError as error:
            # Written half, or wrongly: those of before hold until it is mended.
            _log.warning("settings.refused", error=str(error))
        await autoscaler.round(settings.apps)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.interval_s):
                await stop.wait()


def main() -> int:
    """Start from the command line."""
    return run("autoscaler", __doc__, until_told(serve), MarathonError)


if __name__ == "__main__":
    sys.exit(main())
