"""Run a verb of a migration in this process, and die at a named step: `python -m … PROJECT VERB`.

The step is `<transition>:<step>:<before|after>`, as `migrate history` names them. Dying is SIGKILL:
no handler, no `finally`, nothing flushed that was not flushed before.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from stacks import environment
from stacks.demo import local_stack
from stacks.errors import StackError
from stacks.migration import events
from stacks.migration.bounds import Bounds
from stacks.migration.errors import GuardFailedError, MigrationError
from stacks.migration.executor import Checkpoint
from stacks.migration.phases import Step
from stacks.migration.planner import Transition
from stacks.migration.service import MigrationService

EXIT_FAILED = 1
EXIT_GUARD = 3
# These runs are about what is lost, on machines that do other work meanwhile, not about the lag.
_BOUNDS = Bounds(lag_p99_ms=2000.0)


def _killer(at: str | None) -> Checkpoint:
    def check(transition: Transition, step: Step, when: str) -> None:
        if f"{transition.name}:{step.name}:{when}" == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return check


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _tell(event: events.Event) -> None:
    match event:
        case events.StepStarted(transition, step):
            _say(f"{transition.name}: {step.name}")
        case events.StepEnded(transition, step, seconds, _, error):
            _say(f"{transition.name}: {step.name}: {error or 'ok'} ({seconds:.1f} s)")
        case events.TransitionEnded(transition, _, seconds, error):
            _say(f"{transition.name} ended: {error or 'ok'} ({seconds:.1f} s)")
        case _:
            pass


async def _run(service: MigrationService, verb: str, to: int | None) -> None:
    match verb:
        case "start":
            await service.start(*([] if to is None else [to]))
        case "rollback":
            await service.rollback(*([] if to is None else [to]))
        case _:
            await service.resume()


def main() -> int:
    """Run the verb; exit status 0, 1 (failed) or 3 (a guard)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("project", type=Path)
    parser.add_argument("verb", choices=["start", "rollback", "resume"])
    parser.add_argument("--to", type=int)
    parser.add_argument("--kill-at")
    given = parser.parse_args()
    environment.apply(given.project, own=True)
    service = MigrationService(
        given.project,
        local_stack.STACK,
        listener=_tell,
        checkpoint=_killer(given.kill_at),
        bounds=_BOUNDS,
    )
    try:
        asyncio.run(_run(service, given.verb, given.to))
    except GuardFailedError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_GUARD
    except (MigrationError, StackError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
