"""The process of a controller: `--config FILE`, until it is told to end; one line when it fails.

What a controller is told by a file it reads itself; what it does when it is told to end, too.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from clients.errors import ClientError
from controllers.errors import ControllerError

Start = Callable[[Path], Coroutine[Any, Any, None]]


def run(name: str, about: str | None, start: Start, *failures: type[Exception]) -> int:
    """Run `start` with the file that the command line names; returns the exit status.

    `failures` are what else, besides a controller's and all clients' own errors, is told in a line
    and without a trace.
    """
    parser = argparse.ArgumentParser(prog=f"controllers.{name}", description=about)
    parser.add_argument("--config", type=Path, required=True, help="a JSON file")
    path: Path = parser.parse_args().config
    try:
        asyncio.run(start(path))
    except (ControllerError, ClientError, *failures) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def until_told(serve: Callable[[Path, asyncio.Event], Coroutine[Any, Any, None]]) -> Start:
    """Give `serve` an event that is set by SIGTERM and SIGINT."""

    async def start(path: Path) -> None:
        stop = asyncio.Event()
        for one in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(one, stop.set)
        await serve(path, stop)

    return start
