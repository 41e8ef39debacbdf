"""Command line of the demo.

Exit status: 0 when every proof holds, 1 when one does not or the migration stopped, 2 when the demo
could not start, 130 when it was interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from components.errors import ComponentError
from stacks import environment
from stacks.demo import local_stack, preflight, removal, report
from stacks.demo.addresses import Addresses
from stacks.demo.errors import AnotherRunsError, DemoError, RefusedError
from stacks.demo.tenure import Tenure
from stacks.errors import StackError, disk_trouble
from stacks.state import FileState

_OK, _FAILED, _REFUSED = 0, 1, 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody asked the demo to end. Carries the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m stacks.demo", description=__doc__)
    parser.add_argument(
        "command", nargs="?", choices=["run", "down", "setup", "probe"], default="run"
    )
    parser.add_argument("--keep", action="store_true", help="leave the target's cluster running")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    project_dir = Path.cwd()
    # With --json, standard output holds the report alone.
    console = Console(stderr=given.json, soft_wrap=True)
    try:
        with _interruptible():
            match given.command:
                case "down":
                    status = _down(project_dir, console)
                case "setup":
                    status = _setup(project_dir, console)
                case "probe":
                    status = _probe(project_dir)
                case _:
                    status = _run(project_dir, console, keep=given.keep, as_json=given.json)
            return status
    except (DemoError, StackError, ComponentError) as error:
        sys.stderr.write(f"error: {error}\n")
        return _REFUSED
    except OSError as error:
        # Of a file: a full disk, or one that is not ours. Every other failure has a name by here.
        sys.stderr.write(f"error: {disk_trouble(error)}\n")
        return _REFUSED
    except Interrupted as interrupted:
        return 128 + interrupted.number


def _run(project_dir: Path, console: Console, *, keep: bool, as_json: bool) -> int:
    tenure = Tenure(project_dir)
    with (
        preflight.only_one(project_dir),
        preflight.prepare(project_dir, lambda text: console.print(text, highlight=False)),
        tenure.held(),
    ):
        from stacks.demo.run import FAILURES, Demo  # noqa: PLC0415 - takes a second to load

        demo = Demo(project_dir, console, keep=keep, tenure=tenure)
        problem: str | None = None
        try:
            try:
                asyncio.run(_until_interrupted(demo.run))
            except RefusedError:
                raise
            except FAILURES as error:
                problem = disk_trouble(error) if isinstance(error, OSError) else str(error)
            finally:
                # The event loop has put back the handlers of a plain process.
                _catch_signals(_interrupt)
            made = demo.finish(problem)
        except BaseException:
            # Refused, interrupted, or a bug: either way nothing may be left running.
            _clean_up(project_dir, console, tenure)
            raise
        if as_json:
            document = report.as_dict(made, demo.seen)
            sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")
        else:
            sys.stdout.write("\n" + report.as_text(made))
        text = f"Report: {demo.folder / 'report.txt'} and report.json\n"
        console.print(text, highlight=False, markup=False)
        if keep:
            console.print(kept(demo.addresses), highlight=False, markup=False)
        return _OK if made.ok else _FAILED


async def _until_interrupted(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the demo; a signal cancels it, and ends the engine's update that it may wait for."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work())
    caught: list[int] = []

    def interrupt(number: int) -> None:
        caught.append(number)
        task.cancel()
        _end_engine()

    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt, number)
    try:
        await task
    except asyncio.CancelledError:
        if caught:
            raise Interrupted(caught[0]) from None
        raise
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _end_engine() -> None:
    """Ask the Pulumi engines that this process started to end."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                name = Path("/proc", child, "comm").read_text().strip()
                if name == "pulumi":
                    os.kill(int(child), signal.SIGINT)


def _clean_up(project_dir: Path, console: Console, tenure: Tenure) -> None:
    # Asking twice must not leave half of it behind.
    _catch_signals(_say_patience)
    console.print("stopping, and removing what ran", highlight=False)
    _end_engine()
    removal.remove(project_dir, tenure)
    console.print("everything removed", highlight=False)


def _say_patience(number: int, frame: FrameType | None) -> None:
    del number, frame
    sys.stderr.write("still removing what ran\n")


def _interrupt(number: int, frame: FrameType | None) -> None:
    del frame
    raise Interrupted(number)


def _catch_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)


@contextmanager
def _interruptible() -> Generator[None]:
    """Let every way of asking a process to end take the same way out."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    _catch_signals(_interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _down(project_dir: Path, console: Console) -> int:
    with preflight.only_one(project_dir):
        was_there = removal.anything_left(project_dir)
        removal.remove(project_dir)
        left = removal.left_processes(project_dir)
    if left:
        sys.stderr.write(f"error: expected no process to be left, saw {sorted(left)}\n")
        return _FAILED
    text = "removed everything that the demo started" if was_there else "nothing was running"
    console.print(text, highlight=False)
    return _OK


def _setup(project_dir: Path, console: Console) -> int:
    """Let `pulumi preview` work by hand; a demo that runs here has done so already."""
    with contextlib.suppress(AnotherRunsError), preflight.only_one(project_dir):
        environment.apply(project_dir, own=True)
        if not local_stack.path_of(project_dir).exists():
            with _step(f"Choosing ports for {local_stack.path_of(project_dir).name}", console):
                local_stack.prepare(project_dir).release()
        backend = environment.defaults(project_dir)["PULUMI_BACKEND_URL"]
        for stack in (local_stack.STACK, "dev"):
            files = FileState.of(backend, stack)
            if files is None or not files.exists:
                with _step(f"Making stack {stack} in this checkout's backend", console):
                    from stacks.automation import StackRunner  # noqa: PLC0415 - slow, used once

                    StackRunner(stack, project_dir).init()
    return _OK


def _probe(project_dir: Path) -> int:
    """Print settings with which a probe watches the demo."""
    from stacks.demo import probe_settings  # noqa: PLC0415 - loads the target, which is slow

    sys.stdout.write(json.dumps(probe_settings.of(project_dir), indent=2) + "\n")
    return _OK


@contextmanager
def _step(title: str, console: Console) -> Generator[None]:
    """Say what is done, and how long it took."""
    console.print(f"{title} ...", highlight=False, markup=False)
    started = time.monotonic()
    yield
    console.print(f"  done ({time.monotonic() - started:.1f} s)", highlight=False)


def kept(addresses: Addresses) -> str:
    """What a person can do with a cluster that was kept."""
    lines = ["Kept running:"]
    for color, masters in addresses.masters.items():
        lines += [f"  {color} master     http://{master}" for master in masters]
    for color, agents in addresses.agents.items():
        lines += [f"  {color} agent      http://{agent}/state" for agent in agents]
    for color, hosts in addresses.zookeeper.items():
        lines += [f"  {color} ZooKeeper  {hosts}"]
    lines += [f"  framework        {addresses.framework}/state"]
    lines += [f"  clients {name}  {url}/status" for name, url in addresses.clients.items()]
    lines += [
        "Look:  . .local/env && pulumi stack --stack local && migrate status",
        "Stop:  make down",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
