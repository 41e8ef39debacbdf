"""How large a request a side's servers take, found out when one may have been refused.

A server that meets a frame above its jute.maxbuffer says nothing: it closes the connection, as does
everything else that goes wrong. What tells the two apart is that a size is refused each time. So
after a loss a request of the same size that changes nothing is sent over a session of its own, each
time behind a small one that is answered. If it is answered once, the loss was bad luck, and what
was lost is sent again. If its connection is lost each time, so large a request is not sent for some
minutes, after which the servers may have been given more room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from sync_engine import wire
from sync_engine.errors import ConnectionLostError, LaneError, ZkError
from sync_engine.lane import Lane
from sync_engine.wire import OpCode

_log = structlog.get_logger()
LARGE_BYTES = 64 * 1024
"""No server is configured for less."""
# A lane takes another server each time, where there is one.
_ATTEMPTS_MAX = 3
_AGAIN_S = 300.0
_START_BOUND_S = 2.0
# Head of the request, length of its path, and that no watch is left.
_REQUEST_BYTES = 8 + 4 + 1


class FrameLimit:
    """What is known of one side's limit; `open_lane` makes a session that nobody else uses."""

    def __init__(self, open_lane: Callable[[], Lane]) -> None:
        self._open_lane = open_lane
        self._refused_bytes: int | None = None
        self._until = 0.0
        self._turn = asyncio.Lock()

    @property
    def is_known(self) -> bool:
        """Whether any size was refused; else none need be asked for."""
        return self._refused_bytes is not None

    async def refuses(self, size: int) -> bool:
        """Whether a request of so many bytes would be refused, as far as is known."""
        if self._refused_bytes is None or size < self._refused_bytes:
            return False
        if asyncio.get_running_loop().time() < self._until:
            return True
        return await self.measure(size)

    async def measure(self, size: int) -> bool:
        """Find out whether so large a request is refused; False also where nobody can tell now."""
        if size < LARGE_BYTES:
            return False
        async with self._turn:
            is_refused = await self._is_refused(size)
        if is_refused:
            self._refused_bytes = size
            self._until = asyncio.get_running_loop().time() + _AGAIN_S
            _log.warning("frame.refused", bytes=size)
        elif is_refused is False and self._refused_bytes is not None:
            self._refused_bytes = None if size >= self._refused_bytes else self._refused_bytes
        return bool(is_refused)

    async def _is_refused(self, size: int) -> bool | None:
        """None where the side does not answer small requests either."""
        lane = self._open_lane()
        path = "/" + "x" * (size - _REQUEST_BYTES - 1)
        try:
            await lane.start(bound_s=_START_BOUND_S)
            for _ in range(_ATTEMPTS_MAX):
                await lane.exists("/")
                try:
                    await lane.submit(
                        OpCode.EXISTS, wire.watchless_body(path), wire.read_stat, path
                    )
                except ConnectionLostError as error:
                    if not error.sent:
                        return None
                except ZkError:
                    # There is no such znode, of course.
                    return False
        except (LaneError, ZkError):
            return None
        else:
            return True
        finally:
            await lane.close()
