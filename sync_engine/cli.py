"""`zk-sync`: runs the engine, and asks one that runs."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
import structlog
import uvicorn
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from sync_engine import api
from sync_engine.client import EngineClient
from sync_engine.direction import Side
from sync_engine.engine import Engine
from sync_engine.errors import FencedError, RulesError, SyncError
from sync_engine.report import AuditReport, EngineStatus, FlipReport, ProjectionKind
from sync_engine.settings import Rules, read_auth, read_rules

EXIT_FAILED = 1
EXIT_RULES = 2
EXIT_FENCED = 3
EXIT_DIFFERENT = 4
_SETTLE_S = 5.0
_SERVER_STOP_S = 2.0
_log = structlog.get_logger()
M = TypeVar("M", bound=BaseModel)

rules_option = click.option(
    "--rules", "rules_file", required=True, type=click.Path(path_type=Path), help="Rules file."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def main() -> None:
    """Keep subtrees of two ZooKeeper ensembles equal."""


@main.command()
@rules_option
def run(rules_file: Path) -> None:
    """Run the engine until it is told to stop."""
    configure_logs()
    rules, token = _load(rules_file)
    sys.exit(asyncio.run(serve(rules, token)))


@main.command()
@rules_option
def check(rules_file: Path) -> None:
    """Check the rules file and what it names, without connecting."""
    rules, _ = _load(rules_file)
    click.echo(
        f"{rules_file}: {len(rules.subtrees)} subtrees, {len(rules.projections)} projections"
    )


@main.command()
@rules_option
@json_option
@click.option("--watch", is_flag=True, help="Print again every second.")
def status(*, rules_file: Path, as_json: bool, watch: bool) -> None:
    """Show how the engine is."""
    while True:
        found = _ask(rules_file, lambda client: client.status())
        _show(found, show_status, as_json=as_json)
        if not watch:
            return
        time.sleep(1)


@main.command()
@rules_option
@json_option
@click.option("--timeout", "timeout_s", default=60.0, show_default=True)
def audit(*, rules_file: Path, as_json: bool, timeout_s: float) -> None:
    """Compare both sides in full; exit 4 if they differ."""
    found = _ask(rules_file, lambda client: client.audit(timeout_s=timeout_s))
    _show(found, show_audit, as_json=as_json)
    if not found.equal:
        sys.exit(EXIT_DIFFERENT)


@main.command()
@rules_option
@json_option
@click.option("--timeout", "timeout_s", default=60.0, show_default=True)
@click.argument("subtree")
@click.argument("to", type=click.Choice([side.value for side in Side]))
def flip(*, rules_file: Path, as_json: bool, timeout_s: float, subtree: str, to: str) -> None:
    """Make side TO the owner of SUBTREE; its writers must stand still."""
    found = _ask(rules_file, lambda client: client.flip(subtree, Side(to), timeout_s=timeout_s))
    _show(found, show_flip, as_json=as_json)


@main.command()
@rules_option
@json_option
@click.argument("name")
@click.argument("kind", type=click.Choice([kind.value for kind in ProjectionKind]))
def project(*, rules_file: Path, as_json: bool, name: str, kind: str) -> None:
    """Show the leader of projection NAME as KIND."""
    found = _ask(rules_file, lambda client: client.project(name, ProjectionKind(kind)))
    _show(
        found,
        lambda report: click.echo(f"{name}: {report.kind} {report.leader or ''}"),
        as_json=as_json,
    )


@main.command()
@rules_option
@click.argument("subtree")
def confirm(rules_file: Path, subtree: str) -> None:
    """Let the many deletes happen for which SUBTREE waits."""
    _ask(rules_file, lambda client: client.confirm(subtree))


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


def _load(rules_file: Path) -> tuple[Rules, str]:
    try:
        rules = read_rules(rules_file)
        for side in Side:
            read_auth(rules.sides[side].auth)
        return rules, api.read_token(rules.token_file)
    except RulesError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_RULES)


def _ask(rules_file: Path, work: Callable[[EngineClient], Awaitable[M]]) -> M:
    rules, _ = _load(rules_file)

    async def ask() -> M:
        url = f"http://{rules.listen}"
        async with EngineClient(url, rules.token_file) as client:
            return await work(client)

    try:
        return asyncio.run(ask())
    except SyncError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_FAILED)


def _show(report: M, show: Callable[[M], None], *, as_json: bool) -> None:
    if as_json:
        click.echo(report.model_dump_json(indent=2))
    else:
        show(report)


def show_status(found: EngineStatus) -> None:
    """A table for people."""
    console = Console()
    console.print(f"[bold]{found.state.value}[/] epoch {found.epoch}, {found.conflicts} conflicts")
    for reason in found.reasons:
        console.print(f"  {reason}", markup=False)
    table = Table("direction", "backlog", "applied", "per s", "lag p50 ms", "p99 ms", "max ms")
    for name, way in found.directions.items():
        lag = [way.lag.p50_ms, way.lag.p99_ms, way.lag.max_ms]
        shown = ["-" if value is None else f"{value:.1f}" for value in lag]
        table.add_row(
            name.value, str(way.backlog), str(way.applied), f"{way.applied_per_s:.1f}", *shown
        )
    console.print(table)
    table = Table("subtree", "owner", "znodes", "fenced")
    for name, subtree in found.subtrees.items():
        fenced = "a" * subtree.fenced_a + "b" * subtree.fenced_b
        table.add_row(name, subtree.owner.value, str(subtree.znodes), fenced or "-")
    console.print(table)


def show_audit(found: AuditReport) -> None:
    """One line a subtree, and the differences."""
    for name, audit in found.subtrees.items():
        word = "equal" if audit.equal else "DIFFERENT"
        click.echo(f"{name}: {word}, {audit.znodes} znodes, {audit.digest_a[:16]}")
        for difference in audit.differences:
            click.echo(f"  {difference.kind} {difference.path}")


def show_flip(found: FlipReport) -> None:
    """One line."""
    word = "was already owned" if found.already_done else "is now owned"
    click.echo(f"{found.subtree} {word} by side {found.to_side.value}, epoch {found.epoch}")


if __name__ == "__main__":
    main()
