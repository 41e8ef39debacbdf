"""`zk-sync`: runs the engine, and gathers the verbs that ask one, or look without one."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
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
    exemplify,
    load,
    rules_option,
)
from sync_engine.engine import Engine
from sync_engine.errors import FencedError, StateError, SyncError
from sync_engine.settings import Rules

__all__ = ["EXIT_DIFFERENT", "EXIT_FAILED", "EXIT_FENCED", "EXIT_RULES", "main", "serve"]
_SETTLE_S = 5.0
_SERVER_STOP_S = 2.0
_log = structlog.get_logger()


@click.group(epilog=EPILOG)
@click.version_option(package_name="mesos-platform")
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


exemplify(
    main.commands,
    {
        "audit": "zk-sync audit --rules rules.yaml --timeout 300",
        "check": "zk-sync check --rules rules.yaml",
        "confirm": "zk-sync confirm --rules rules.yaml shop",
        "conflicts": "zk-sync conflicts list --rules rules.yaml",
        "diff": "zk-sync diff --rules rules.yaml --limit 20 shop",
        "export": "zk-sync export --rules rules.yaml --side a backup.jsonl",
        "flip": "zk-sync flip --rules rules.yaml --timeout 120 shop b",
        "import": "zk-sync import --rules rules.yaml --side a --existing skip backup.jsonl",
        "pad": "zk-sync pad --rules rules.yaml shop",
        "plan": "zk-sync plan --rules rules.yaml --json",
        "project": "zk-sync project --rules rules.yaml masters ephemeral",
        "run": "zk-sync run --rules rules.yaml",
        "status": "zk-sync status --rules rules.yaml --watch",
    },
)
exemplify(
    engine_verbs.conflicts.commands,
    {
        "export": "zk-sync conflicts export --rules rules.yaml conflicts.jsonl",
        "list": "zk-sync conflicts list --rules rules.yaml --json",
        "resolve": "zk-sync conflicts resolve --rules rules.yaml --seen 1f00 7 a",
        "show": "zk-sync conflicts show --rules rules.yaml 7",
    },
)


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
        listener = _listen(rules)
        try:
            engine = Engine(rules)
        except BaseException:
            listener.close()
            raise
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
    serving = asyncio.create_task(server.serve(sockets=[listener]))
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


def _listen(rules: Rules) -> socket.socket:
    """Take the REST interface's address, before anything is connected: uvicorn would end the
    process in the middle of its work.

    Raises:
        StateError: it cannot be taken.
    """
    host, port = rules.listen_host, rules.listen_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        saw = error.strerror if isinstance(error, OSError) else str(error)
        msg = (
            f"expected to listen on {rules.listen}, saw {saw}: stop what listens there, or "
            "configure another address as `listen`"
        )
        raise StateError(msg) from None


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
