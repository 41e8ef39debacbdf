"""`python -m controllers.node_network --config FILE`: puts networks on the node it runs on, says so
by a file, and follows its settings until SIGTERM or SIGINT.

What cannot be put there at first ends it, with one line that Kubernetes shows; later it is logged,
and tried again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import structlog

from controllers.errors import ControllerError, SettingsError
from controllers.node_network.install import install
from controllers.node_network.settings import NodeNetworkSettings
from controllers.process import run, until_told

# Where the kubelet looks for what a container wants to have said; there is none elsewhere.
_LAST_WORDS = Path("/dev/termination-log")
# Set by host targets that schedule pods; of a pod on its node's network, the node's.
_ADDRESS = "POD_IP"


async def serve(path: Path, stop: asyncio.Event) -> None:
    """Put it there, and follow the settings until `stop`.

    Raises:
        ControllerError: it cannot be put there at first.
    """
    log = structlog.get_logger()
    address = os.environ.get(_ADDRESS)
    if not address:
        msg = f"expected the node's address in {_ADDRESS}, saw none: set it from status.podIP"
        raise SettingsError(msg)
    settings = NodeNetworkSettings.read(path)
    try:
        await asyncio.to_thread(install, settings, address)
    except ControllerError as error:
        await asyncio.to_thread(_say_last, f"{error}\n")
        raise
    await asyncio.to_thread(settings.ready_file.touch)
    log.info("networks.installed", names=[one.name for one in settings.profiles])
    while not await _told(stop, settings.every_s):
        try:
            found = NodeNetworkSettings.read(path)
            if found == settings:
                continue
            await asyncio.to_thread(install, found, address)
        except ControllerError as error:
            log.warning("networks.left", reason=str(error))
            continue
        settings = found
        log.info("networks.installed", names=[one.name for one in settings.profiles])


def _say_last(text: str) -> None:
    if _LAST_WORDS.exists():
        _LAST_WORDS.write_text(text)


async def _told(stop: asyncio.Event, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await stop.wait()
    except TimeoutError:
        return False
    return True


def main() -> int:
    """Start from the command line."""
    return run("node_network", __doc__, until_told(serve))


if __name__ == "__main__":
    sys.exit(main())
