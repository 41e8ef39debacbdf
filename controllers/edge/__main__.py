"""Run the edge: `python -m controllers.edge --config FILE`.

SIGTERM and SIGINT end it: it serves on for `lame_duck_s`, then takes no more connections and
finishes what it serves. It keeps nothing; a new process begins with a look.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from clients.access import Tls
from clients.marathon import MarathonClient, MarathonError
from controllers.edge.driver import Edge
from controllers.edge.haproxy import HAProxy
from controllers.edge.settings import EdgeSettings
from controllers.process import run, until_told


async def serve(path: Path, stop: asyncio.Event) -> None:
    """Serve until `stop`, and then as long as `lame_duck_s`.

    Raises:
        SettingsError: the settings cannot be used.
        AuthenticationError: a file of the credential or of TLS cannot be used.
        ProxyEndedError: HAProxy has ended.
    """
    settings = EdgeSettings.read(path)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    tls = None if settings.ca_file is None else Tls(settings.ca_file)
    proxy = HAProxy(
        settings.program, settings.run_dir, settings.admin, hard_stop_s=settings.hard_stop_s
    )
    async with MarathonClient(settings.marathon, settings.credential_file, tls=tls) as client:
        layout = settings.layout(proxy.socket)
        edge = Edge(client, proxy, settings, layout, time.monotonic)
        working: set[asyncio.Task[Any]] = {
            asyncio.create_task(edge.run()),
            asyncio.create_task(proxy.watch()),
        }
        stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait())
        try:
            ending = asyncio.FIRST_COMPLETED
            done, _ = await asyncio.wait({*working, stopping}, return_when=ending)
            if stopping in done:
                # What is told to us meanwhile is still followed.
                pause_s = settings.lame_duck_s
                done, _ = await asyncio.wait(working, timeout=pause_s, return_when=ending)
            for one in done & working:
                one.result()
        finally:
            for one in (*working, stopping):
                one.cancel()
            await asyncio.gather(*working, stopping, return_exceptions=True)
            await proxy.stop()


def main() -> int:
    """Start from the command line."""
    return run("edge", __doc__, until_told(serve), MarathonError)


if __name__ == "__main__":
    sys.exit(main())
