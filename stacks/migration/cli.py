"""`migrate`: plan, walk and look at migrations from the command line.

Exit status: 0 done; 1 a step failed (`migrate resume` or `migrate rollback` go on); 2 the command,
the configuration or the journal is wrong; 3 a guard does not hold; 130 interrupted (`migrate
resume`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from rich.console import Console

from stacks import environment
from stacks.errors import ConfigError, EngineMissingError, StackError, StackMissingError
from stacks.migration import events, render
from stacks.migration.errors import (
    GuardFailedError,
    JournalError,
    MigrationError,
    PlanError,
    RunnerBusyError,
)
from stacks.migration.overview import standing_dict
from stacks.migration.planner import ExchangeGoal, Goal, GroupGoal, PhaseGoal
from stacks.migration.service import MigrationService
from stacks.topology import PHASE_FIRST, PHASE_LAST, Placement, Standing, TopologyError

T = TypeVar("T")
FAILED, USAGE, GUARD, INTERRUPTED = 1, 2, 3, 130
_USAGE_ERRORS = (
    ConfigError,
    EngineMissingError,
    JournalError,
    PlanError,
    RunnerBusyError,
    StackMissingError,
)


@dataclass(frozen=True)
class Door:
    """What every command shares."""

    project: Path
    stack: str
    as_json: bool
    lag_ms: float | None = None

    def service(self) -> MigrationService:
        """The service, telling this console.

        Raises:
            ConfigError: the folder is none of a project, or may not be written.
        """
        if not (self.project / "Pulumi.yaml").is_file():
            msg = (
                f"expected Pulumi.yaml in {self.project.resolve()}, there is none. Run `migrate` "
                "in the project's folder, or name it with --project"
            )
            raise ConfigError(msg)
        environment.apply(self.project)
        return MigrationService(
            self.project, self.stack, listener=self.listener(), lag_p99_ms=self.lag_ms
        )

    def listener(self) -> events.Listener:
        """What prints events."""
        return render.JsonLines(sys.stdout) if self.as_json else render.Lines(_console())


def _console(*, stderr: bool = False) -> Console:
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command."""

    @click.option("--stack", default="local", show_default=True, help="Stack to work on.")
    @click.option(
        "--project",
        default=".",
        show_default=True,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder that holds Pulumi.yaml.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
    def with_door(
        *args: Any,
        stack: str,
        project: Path,
        as_json: bool,
        lag_ms: float | None = None,
        **kwargs: Any,
    ) -> None:
        door = Door(project, stack, as_json, lag_ms)
        _guarded(lambda: command(door, *args, **kwargs), as_json=as_json)

    options: list[Any] = getattr(command, "__click_params__", [])
    with_door.__click_params__ = [*options, *with_door.__click_params__]  # type: ignore[attr-defined] - where click keeps them
    with_door.__doc__ = command.__doc__
    with_door.__name__ = command.__name__
    return with_door


def lag_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option of commands that walk."""
    return click.option(
        "--lag-ms",
        type=click.FloatRange(min=1.0),
        default=None,
        help="Lag p99 that the soak must stay below, in place of the stack's bounds.lag_p99_ms; a "
        "resume of this run keeps it.",
    )(command)


def _guarded(work: Callable[[], None], *, as_json: bool) -> None:
    """Turn failures into one message and an exit status."""
    try:
        work()
    except (StackError, MigrationError, TopologyError) as error:
        _end(error, as_json=as_json)
    except OSError as error:
        # A full disk, or a folder that may not be written: nothing that a traceback would tell.
        _end(error, as_json=as_json)
    except (KeyboardInterrupt, asyncio.CancelledError):
        _console(stderr=True).print(
            "interrupted; the journal says where. `migrate resume` goes on", style="yellow"
        )
        sys.exit(INTERRUPTED)


def _end(error: Exception, *, as_json: bool) -> NoReturn:
    text = _words_of(error) if isinstance(error, OSError) else str(error)
    _console(stderr=True).print(f"error: {text}", style="red", markup=False)
    if as_json:
        kind = type(error).__name__
        _print_json({"event": "error", "kind": kind, "message": text}, indent=None)
    if isinstance(error, GuardFailedError):
        sys.exit(GUARD)
    sys.exit(USAGE if isinstance(error, _USAGE_ERRORS) else FAILED)


def _words_of(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    return (
        f"expected to read or write{where}, saw: {error.strerror or error}. Mend that, then go on"
    )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a verb; an interrupt or a termination cancels it once, and it ends cleanly.

    Raises:
        asyncio.CancelledError: it was.
    """

    async def cancellable() -> T:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            said = "ending after the step under way; an update cannot be stopped halfway"
            _console(stderr=True).print(said, style="yellow")
            # Cancelled once more, it would no longer wait for that update.
            if not task.cancelling():
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, interrupt)
        return await task

    return asyncio.run(cancellable())


@click.group(epilog=f"\b\n{__doc__.partition(chr(10) * 2)[2] if __doc__ else ''}")
@click.version_option(package_name="mesos-platform")
def main() -> None:
    """Move a cluster from one colour to the other, phase by phase."""


