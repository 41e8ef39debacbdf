"""Audits that the engine makes by itself, at low cost.

What is followed is the owner's side. A write by a client on the other side is told by nobody who
is listened to, and met only when its path's owner writes again; until an audit has looked it stays,
and everything else says that all is well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import structlog

from sync_engine.errors import SyncError
from sync_engine.report import AuditReport

_log = structlog.get_logger()
_AGAIN_S = 60.0
"""After which differences are looked for again, so that the status does not tell of them for hours
when they are mended."""
_POLL_S = 0.5
_TIME_S_MAX = 3600.0
"""One that takes longer is given up: a side does not answer, or paths change all the time."""


class RegularAudits:
    """An audit every `interval_s`, the first one after that time; 0: none.

    `is_quiet` says whether one may begin.
    """

    def __init__(
        self,
        interval_s: float,
        audit: Callable[[], Awaitable[AuditReport]],
        is_quiet: Callable[[], bool],
    ) -> None:
        self._interval_s = interval_s
        self._audit = audit
        self._is_quiet = is_quiet
        self._before = 0
        self._gave_way = False
        self._time: asyncio.Timeout | None = None

    @contextmanager
    def giving_way(self) -> Generator[None]:
        """While this lasts none is made; one that is under way is given up, and made afterwards."""
        self._before += 1
        if self._time is not None and not self._time.expired():
            self._gave_way = True
            self._time.reschedule(asyncio.get_running_loop().time())
        try:
            yield
        finally:
            self._before -= 1

    async def run(self) -> None:
        """Make them, for ever."""
        if not self._interval_s:
            return
        pause_s = self._interval_s
        while True:
            await asyncio.sleep(pause_s)
            was_again = pause_s < self._interval_s
            pause_s = self._interval_s
            report = await self._once()
            if report is None or report.equal:
                continue
            for name, found in report.subtrees.items():
                shown = [f"{each.kind} {each.path}" for each in found.differences]
                if shown:
                    _log.warning("audit.differences", subtree=name, differences=shown)
            if not was_again:
                # Those that stay cost no more than this one audit.
                pause_s = min(_AGAIN_S, self._interval_s)

    async def _once(self) -> AuditReport | None:
        while True:
            if self._before or not self._is_quiet():
                await asyncio.sleep(_POLL_S)
                continue
            self._gave_way = False
            try:
                async with asyncio.timeout(_TIME_S_MAX) as self._time:
                    return await self._audit()
            except TimeoutError:
                if not self._gave_way:
                    _log.warning("audit.given_up", seconds=_TIME_S_MAX)
                    return None
            except SyncError as error:
                _log.warning("audit.failed", error=str(error))
                return None
            finally:
                self._time = None
