"""`zk-sync`: runs the engine, and gathers the verbs that ask one, or look without one."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import click
import structlog
import uvicorn

from sync_engine import api, engine_verbs, tree_verbs
from sync_engine.console import (
    EPILOG,
    EXIT_DIFFERENT,
    EXIT_FAILED,
    EXIT_FENCED,
    EXIT_RULES,
    load,
    rules_option,
)
from sync_engine.engine import Engine
from sync_engine.errors import FencedError, SyncError
from sync_engine.settings import Rules

__all__ = ["EXIT_DIFFERENT", "EXIT_FAILED", "EXIT_FENCED", "EXIT_RULES", "main", "serve"]
_SETTLE_S = 5.0
_SERVER_STOP_S = 2.0
_log = structlog.get_logger()


@click.group(epilog=EPILOG)
def main() -> None:
    """Keep subtrees of two ZooKeeper ensembles equal."""


for _verb in (*engine_verbs.VERBS, *tree_verbs.VERBS):
    main.add_command(_verb)


@main.command()
@rules_option
def run(rules_file: Path) -> None:
    """Run the engine until it is told to stop."""
    configure_logs()
    rules, token = load(rules_file, may_make_token=True)
    sys.exit(asyncio.run(serve(rules, token)))


def configure_logs() -> None:
    """JSON lines on standard output."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)


async def serve(rules: Rules, token: str) -> int:
    """Engine and REST interface until one ends or a signal comes; returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    try:
        engine = Engine(rules)
    except SyncError as error:
        _log.error("engine.failed", reason=str(error))
        return EXIT_FAILED
    server = _Server(
        uvicorn.Config(
            api.build(engine, token),
            host=rules.listen_host,
            port=rules.listen_port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=int(_SERVER_STOP_S),
        )
    )
    serving = asyncio.create_task(server.serve())
    working = asyncio.create_task(engine.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        await engine.settle(_SETTLE_S)
        working.cancel()
    code = await _end(working)
    if serving.done() and not stop.is_set():
        _log.error("api.ended", listen=rules.listen)
        code = code or EXIT_FAILED
    server.should_exit = True
    await asyncio.gather(serving, return_exceptions=True)
    return code


async def _end(working: asyncio.Task[None]) -> int:
    try:
        await working
    except asyncio.CancelledError:
        return 0
    except FencedError as error:
        _log.error("engine.fenced", reason=str(error))
        return EXIT_FENCED
    except SyncError as error:
        _log.error("engine.failed", reason=str(error))
        return EXIT_FAILED
    return 0


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: signals end the engine first."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


if __name__ == "__main__":
    main()
