"""What can go wrong while the project is set up.

    ToolError
    ├── ToolMissingError       a program was not installed yet
    ├── PrerequisiteError      the machine lacks something that only its owner can give
    └── StepFailedError        a step ran and failed

Each message says what was expected, what was seen and what to do; `explain` shows only that.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn


class ToolError(Exception):
    """Root of all errors of set-up."""


class ToolMissingError(ToolError):
    """An outside program is not installed."""


class PrerequisiteError(ToolError):
    """The machine lacks something, or has it too old."""


class StepFailedError(ToolError):
    """A step of set-up failed."""


def explain(work: Callable[[], None]) -> NoReturn:
    """Run a command line's work and leave the process: an error shows its message alone."""
    # Being stopped must end a step's children and its half-made folder too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        work()
    except ToolError as error:
        sys.stdout.flush()
        sys.exit(f"error: {error}")
    except OSError as error:
        # Of a file: a full disk, or one that is not ours.
        sys.stdout.flush()
        place, said = error.filename or "a file", error.strerror or error
        sys.exit(f"error: expected to use {place}, saw: {said}; make space, or check the owner")
    except KeyboardInterrupt:
        sys.stdout.flush()
        sys.stderr.write("stopped; run it again to go on\n")
        sys.exit(130)
    sys.exit(0)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    del signum, frame
    raise KeyboardInterrupt
