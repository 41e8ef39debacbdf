"""Events as JSON lines on standard error, each kind of trouble once, until it is over.

A collector that fails each second would fill a disk with what is known already: a problem that is
repeated is counted in the report instead. Writing never fails the agent: a full disk is somebody
else's alarm.
"""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

import msgspec

from probe.report.validity import valid

_TROUBLES_MAX = 1_000


class Log:
    """Where events go."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._troubles: dict[str, str] = {}

    def event(self, name: str, /, **fields: Any) -> None:
        """Write an event."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        told = {"event": name, "timestamp": stamp, **fields}
        try:
            line = msgspec.json.encode(told).decode()
        except (UnicodeEncodeError, OverflowError):  # A name of a file that is no UTF-8.
            line = msgspec.json.encode(valid(told)).decode()
        stream = self._stream or sys.stderr
        try:
            stream.write(f"{line}\n")
            stream.flush()
        except (OSError, ValueError):  # A full disk, or a stream that is closed.
            return

    def trouble(self, what: str, problem: str, /, **fields: Any) -> None:
        """Write a problem, unless it is the one that was written last for the same thing."""
        if self._troubles.get(what) == problem:
            return
        if len(self._troubles) < _TROUBLES_MAX:
            self._troubles[what] = problem
        self.event("trouble.began", what=what, problem=problem, **fields)

    def well(self, what: str) -> None:
        """Say that a problem is over, if there was one."""
        if self._troubles.pop(what, None) is not None:
            self.event("trouble.ended", what=what)
