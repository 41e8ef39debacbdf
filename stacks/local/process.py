"""What every process of the rig does at its edges: logs, arguments, signals, HTTP listener.

Boundary code only: a process reads its settings, says what it is in its first log line, and ends
with one clear line and a status when it cannot go on. uvicorn's own signal handling is switched
off, because what SIGTERM means differs: masters die with their session open, as real ones do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar, cast

from stacks.local.errors import ElectionError, StartError
from stacks.local.settings import SettingsError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_STARTED_POLL_S = 0.005
S = TypeVar("S")


def configure_logs() -> None:
    """Write events as one line of `key=value` each to standard output, unbuffered."""
    import structlog

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    # kazoo logs each lost connection with a traceback; what matters of it is logged here.
    logging.getLogger("kazoo").setLevel(logging.ERROR)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    # A test may have put something simpler there.
    with contextlib.suppress(AttributeError):
        cast("io.TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)


def launch(
    description: str | None,
    read: Callable[[Path], S],
    serve: Callable[[S, asyncio.Event], Awaitable[None]],
    *,
    before: Callable[[S], None] = lambda _: None,
) -> None:
    """Be a process of the rig: read its settings, then serve until SIGTERM or SIGINT.

    `before` may refuse the settings (StartError), or become another program.
    """
    try:
        settings = read(config_file(description or ""))
        before(settings)
    except (SettingsError, StartError) as error:
        end(str(error))
    configure_logs()
    run(lambda stop: serve(settings, stop))


def config_file(description: str) -> Path:
    """Read the one argument that processes of the rig take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="JSON settings")
    return parser.parse_args().config


def become(command: list[str]) -> NoReturn:
    """Become another program, whose supervisor then watches that one."""
    sys.stdout.flush()
    os.execv(command[0], command)


def end(message: str, status: int = 1) -> NoReturn:
    """End the process at once with one line; its ZooKeeper sessions stay until they expire."""
    sys.stdout.flush()
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
    os._exit(status)


def read_secret(path: Path | None) -> str | None:
    """Read a secret file.

    Raises:
        StartError: it cannot be read, or is empty.
    """
    if path is None:
        return None
    try:
        secret = path.read_text().strip()
    except OSError as error:
        msg = f"expected a secret file at {path}, saw {error.strerror}: create it with mode 0600"
        raise StartError(msg) from None
    if not secret:
        msg = f"expected a secret in {path}, saw an empty file: write it anew"
        raise StartError(msg)
    return secret


def make_folder(path: Path) -> None:
    """Make a private folder.

    Raises:
        StartError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        msg = f"expected a folder at {path}, saw {error.strerror}: check place, space and owner"
        raise StartError(msg) from None


class Listener:
    """An HTTP server inside this process."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self._port = port

    async def start(self) -> None:
        """Listen; returns when connections are accepted.

        Raises:
            StartError: the port is taken.
        """
        import uvicorn

        class _Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Generator[None]:
                yield

        import socket

        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self._host, self._port))
        except OSError as error:
            listening.close()
            msg = (
                f"expected to listen on {self._host}:{self._port}, saw {error.strerror}: stop what "
                "uses the port, or configure another one"
            )
            raise StartError(msg) from None
        config = uvicorn.Config(
            self._app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
            ws="none",
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:
            if self._task.done():
                await self._task
                msg = f"the HTTP server on {self._host}:{self._port} ended while it started"
                raise StartError(msg)
            await asyncio.sleep(_STARTED_POLL_S)

    async def stop(self) -> None:
        """Stop listening; open streams are cut after a second."""
        self._server.should_exit = True
        await self._task


async def guard(work: Awaitable[object], fail: Callable[[str], None], name: str) -> None:
    """Run one of a process's own loops; when it ends with an error, the whole process fails."""
    try:
        await work
    except ElectionError as error:
        fail(str(error))
    except Exception as error:  # noqa: BLE001 - boundary of the process
        # A broken loop must not leave a process that only looks alive.
        import structlog

        structlog.get_logger().exception(f"{name}.failed")
        fail(f"the {name}'s own work failed: {error!r}")


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run a process until SIGTERM or SIGINT sets the event it is given, or it fails."""

    async def _run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await main(stop)

    try:
        asyncio.run(_run())
    except StartError as error:
        end(str(error))
