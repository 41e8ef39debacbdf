"""Run the registrator: `python -m controllers.registrator --config FILE`.

`GET /healthz` answers 200 while the process lives, `GET /readyz` once Consul has what runs, and
`GET /metrics` tells of both. SIGTERM and SIGINT end it; Consul keeps what it has.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from clients.access import Tls
from clients.consul import ConsulClient
from clients.marathon import MarathonClient, MarathonError
from controllers.process import run, until_told
from controllers.registrator.driver import Registrator
from controllers.registrator.metrics import render
from controllers.registrator.settings import RegistratorSettings
from controllers.status import Status, make_app, serve_beside


async def serve(path: Path, stop: asyncio.Event) -> None:
    """Follow until `stop`.

    Raises:
        SettingsError: the settings cannot be used.
        ListenError: the address that probes ask cannot be taken.
        AccessError: a file of Consul's token or TLS cannot be used.
        AuthenticationError: a file of Marathon's credential or TLS cannot be used.
    """
    settings = RegistratorSettings.read(path)
    tls = None if settings.ca_file is None else Tls(settings.ca_file)
    consul_tls = None if settings.consul_ca_file is None else Tls(settings.consul_ca_file)
    async with (
        MarathonClient(settings.marathon, settings.credential_file, tls=tls) as marathon,
        ConsulClient(
            settings.consul, settings.token_file, tls=consul_tls, timeout_s=settings.timeout_s
        ) as consul,
    ):
        status = Status("nobody was asked yet")
        registrator = Registrator(
            marathon, consul, settings, status, clock=time.monotonic, wall=time.time
        )
        app = make_app(status, lambda: render(registrator.counts))
        host, port = settings.listen_host, settings.listen_port
        await serve_beside(registrator.run, app, stop, host=host, port=port)


def main() -> int:
    """Start from the command line."""
    return run("registrator", __doc__, until_told(serve), MarathonError)


if __name__ == "__main__":
    sys.exit(main())
