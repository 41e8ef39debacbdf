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
from collections.abc import Callable, Generator
from types import FrameType
from typing import TypeVar, TypeVarTuple

from probe.agent.errors import StuckError

STUCK_S_MAX = 10.0
_TICKS = 4

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Watchdog:
    """Knows which step is under way. Steps are those of the main thread, one at a time."""

    def __init__(self, stuck_s_max: float = STUCK_S_MAX) -> None:
        self.interruptions = 0
        self._stuck_s_max = stuck_s_max
        self._step: str | None = None
        self._since = 0.0

    def step(self, name: str, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Do a step of a collector."""
        self._since = time.monotonic()
        self._step = name
        try:
            return work(*arguments)
        finally:
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

    def _tick(self, _: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._step is None or now - self._since <= self._stuck_s_max:
            return
        # It has ended just now. Raised here, this would be nobody's failure, and the step would
        # seem to go on: the next one would be raised in the event loop.
        if frame is not None and frame.f_code is Watchdog.step.__code__:
            return
        # One that catches what is raised here is interrupted again.
        self._since = now
        self.interruptions += 1
        msg = f"expected a step of {self._step} to end within {self._stuck_s_max:g} s"
        msg = f"{msg}, saw it go on"
        raise StuckError(msg)
