"""Lag probes: a small znode on the owner's side, copied by the same pipeline as clients' znodes.

A sample is the time from the acknowledgement of the marker's write on one side to that of its copy
on the other. A marker that is still under way counts with its age, so that a standstill shows.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

import structlog

from sync_engine import documents
from sync_engine.clock import Clocks
from sync_engine.direction import Direction
from sync_engine.errors import FencedError, SyncError
from sync_engine.fence import Fence
from sync_engine.lag import LagMeter
from sync_engine.link import Link
from sync_engine.rows import Stamp
from sync_engine.wire import Create, MultiResult, SetData

_log = structlog.get_logger()
# Markers that are waited for; a further one would only tell again that nothing arrives. It is
# written all the same: how new the newest is tells whether a side went back.
_PENDING_MAX = 20


class MarkerProbe:
    """Writes one direction's marker and takes the samples."""

    def __init__(
        self,
        link: Link,
        fence: Fence,
        meter: LagMeter,
        interval_ms: int,
        clocks: Clocks,
    ) -> None:
        self._link = link
        self._direction = Direction.leaving(link.side)
        self._fence = fence
        self._meter = meter
        self._clocks = clocks
        self._interval_s = interval_ms / 1000
        self._pending: OrderedDict[int, float] = OrderedDict()
        self._early: dict[int, float] = {}
        self.count = 0
        """How many were sent."""
        self._version: int | None = None
        """The marker's, as our last write made it; None while that is not known."""
        self.trouble: str | None = None
        """Why the last one could not be written."""
        self.last_zxid = 0
        """zxid of the newest marker that was acknowledged."""

    def oldest_ms(self) -> float | None:
        """Age of the oldest marker under way."""
        for began in self._pending.values():
            return (time.monotonic() - began) * 1000
        return None

    async def run(self) -> None:
        """Write markers for ever.

        Raises:
            FencedError: another engine has taken over.
        """
        path = documents.marker_path(self._direction)
        while True:
            await asyncio.sleep(self._interval_s)
            if not self._link.proven.is_set():
                # What a side that comes back says of our last marker must not be overwritten.
                continue
            sent_s = time.time()
            try:
                result = await self._write(path)
            except FencedError:
                raise
            except SyncError as error:
                self._version = None
                self.trouble = f"markers of {self._direction.value} cannot be written: {error}"
                if not error.retryable:
                    _log.warning("marker.failed", direction=self._direction, error=str(error))
                continue
            if result is None:
                continue
            self.last_zxid, self.trouble = result.zxid, None
            stat = result.stats[0] if result.stats else None
            self._version = None if stat is None else stat.version
            if stat is not None:
                self._clocks.note(
                    self._direction.source, stat.mtime, sent_s=sent_s, heard_s=time.time()
                )
            # The copy may have been acknowledged before the original's answer was looked at.
            if self._early.pop(result.zxid, None) is not None:
                self._meter.record(0.0)
            elif len(self._pending) < _PENDING_MAX:
                self._pending[result.zxid] = time.monotonic()

    async def _write(self, path: str) -> MultiResult | None:
        """Write the next marker; None if the connection was lost meanwhile.

        It expects the version of the last one: a write that is sent in the moment in which the
        connection is lost waits for the next connection, and is the first there, before anybody
        has looked whether that side went back.
        """
        note: Create | SetData
        self.count += 1
        data = str(self.count).encode()
        if self._version is None:
            stat = await self._link.writer.exists(path)
            if not self._link.proven.is_set():
                return None
            self._version = None if stat is None else stat.version
        if self._version is None:
            # Somebody has deleted it.
            note = Create(path, data, self._link.own_acl)
        else:
            note = SetData(path, data, self._version)
        return await self._fence.transact(self._direction.source, [note])

    def note_applied(self, stamp: Stamp | None) -> None:
        """Take note that a copy of a marker was acknowledged, and so that all older ones were."""
        if stamp is None:
            return
        now = time.monotonic()
        if stamp.mzxid not in self._pending:
            self._early = {stamp.mzxid: now}
        while self._pending and next(iter(self._pending)) <= stamp.mzxid:
            _, began = self._pending.popitem(last=False)
            self._meter.record((now - began) * 1000)
