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
from sync_engine.wire import ANY_VERSION, SetData

_log = structlog.get_logger()
# Markers under way; a further one would only tell again that nothing arrives.
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
        self._number = 0
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
            if len(self._pending) >= _PENDING_MAX or not self._link.proven.is_set():
                # What a side that comes back says of our last marker must not be overwritten.
                continue
            self._number += 1
            sent_s = time.time()
            note = SetData(path, str(self._number).encode(), ANY_VERSION)
            try:
                result = await self._fence.transact(self._direction.source, [note])
            except FencedError:
                raise
            except SyncError as error:
                if not error.retryable:
                    _log.warning("marker.failed", direction=self._direction, error=str(error))
                continue
            self.last_zxid = result.zxid
            if result.stats and result.stats[0] is not None:
                self._clocks.note(
                    self._direction.source,
                    result.stats[0].mtime,
                    sent_s=sent_s,
                    heard_s=time.time(),
                )
            # The copy may have been acknowledged before the original's answer was looked at.
            if self._early.pop(result.zxid, None) is not None:
                self._meter.record(0.0)
            else:
                self._pending[result.zxid] = time.monotonic()

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
