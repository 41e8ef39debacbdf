"""Interrupts a step of a collector that does not give the event loop back.

A collector that waits is given up by its timeout. One that computes without end, or waits in the
kernel (for the command line of a process whose memory is locked, for a file system whose server is
away), keeps the whole agent standing still, and no timeout fires. A thread sees that and sends the
process a signal whose handler raises in the midst of the step: the collector has failed, and is
made anew as after any failure. What the kernel waits for uninterruptibly stays so; then the status
socket is silent, and the service manager's liveness probe has to act.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Generator
from types import FrameType

from probe.agent.errors import StuckError

STUCK_S_MAX = 10.0
_TICKS = 4
_SIGNAL = signal.SIGUSR2


class Watchdog:
    """Knows which step is under way. Steps are those of the main thread, one at a time."""

    def __init__(self, stuck_s_max: float = STUCK_S_MAX) -> None:
        self.interruptions = 0
        self._stuck_s_max = stuck_s_max
        self._step: tuple[str, float] | None = None
        self._interrupted: tuple[str, float] | None = None
        self._main = threading.main_thread().ident

    def begin(self, name: str) -> None:
        """A step of a collector begins."""
        self._step = (name, time.monotonic())

    def end(self) -> None:
        """It has given the loop back."""
        self._step = None

    @contextlib.contextmanager
    def watching(self) -> Generator[None]:
        """Watch meanwhile. To be entered in the main thread, which alone gets signals."""
        stopping = threading.Event()
        before = signal.signal(_SIGNAL, self._raise)
        thread = threading.Thread(target=self._watch, args=(stopping,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()
            signal.signal(_SIGNAL, before)

    def _watch(self, stopping: threading.Event) -> None:
        while not stopping.wait(self._stuck_s_max / _TICKS):
            step = self._step
            if step is None or step is self._interrupted:
                continue
            if time.monotonic() - step[1] > self._stuck_s_max and self._main is not None:
                self._interrupted = step
                signal.pthread_kill(self._main, _SIGNAL)

    def _raise(self, _: int, __: FrameType | None) -> None:
        step = self._step
        if step is None or step is not self._interrupted:
            return  # It ended in the moment before.
        self.interruptions += 1
        name, _since = step
        msg = f"expected a step of {name} to end within {self._stuck_s_max:g} s, saw it go on"
        raise StuckError(msg)
