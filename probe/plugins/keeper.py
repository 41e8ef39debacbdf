"""Keeps one plugin at work, and answers for it.

Hooks run in a thread of the plugin's own. Answers are made of what the last look told, at once, so
that a plugin which looks for a minute still keeps to the half second that the protocol allows. What
has become old is not told any more: an agent then shows the plugin as failed, and takes back what
it said.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from probe.agent.log import Log
from probe.agent.text import TEXT_CHARS_MAX, clean
from probe.agent.unix_http import Request, Response
from probe.plugins import document
from probe.plugins.hooks import Plugin, Told

_FORBIDDEN = Response(403, "text/plain", b"this plugin reports, and does nothing else\n")
_UNKNOWN = Response(404, "text/plain", b"expected GET /report\n")
_CLOSE_S_MAX = 2.0


@dataclass(frozen=True)
class _State:
    """Of the last look: what it told, or why it told nothing; since when that holds."""

    since: float
    body: bytes = b""
    problem: str = ""


class Keeper:
    """One plugin at work."""

    def __init__(
        self,
        plugin: Plugin,
        log: Log,
        *,
        host: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.plugin = plugin
        self._log = log
        self._host = host
        self._clock = clock
        self._wall = wall
        self._stopping = threading.Event()
        self._is_started = False
        # Assigned whole, so that the thread that answers never sees half of it.
        self._state = _State(clock(), document.write(plugin, Told(plugin.columns, host), wall()))
        # A look that never ends must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=plugin.id, daemon=True)

    def begin(self) -> None:
        """Start looking."""
        self._thread.start()

    def end(self) -> None:
        """Stop; a look that goes on is left behind."""
        self._stopping.set()
        self._thread.join(_CLOSE_S_MAX)

    def look(self) -> None:
        """Look once now, and keep what it tells or why it does not."""
        told = Told(self.plugin.columns, self._host)
        try:
            if not self._is_started:
                self.plugin.start()
                self._is_started = True
            self.plugin.look(told)
            body = document.write(self.plugin, told, self._wall())
        except Exception as error:  # noqa: BLE001 - the boundary of a plugin: whatever it raises is its problem
            problem = clean(f"{type(error).__name__}: {error}", TEXT_CHARS_MAX)
            self._state = _State(self._clock(), problem=problem)
            self._log.trouble(f"plugin {self.plugin.id}", problem)
            return
        self._state = _State(self._clock(), body)
        self._log.well(f"plugin {self.plugin.id}")

    def answer(self, request: Request) -> Response:
        """Answer who asks."""
        if request.path.startswith("/control"):
            return _FORBIDDEN
        if request.path != "/report" or request.method != "GET":
            return _UNKNOWN
        state = self._state
        if state.problem:
            return Response(500, "text/plain", state.problem.encode())
        plugin = self.plugin
        age = self._clock() - state.since
        if age > plugin.interval_s + plugin.look_s_max:
            text = f"a look has not ended for {age - plugin.interval_s:.0f} s"
            return Response(503, "text/plain", text.encode())
        return Response(200, "application/json", state.body)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(self.plugin.interval_s)
        try:
            self.plugin.close()
        except Exception as error:  # noqa: BLE001 - the boundary of a plugin: it ends anyway
            self._log.trouble(f"end of plugin {self.plugin.id}", clean(str(error)))
