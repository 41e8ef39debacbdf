"""Serves plugins, each at a socket of its own in one folder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from probe.agent.log import Log
from probe.agent.unix_http import SocketServer
from probe.plugins.hooks import Plugin
from probe.plugins.keeper import Keeper

MODE = 0o600
"""Of a socket: its owner alone may ask."""


async def serve(
    plugins: Sequence[Plugin],
    folder: Path,
    log: Log,
    *,
    mode: int = MODE,
    host: str | None = None,
) -> None:
    """Keep plugins at work and answer for them until cancelled.

    Raises:
        OSError: a socket cannot be made.
    """
    keepers = [Keeper(plugin, log, host=host) for plugin in plugins]
    served: list[asyncio.Task[None]] = []
    for keeper in keepers:
        path = folder / f"{keeper.plugin.id}.sock"
        keeper.begin()
        server = SocketServer(path, keeper.answer, mode=mode)
        served.append(asyncio.create_task(server.run()))
        log.event("plugin.began", plugin=keeper.plugin.id, socket=str(path))
    try:
        await asyncio.gather(*served)
    finally:
        for one in served:
            one.cancel()
        await asyncio.gather(*served, return_exceptions=True)
        for keeper in keepers:
            keeper.end()
