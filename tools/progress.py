"""Steps that say what they do, that they are still working, and how long they took.

On a terminal one line is refreshed; elsewhere (a build's log) a plain line is added now and then.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tools.errors import StepFailedError

# The slowest step, the engine's build, takes 7 minutes on two cores.
STEP_S_MAX = 3600.0
_STOP_S_MAX = 10.0
_REFRESH_S = 0.5
# A log should show life without drowning in it.
_LINE_EVERY_S = 10.0
_TAIL_LINES = 30
_FRAMES = "|/-\\"


class Progress:
    """The line of one step."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._started = time.monotonic()
        self._line_at = self._started
        self._turns = 0
        self._terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        if not self._terminal:
            _say(f"{title} ...")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._started

    def tick(self) -> None:
        """Show that the step is still working."""
        if self._terminal:
            frame = _FRAMES[self._turns % len(_FRAMES)]
            self._turns += 1
            sys.stdout.write(f"\r\033[K{frame} {self._title} ... {_duration(self.elapsed_s)}")
            sys.stdout.flush()
        elif time.monotonic() - self._line_at >= _LINE_EVERY_S:
            self._line_at = time.monotonic()
            _say(f"  still working on it, {_duration(self.elapsed_s)}")

    def end(self, outcome: str) -> None:
        """Leave one line that tells how it went."""
        start = f"\r\033[K{self._title}: " if self._terminal else "  "
        _say(f"{start}{outcome} ({_duration(self.elapsed_s)})")


@contextmanager
def step(title: str) -> Generator[Progress]:
    """A step whose end is told, however it ends."""
    progress = Progress(title)
    try:
        yield progress
    except KeyboardInterrupt:
        progress.end("stopped")
        raise
    except Exception:
        # Whatever it was, the line says how the step ended; who called says why.
        progress.end("failed")
        raise
    progress.end("done")


def run(
    title: str,
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command as a step; returns what it wrote.

    Raises:
        StepFailedError: it cannot be run, failed, or took longer than an hour.
    """
    with step(title) as progress, tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            msg = f"expected to run {command[0]}, saw: {error.strerror}"
            raise StepFailedError(msg) from None
        try:
            code = _attend(process, progress)
        finally:
            _stop(process)
        written = _read(output)
        if code != 0:
            tail = "\n".join(written.splitlines()[-_TAIL_LINES:])
            msg = f"`{' '.join(command)}` ended with {code}; it wrote at last:\n{tail}"
            raise StepFailedError(msg)
    return written


def wait(title: str, ready: Callable[[], bool]) -> None:
    """Wait for a condition as a step.

    Raises:
        StepFailedError: it did not come about within an hour.
    """
    with step(title) as progress:
        while not ready():
            if progress.elapsed_s > STEP_S_MAX:
                msg = f"expected an end of it within {_duration(STEP_S_MAX)}, saw none"
                raise StepFailedError(msg)
            progress.tick()
            time.sleep(_REFRESH_S)


def _attend(process: subprocess.Popen[bytes], progress: Progress) -> int:
    while True:
        try:
            return process.wait(_REFRESH_S)
        except subprocess.TimeoutExpired:
            if progress.elapsed_s > STEP_S_MAX:
                msg = f"expected an end within {_duration(STEP_S_MAX)}, saw none: it was stopped"
                raise StepFailedError(msg) from None
            progress.tick()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a command that was left before its end."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(output: IO[str]) -> str:
    output.seek(0)
    return output.read()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min {rest:02.0f} s" if minutes else f"{rest:.1f} s"
