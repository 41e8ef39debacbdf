"""Interrupts a step of a collector that does not give the event loop back.

A collector that waits is given up by its timeout. One that computes without end, or waits in the
kernel (for the command line of a process whose memory is locked, for a file system whose server is
away), keeps the whole agent standing still, and no timeout fires. A timer of the kernel's sends a
signal a few times in the bound, whose handler raises in the midst of a step that takes too long:
the collector has failed, and is made anew as after any failure. A thread could not do it: a regular
expression keeps the interpreter's lock, and looks for signals alone. What the kernel waits for
uninterruptibly stays so; then the status socket is silent, and the liveness probe has to act.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Generator
from types import FrameType

from probe.agent.errors import StuckError

STUCK_S_MAX = 10.0
_TICKS = 4


class Watchdog:
    """Knows which step is under way. Steps are those of the main thread, one at a time."""

    def __init__(self, stuck_s_max: float = STUCK_S_MAX) -> None:
        self.interruptions = 0
        self._stuck_s_max = stuck_s_max
        self._step: str | None = None
        self._since = 0.0

    def begin(self, name: str) -> None:
        """A step of a collector begins."""
        self._since = time.monotonic()
        self._step = name

    def end(self) -> None:
        """It has given the loop back."""
        self._step = None

    @contextlib.contextmanager
    def watching(self) -> Generator[None]:
        """Watch meanwhile. To be entered in the main thread, which alone gets signals."""
        tick_s = self._stuck_s_max / _TICKS
        handler = signal.signal(signal.SIGALRM, self._tick)
        # The timer is the process's only one: whoever had it gets it back.
        timer = signal.setitimer(signal.ITIMER_REAL, tick_s, tick_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, *timer)

    def _tick(self, _: int, __: FrameType | None) -> None:
        now = time.monotonic()
        if self._step is None or now - self._since <= self._stuck_s_max:
            return
        # One that catches what is raised here is interrupted again.
        self._since = now
        self.interruptions += 1
        msg = f"expected a step of {self._step} to end within {self._stuck_s_max:g} s"
        msg = f"{msg}, saw it go on"
        raise StuckError(msg)
