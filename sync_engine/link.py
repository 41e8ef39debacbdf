"""All connections of the engine to one side.

Reads and writes have a session each, because a `sync` makes the requests behind it wait and a large
scan would make writes wait. Watches have a third one (`watch.py` says why).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sync_engine.direction import Side
from sync_engine.errors import ConnectionLostError, UnprovenError, ZkError
from sync_engine.lane import Lane, LaneState
from sync_engine.oversize import FrameLimit
from sync_engine.session import SavedSession
from sync_engine.settings import SideSettings, Tuning, read_auth
from sync_engine.tls import make_context
from sync_engine.watch import WatchEvent, WatchSession
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl

# How long one attempt to start waits; attempts go on until the engine is stopped.
_START_BOUND_S = 5.0
_START_PAUSE_S = 0.1


class Link:
    """One side's sessions."""

    def __init__(
        self,
        side: Side,
        settings: SideSettings,
        tuning: Tuning,
        *,
        on_event: Callable[[Side, WatchEvent], None],
        on_gap: Callable[[Side], None],
    ) -> None:
        self.side = side
        self.settings = settings
        self.tuning = tuning
        self.auth = read_auth(settings.auth)
        self.tls = make_context(settings.tls)
        self.reader = self.lane()
        self.writer = self.lane()
        self.watch = WatchSession(
            settings.hosts,
            self.auth,
            session_timeout_s=tuning.session_timeout_s,
            tls=self.tls,
            on_event=lambda event: on_event(side, event),
            on_gap=lambda: on_gap(side),
        )
        self.frames = FrameLimit(self.lane)
        self._lost_at: float | None = time.monotonic()
        self.proven = asyncio.Event()
        """Set while the side is known to be what it was."""
        self.lost = asyncio.Event()
        """Set from a lost connection until that is known again."""
        self.generation = 0
        """Counts lost connections, and other doubts."""
        for lane in (self.reader, self.writer):
            lane.on_state(self._on_state)

    def lane(self, saved: SavedSession | None = None) -> Lane:
        """Another session on this side, or one that goes on."""
        return Lane(
            self.settings.hosts,
            self.auth,
            session_timeout_s=self.tuning.session_timeout_s,
            saved=saved,
            in_flight_max=self.tuning.in_flight_max,
            request_bytes_max=self.tuning.request_bytes_max,
            tls=self.tls,
        )

    @property
    def own_acl(self) -> tuple[Acl, ...]:
        """The ACL of the engine's own znodes: everybody may read, the engine writes."""
        if not self.auth:
            return WORLD_ALL
        return (Acl(PERM_ALL, "auth", ""), Acl(PERM_READ, "world", "anyone"))

    async def start(self) -> None:
        """Connect, however long the ensemble stays away.

        Raises:
            AuthFailedError: a server refuses the credentials.
        """
        for session in (self.reader, self.writer, self.watch):
            while True:
                try:
                    await session.start(bound_s=_START_BOUND_S)
                    break
                except ConnectionLostError:
                    # One that did not start may be started again, for as long as it takes.
                    await asyncio.sleep(_START_PAUSE_S)

    async def follow(self, path: str) -> None:
        """Watch a path and all below it; on a server without such watches scans must do.

        Raises:
            ZkError: the server refuses for another reason.
        """
        try:
            await self.watch.add(path)
        except ZkError:
            if self.watch.supports_persistent:
                raise

    @property
    def tells_changes(self) -> bool:
        """Whether each change gives an event now; else scans must do."""
        return self.watch.supports_persistent and self.watch.stands

    async def close(self) -> None:
        """End the sessions."""
        await self.watch.stop()
        await self.reader.close()
        await self.writer.close()

    @property
    def is_connected(self) -> bool:
        """Whether both lanes have a server."""
        return self.reader.connected.is_set() and self.writer.connected.is_set()

    def disconnected_s(self) -> float | None:
        """For how long a lane has had no server; None while both have one."""
        if self.is_connected or self._lost_at is None:
            return None
        return time.monotonic() - self._lost_at

    def session_ids(self) -> list[int]:
        """The live sessions' ids."""
        ids = (self.reader.session_id, self.writer.session_id, self.watch.session_id)
        return [id_ for id_ in ids if id_]

    def prove(self, generation: int) -> None:
        """The side is what it was, if no connection was lost since that generation."""
        if generation == self.generation:
            self.lost.clear()
            self.proven.set()
        else:
            self.lost.set()

    def doubt(self) -> None:
        """Let the side be looked at again, though no connection was lost."""
        self.generation += 1
        self.proven.clear()
        self.lost.set()

    def check_proven(self) -> None:
        """Raise unless what was read from this side may be believed.

        Raises:
            UnprovenError: its connection was lost, and nobody has looked yet.
        """
        if not self.proven.is_set():
            msg = f"expected side {self.side.value} to be looked at, saw its connection lost again"
            raise UnprovenError(msg)

    def _on_state(self, state: LaneState) -> None:
        if state is not LaneState.CONNECTED:
            self.doubt()
        # What counts is both lanes together.
        if self.is_connected:
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = time.monotonic()
