"""What all verbs of `probe` share: options, exit codes, and how answers and errors are shown.

Answers go to standard output, everything else to standard error.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from probe.agent.errors import AgentError, NotRunningError, SettingsError
from probe.agent.settings import Settings, read_settings
from probe.plugins.errors import LookError, PluginError
from probe.report.errors import ReportError

EXIT_FAILED = 1
EXIT_SETTINGS = 2
EXIT_NOT_RUNNING = 3
EXIT_UNWELL = 4
EPILOG = """\b
Exit codes:
  0  done
  1  it failed; the message says what to do
  2  the settings, a file that they name, a plugin or the command line is wrong
  3  status: no agent runs
  4  status: a collector has failed; doctor: something cannot be seen

\b
Completion (click's own), for bash; zsh and fish have sources of the same kind:
  eval "$(_PROBE_COMPLETE=bash_source probe)"
"""
T = TypeVar("T")

settings_option = click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path),
    help="Settings file (YAML or JSON); without it all settings have their defaults.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def example(*lines: str) -> str:
    """Commands as they stand below a verb's options."""
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


def fail(error: Exception, *, as_json: bool = False) -> NoReturn:
    """End with an error."""
    if as_json:
        document = {"error": type(error).__name__, "message": str(error)}
        click.echo(json.dumps(document), err=True)
    else:
        click.echo(str(error), err=True)
    is_wrong = isinstance(error, SettingsError | PluginError)
    if is_wrong and not isinstance(error, LookError):
        sys.exit(EXIT_SETTINGS)
    sys.exit(EXIT_NOT_RUNNING if isinstance(error, NotRunningError) else EXIT_FAILED)


def load(settings_file: Path | None, *, as_json: bool = False) -> Settings:
    """The settings; ends the process if they are wrong."""
    try:
        return read_settings(settings_file)
    except SettingsError as error:
        fail(error, as_json=as_json)


def do(work: Coroutine[Any, Any, T], *, as_json: bool = False) -> T:
    """Do something that may fail as this package's errors say."""
    try:
        return asyncio.run(work)
    except (AgentError, PluginError, ReportError, OSError) as error:
        fail(error, as_json=as_json)


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Work until it ends, or the process is told to stop: that is no failure."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
    try:
        await working
    except asyncio.CancelledError:
        return
