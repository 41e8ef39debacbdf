"""Watches while the engine runs that a side which was away comes back as what it was.

From the moment a connection is lost nothing is read from that side as true, and nothing written,
until it has shown (`provenance.py`) that it only went forward. A server that holds less than a
session has seen closes that session's connections for ever, so a side that stays away is also asked
over a new session, which any server accepts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from sync_engine import provenance
from sync_engine.base import BaseStore
from sync_engine.direction import Direction, Side
from sync_engine.errors import SyncError, WentBackError
from sync_engine.fence import Fence
from sync_engine.lane import Lane
from sync_engine.link import Link
from sync_engine.marker import MarkerProbe
from sync_engine.provenance import Found, Known

_log = structlog.get_logger()
_POLL_S = 0.05
# Short enough that a crash forgets little, long enough that noting costs nothing.
_NOTE_EVERY_S = 2.0
# A change of leader is over by then, so a new session is not opened for each.
_AWAY_S = 3.0
_PROBE_BOUND_S = 2.0
_SECOND_LOOK_S = 1.0


class Sentry:
    """The watch over both sides; `known` grows as they go forward."""

    def __init__(
        self,
        links: Mapping[Side, Link],
        probes: Mapping[Direction, MarkerProbe],
        fence: Fence,
        store: BaseStore,
    ) -> None:
        self._links = links
        self._probes = probes
        self._fence = fence
        self._store = store

    async def run(self) -> None:
        """Watch for ever.

        Raises:
            WentBackError: a side holds less than it did.
        """
        async with asyncio.TaskGroup() as tasks:
            for side, link in self._links.items():
                tasks.create_task(self._watch(side, link))
            tasks.create_task(self._note_for_ever())

    async def _watch(self, side: Side, link: Link) -> None:
        """One side; a probe of one must not keep the other waiting."""
        while True:
            await link.lost.wait()
            try:
                await self._prove(side, link)
            except WentBackError:
                raise
            except SyncError as error:
                # It went away again, as a rule; the status tells for how long nobody could look.
                _log.info("sentry.again", side=side, reason=str(error))
            if not link.proven.is_set():
                await asyncio.sleep(_POLL_S)

    async def _note_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_NOTE_EVERY_S)
            self.note()

    def note(self) -> None:
        """Note how far both sides have come, for the next start."""
        for side, link in self._links.items():
            if link.proven.is_set():
                provenance.note(
                    self._store, side, marker=self._marker(side), zxid=link.writer.last_zxid
                )

    async def _prove(self, side: Side, link: Link) -> None:
        known = Known(
            self._store.meta("pair"),
            {side: self._marker(side)},
            {side: max(link.reader.last_zxid, link.writer.last_zxid)},
            self._fence.epoch,
        )
        if link.is_connected:
            generation = link.generation
            self._check(side, await _look(side, link.writer, known), known)
            link.prove(generation)
        elif (link.disconnected_s() or 0) > _AWAY_S:
            lane = link.lane()
            try:
                await lane.start(bound_s=_PROBE_BOUND_S)
                found = await _look(side, lane, known)
            finally:
                await lane.close()
            self._check(side, found, known)

    def _check(self, side: Side, found: Found, known: Known) -> None:
        reason = provenance.went_back(side, found, known)
        if reason is not None:
            # For the start that follows, which finds the same and waits.
            provenance.note(self._store, side, marker=known.markers[side], zxid=known.zxids[side])
            raise WentBackError(reason)

    def _marker(self, side: Side) -> int:
        probe = self._probes.get(Direction.leaving(side))
        return max(self._fence.zxids.get(side, 0), 0 if probe is None else probe.last_zxid)


async def _look(side: Side, lane: Lane, known: Known) -> Found:
    """What a side says, asked twice before it is said to have gone back.

    A server may be a moment behind the others: a new session meets any of them, and a leader
    answers before it has applied all that its followers have shown already.
    """
    found = await provenance.inspect(side, lane)
    if provenance.went_back(side, found, known) is not None:
        await asyncio.sleep(_SECOND_LOOK_S)
        found = await provenance.inspect(side, lane)
    return found
