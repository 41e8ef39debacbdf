"""What all verbs of `zk-sync` share: options, exit codes, and how answers and errors are shown.

Answers go to standard output, everything else to standard error; progress is drawn only where
standard error is a terminal.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Columns

from sync_engine import api
from sync_engine.client import EngineClient, EngineStatus
from sync_engine.direction import Side
from sync_engine.errors import FencedError, RulesError, SyncError
from sync_engine.progress import SILENT, Progress
from sync_engine.settings import Rules, read_auth, read_rules
from sync_engine.tls import make_context

EXIT_FAILED = 1
EXIT_RULES = 2
EXIT_FENCED = 3
EXIT_DIFFERENT = 4
TIMEOUT_MAX_S = 3600.0
"""What the engine takes for a time-out at most."""
EPILOG = """\b
Exit codes:
  0  done
  1  it failed; the message says what to do; check: a run would fail, or wait for an operator
  2  the rules file, a file that it names or the command line is wrong
  3  run: a newer engine has taken over
  4  audit, diff: the sides differ; plan: a run would write

\b
Completion (click's own), for bash; zsh and fish have sources of the same kind:
  eval "$(_ZK_SYNC_COMPLETE=bash_source zk-sync)"
"""
_COUNT_S = 0.3
M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")

rules_option = click.option(
    "--rules", "rules_file", required=True, type=click.Path(path_type=Path), help="Rules file."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Seconds(click.FloatRange):
    """A time that something may take; not a number is none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds: float = super().convert(value, param, ctx)
        if seconds != seconds:  # noqa: PLR0124 - what is not a number is not equal to itself
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


timeout_option = click.option(
    "--timeout",
    "timeout_s",
    default=60.0,
    show_default=True,
    type=_Seconds(min=0, min_open=True, max=TIMEOUT_MAX_S),
    help="Seconds that it may take.",
)
side_choice = click.Choice([side.value for side in Side])


def exemplify(verbs: Mapping[str, click.Command], examples: Mapping[str, str]) -> None:
    """End the help of each verb with an example of its use."""
    for name, verb in verbs.items():
        verb.epilog = f"\b\nExample:\n  {examples[name]}"


def fail(error: SyncError | OSError, *, as_json: bool = False) -> NoReturn:
    """End with an error."""
    message = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        message = (
            f"expected to use {error.filename}, saw {error.strerror}: name another file, or see to "
            "this one"
        )
    if as_json:
        document = {"error": type(error).__name__, "message": message}
        click.echo(json.dumps(document), err=True)
    else:
        click.echo(message, err=True)
    if isinstance(error, RulesError):
        sys.exit(EXIT_RULES)
    sys.exit(EXIT_FENCED if isinstance(error, FencedError) else EXIT_FAILED)


def load_rules(rules_file: Path, *, as_json: bool = False) -> Rules:
    """The rules; ends the process if they, or files that they name, are wrong."""
    try:
        rules = read_rules(rules_file)
        for side in Side:
            read_auth(rules.sides[side].auth)
            make_context(rules.sides[side].tls)
        if rules.token_file is not None:
            api.read_token(rules.token_file)
    except RulesError as error:
        fail(error, as_json=as_json)
    return rules


def load(
    rules_file: Path, *, as_json: bool = False, may_make_token: bool = False
) -> tuple[Rules, str]:
    """The rules and the token of the REST interface; ends the process if they are wrong."""
    rules = load_rules(rules_file, as_json=as_json)
    try:
        if rules.token_file is None and may_make_token:
            api.make_token(rules.token_path)
        elif rules.token_file is None and not rules.token_path.exists():
            msg = (
                f"expected the token of a running engine in {rules.token_path}, saw none: start "
                "one with `zk-sync run`, which makes it, or name the state_dir of yours"
            )
            raise RulesError(msg)
        return rules, api.read_token(rules.token_path)
    except RulesError as error:
        fail(error, as_json=as_json)


def ask(
    rules_file: Path,
    work: Callable[[EngineClient], Awaitable[R]],
    *,
    as_json: bool = False,
    waiting: str | None = None,
    total: Callable[[EngineStatus], int] | None = None,
) -> R:
    """Ask the running engine; `waiting` is drawn meanwhile, with the znodes that it compares, as a
    bar where its status tells the `total`."""
    rules, _ = load(rules_file, as_json=as_json)

    async def run() -> R:
        async with EngineClient(f"http://{rules.listen}", rules.token_path) as client:
            if waiting is None:
                return await work(client)
            with progress(waiting) as shown:
                return await _counting(client, work(client), shown, total)

    return do(run, as_json=as_json)


async def _counting(
    client: EngineClient,
    work: Awaitable[R],
    shown: Progress,
    total: Callable[[EngineStatus], int] | None,
) -> R:
    """Wait for an answer, and count what the engine compares until it comes."""
    if shown is SILENT:
        return await work
    # Known before it begins: a small subtree is compared before the next look.
    first = await _status(client)
    if first is not None and total is not None:
        shown.expect(total(first))
    before = _compared(first)
    doing = asyncio.ensure_future(work)
    while True:
        is_last = doing.done()
        now = _compared(await _status(client))
        if now is not None:
            shown.advance(now - (now if before is None else before))
            before = now
        if is_last:
            return await doing
        await asyncio.wait({doing}, timeout=_COUNT_S)


async def _status(client: EngineClient) -> EngineStatus | None:
    """How it is; whatever is wrong is the answer's to tell."""
    with suppress(SyncError):
        return await client.status()
    return None


def _compared(status: EngineStatus | None) -> int | None:
    """How many znodes it has compared so far."""
    return None if status is None else sum(one.compared for one in status.subtrees.values())


def do(work: Callable[[], Awaitable[R]], *, as_json: bool = False, waiting: str | None = None) -> R:
    """Do something that may fail as this package's errors say."""

    async def run() -> R:
        return await work()

    try:
        if waiting is None:
            return asyncio.run(run())
        with progress(waiting):
            return asyncio.run(run())
    except (SyncError, OSError) as error:
        fail(error, as_json=as_json)


def show(report: M, text: Callable[[M], None], *, as_json: bool) -> None:
    """Print an answer."""
    if as_json:
        click.echo(report.model_dump_json(indent=2))
    else:
        text(report)


@contextmanager
def progress(label: str) -> Generator[Progress]:
    """Count znodes on a terminal: a bar where a total is known, a spinner else."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield SILENT
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        _Bar(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
    )
    with Columns(*columns, console=console, transient=True) as drawn:
        yield _Drawn(drawn, label)


class _Bar(ProgressColumn):
    """Takes no room while no total is known."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = BarColumn(bar_width=30)

    def render(self, task: Task) -> RenderableType:
        return "" if task.total is None else self._bar.render(task)


class _Drawn(Progress):
    """A line of the terminal."""

    def __init__(self, drawn: Columns, label: str) -> None:
        self._drawn, self._label = drawn, label
        self._total = self._done = 0
        self._line = drawn.add_task(label, total=None, told="")

    def expect(self, total: int, what: str = "") -> None:
        self._total, self._done = total, 0
        label = f"{self._label}: {what}" if what else self._label
        # A total cannot be taken back from a line that has one.
        self._drawn.remove_task(self._line)
        self._line = self._drawn.add_task(label, total=total or None, told="")

    def advance(self, count: int) -> None:
        self._done += count
        if not self._done:
            # Nothing is told of what is not counted in znodes.
            return
        told = f"{self._done:,} znodes"
        if self._total:
            # It was about so many: there may be more by now.
            self._total = max(self._total, self._done)
            told = f"{self._done:,} of {self._total:,} znodes"
        self._drawn.update(self._line, total=self._total or None, completed=self._done, told=told)
