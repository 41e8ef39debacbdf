"""Persistent recursive watches: every change of a subtree as an event.

Rules:

- The session is used for nothing else. Up to ZooKeeper 3.8 a one-shot watch on the same path and
  session silently ends the persistent one (ZOOKEEPER-4466), so nothing here ever leaves one.
- Events of the time without a connection are lost; the server only takes the watch up again. So
  after each reconnect and each new session every watch is added anew and `on_gap` is called:
  whoever listens must then read what is watched. setWatches2 would say no more.
- Whatever else goes wrong is tried again, at most `_AGAIN_MAX_S` apart: a server that refuses a
  watch that stood before, or credentials that others take. Until then `stands` is False, and
  whoever listens must scan: no event comes.
- An event says what kind of change, never its data; from ZooKeeper 3.9 on it carries the zxid
  (ZOOKEEPER-4655). A znode without READ for this session sends no event, and setACL never does.

Not here: what to do about an event.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import structlog

from sync_engine import wire
from sync_engine.errors import ConnectionLostError, LaneError, UnimplementedError, ZkError
from sync_engine.lane import Lane, LaneState
from sync_engine.session import SavedSession
from sync_engine.wire import OpCode

_log = structlog.get_logger()
_PAUSE_S = 0.05
# What a server refuses it refuses again as a rule; a scan makes up for the time between.
_AGAIN_MIN_S, _AGAIN_MAX_S = 0.5, 30.0
_START_BOUND_S = 5.0
_MARSHALLING_ERROR = -5
# Older servers do not know the request; one with WatchManagerOptimized fails while answering it.
_UNSUPPORTED = frozenset({UnimplementedError.code, _MARSHALLING_ERROR})


class EventKind(IntEnum):
    """What happened to a znode; the numbers are those of the protocol."""

    CREATED = 1
    DELETED = 2
    CHANGED = 3


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change. `zxid` is None where the server does not tell it (3.8 and older)."""

    path: str
    kind: EventKind
    zxid: int | None


_KINDS = {int(kind): kind for kind in EventKind}