@main.command()
@click.option("--to", type=click.IntRange(PHASE_FIRST, PHASE_LAST), default=PHASE_LAST)
@click.option("--steps", is_flag=True, help="Also list the steps of each transition.")
@shared_options
def plan(door: Door, to: int, steps: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Show what would be walked, and change nothing.

    Example: migrate plan --stack local --to 3
    """
    found = door.service().plan(PhaseGoal(to))
    if door.as_json:
        _print_json(found.as_dict())
    else:
        render.plan(_console(), found, steps=steps)


@main.command()
@click.option("--to", type=click.IntRange(PHASE_FIRST, PHASE_LAST), default=PHASE_LAST)
@click.option("--exchange", is_flag=True, help="After phase 6: exchange the colours, no more.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@lag_option
@shared_options
def start(door: Door, to: int, exchange: bool, yes: bool) -> None:  # noqa: FBT001 - as above
    """Walk forward to a phase.

    Example: migrate start --stack local --to 3 -y
    """
    service = door.service()
    goal: Goal = ExchangeGoal() if exchange else PhaseGoal(to)
    _ask(door, service, goal, yes=yes)
    _walked(door, run(service.exchange() if exchange else service.start(to)))


@main.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@lag_option
@shared_options
def advance(door: Door, yes: bool) -> None:  # noqa: FBT001 - as above
    """Walk the next transition forward, and no further.

    Example: migrate advance --stack local -y
    """
    service = door.service()
    _ask(door, service, PhaseGoal(PHASE_LAST), yes=yes, count=1)
    _walked(door, run(service.advance()))


@main.command()
@click.option("--to", type=click.IntRange(PHASE_FIRST, PHASE_LAST), default=PHASE_FIRST)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@lag_option
@shared_options
def rollback(door: Door, to: int, yes: bool) -> None:  # noqa: FBT001 - as above
    """Walk back to a phase, also from the middle of a transition.

    Example: migrate rollback --stack local -y
    """
    service = door.service()
    _ask(door, service, PhaseGoal(to), yes=yes)
    _walked(door, run(service.rollback(to)))


@main.command()
@lag_option
@shared_options
def resume(door: Door) -> None:
    """Finish what was interrupted or failed, then go on to where it was going.

    Example: migrate resume --stack local
    """
    _walked(door, run(door.service().resume()))


@main.command()
@shared_options
def status(door: Door) -> None:
    """Tell where the stack stands, and what is under way.

    Example: migrate status --stack local --json
    """
    found = door.service().status()
    if door.as_json:
        _print_json(found.as_dict())
    else:
        render.status(_console(), found)


@main.command()
@click.option("--last", type=click.IntRange(1), default=None, help="Only so many records.")
@shared_options
def history(door: Door, last: int | None) -> None:
    """Print the journal.

    Example: migrate history --stack local --last 20
    """
    records = door.service().history()
    records = records[-last:] if last else records
    if door.as_json:
        for record in records:
            _print_json(record.as_dict(), indent=None)
    else:
        render.history(_console(), records)


@main.command()
@shared_options
def validate(door: Door) -> None:
    """Look at the guards of the next transition, and change nothing.

    Example: migrate validate --stack local
    """
    found = run(door.service().validate())
    if door.as_json:
        _print_json(found.as_dict())
    else:
        render.findings(_console(), found)
    if found.failed is not None:
        raise GuardFailedError(found.failed.name, found.failed.said)


@main.command()
@shared_options
def check(door: Door) -> None:
    """Compare the running cluster with what the stack declares, and change nothing.

    Exit status 3 where something is otherwise, or does not answer.

    Example: migrate check --stack local --json
    """
    found = run(door.service().check())
    if door.as_json:
        _print_json(found.as_dict())
    else:
        render.findings(_console(), found)
    if found.failed is not None:
        raise GuardFailedError(found.failed.name, found.failed.said)


@main.group()
def clients() -> None:
    """Client groups: clients of ZooKeeper that move as one."""


@clients.command()
@click.argument("group")
@click.option("--to", type=click.Choice(["source", "target"]), default="target", show_default=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@shared_options
def move(door: Door, group: str, to: str, yes: bool) -> None:  # noqa: FBT001 - as above
    """Move a client group to the other side.

    Example: migrate clients move traffic --stack local -y
    """
    service = door.service()
    placement = Placement(to)
    _ask(door, service, GroupGoal(group, placement), yes=yes)
    _walked(door, run(service.move_group(group, placement)))


def _ask(
    door: Door, service: MigrationService, goal: Goal, *, yes: bool, count: int | None = None
) -> None:
    found = service.plan(goal)
    if not door.as_json:
        render.plan(_console(), found, count=count)
    if yes:
        return
    if door.as_json or not sys.stdin.isatty():
        msg = "expected the word to go, and nobody to ask: add --yes"
        raise PlanError(msg)
    click.confirm("Go?", abort=True)


def _walked(door: Door, standing: Standing) -> None:
    if door.as_json:
        _print_json({"event": "done", "standing": standing_dict(standing)}, indent=None)
    else:
        _console().print(f"stack {door.stack} stands at {standing.describe()}", style="green")


def _print_json(content: Any, *, indent: int | None = 2) -> None:
    click.echo(json.dumps(content, indent=indent, sort_keys=True))


if __name__ == "__main__":
    main()