class WatchSession:
    """One session for watches; callbacks run in the event loop."""

    def __init__(  # noqa: PLR0913 - where, as whom, and whom to tell
        self,
        hosts: str,
        auth: Sequence[tuple[str, bytes]],
        *,
        session_timeout_s: float,
        tls: ssl.SSLContext | None = None,
        on_event: Callable[[WatchEvent], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._on_event = on_event
        self._on_gap = on_gap
        self._paths: dict[str, asyncio.Future[None]] = {}
        self._arming: asyncio.Task[None] | None = None
        self._reviving: asyncio.Task[None] | None = None
        self._has_gap = False
        self._losses = 0
        self._is_stopped = True
        self._is_starting = False
        self.trouble: str | None = None
        """What a server refuses, while it is tried again."""
        self.supports_persistent = True
        """False once a server said that it has no such watches; the listener must then scan."""
        self._lane = Lane(
            hosts, auth, session_timeout_s=session_timeout_s, tls=tls, on_event=self._on_frame
        )
        self._lane.on_state(self._on_state)

    @property
    def session_id(self) -> int:
        """The session's id; 0 before the first connection."""
        return self._lane.session_id

    @property
    def saved(self) -> SavedSession | None:
        """The session, while it is connected."""
        return self._lane.saved if self.connected else None

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._lane.connected.is_set()

    @property
    def stands(self) -> bool:
        """Whether every watch is set: what changes from now on gives an event, or `on_gap`."""
        return self.connected and not self._has_gap

    async def start(self, *, bound_s: float = 15.0) -> None:
        """Connect.

        Raises:
            ConnectionLostError: no server took the connection in time; `start` may be called again.
            AuthFailedError: a server refuses the credentials.
        """
        self._is_stopped = False
        # Watches of an earlier start ended with its session.
        self._has_gap = bool(self._paths)
        self._is_starting = True
        try:
            await self._lane.start(bound_s=bound_s)
        except LaneError:
            self._is_stopped = True
            raise
        finally:
            self._is_starting = False

    async def add(self, path: str) -> None:
        """Watch a path and all below it, now and after every reconnect.

        Returns when the watch is set: every change acknowledged after that gives an event, or
        `on_gap`. On a server without such watches it returns too, with `supports_persistent` False.

        Raises:
            ZkError: the server refuses for another reason.
            LaneError: the session was stopped, or its credentials are refused.
        """
        future = self._paths.get(path)
        if future is None:
            future = self._paths[path] = asyncio.get_running_loop().create_future()
            self._arm()
        await asyncio.shield(future)

    async def stop(self) -> None:
        """End the session."""
        self._is_stopped = True
        tasks = [task for task in (self._arming, self._reviving) if task is not None]
        self._arming = self._reviving = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for path, future in list(self._paths.items()):
            if not future.done():
                self._give_up(path, ConnectionLostError("the watch session ended", sent=False))
        await self._lane.close()

    def _on_state(self, state: LaneState) -> None:
        if state is LaneState.CONNECTED:
            self._arm()
            return
        self._has_gap = True
        self._losses += 1
        is_first = self._is_starting or self._is_stopped or self._reviving is not None
        if state is LaneState.ENDED and not is_first:
            # Whoever started it is not there any more to be told.
            self._reviving = asyncio.get_running_loop().create_task(self._revive(), name="watch")

    async def _revive(self) -> None:
        """Begin again with a lane that has ended, until a server takes it."""
        try:
            self._note_trouble(self._lane.last_failure or "the connection ended")
            for pause_s in _pauses_s():
                await asyncio.sleep(pause_s)
                try:
                    await self._lane.start(bound_s=_START_BOUND_S)
                    return
                except LaneError as error:
                    self._note_trouble(str(error))
        finally:
            self._reviving = None

    def _on_frame(self, raw: bytes, at: int, zxid: int) -> None:
        kind, _, path = wire.read_event(raw, at)
        known = _KINDS.get(kind)
        if known is not None and not self._is_stopped:
            self._on_event(WatchEvent(path, known, zxid if zxid > 0 else None))

    def _arm(self) -> None:
        if self._arming is not None:
            self._arming.cancel()
        self._arming = asyncio.get_running_loop().create_task(self._add_all(), name="watch")

    async def _add_all(self) -> None:
        """Set every watch on this connection; the next connection begins again."""
        for pause_s in _pauses_s():
            losses = self._losses
            refused = await self._add_missing()
            if losses != self._losses:
                # Lost right behind the answers: the next connection has none of these watches.
                return
            has_gap, self._has_gap = self._has_gap, refused is not None
            if has_gap or refused is not None:
                # Also where a watch is still refused: what is to be seen is seen now.
                self._on_gap()
            if refused is None:
                self.trouble = None
                return
            self._note_trouble(refused)
            await asyncio.sleep(pause_s)

    async def _add_missing(self) -> str | None:
        """Set what is to be set; returns why a watch that stood before could not be."""
        while True:
            # Asked again, a server before 3.6 would again answer by closing the connection.
            paths = list(self._missing()) if self.supports_persistent else []
            requests = [
                self._lane.submit(OpCode.ADD_WATCH, wire.add_watch_body(path), wire.no_body, path)
                for path in paths
            ]
            answers = await asyncio.gather(*requests, return_exceptions=True)
            if any(isinstance(a, ZkError) and a.code in _UNSUPPORTED for a in answers):
                self.supports_persistent = False
            is_lost = any(isinstance(answer, ConnectionLostError) for answer in answers)
            if not is_lost or not self.supports_persistent:
                break
            await asyncio.sleep(_PAUSE_S)
        if not self.supports_persistent:
            self._go_without()
            return None
        taken = [self._take(path, answer) for path, answer in zip(paths, answers, strict=True)]
        return next((why for why in taken if why is not None), None)

    def _note_trouble(self, why: str) -> None:
        if why != self.trouble:
            _log.warning("watch.refused", reason=why)
        self.trouble = why

    def _missing(self) -> Iterator[str]:
        """What to watch; after a reconnect that is all, and a gap is over only when all stand."""
        for path, future in self._paths.items():
            if self._has_gap or not future.done():
                yield path

    def _take(self, path: str, answer: BaseException | None) -> str | None:
        """Tell whoever waits for a watch; what nobody waits for is returned."""
        future = self._paths[path]
        if future.done():
            return None if answer is None else f"{path}: {answer}"
        if answer is None:
            future.set_result(None)
        else:
            self._give_up(path, answer)
        return None

    def _go_without(self) -> None:
        """Let whoever waits for a watch go on; scans must do."""
        for future in self._paths.values():
            if not future.done():
                future.set_result(None)

    def _give_up(self, path: str, error: BaseException) -> None:
        future = self._paths.pop(path)
        future.set_exception(error)
        # Not everybody comes to wait for it.
        future.exception()


def _pauses_s() -> Iterator[float]:
    """Between attempts, longer each time up to a bound."""
    pause_s = _AGAIN_MIN_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, _AGAIN_MAX_S)
