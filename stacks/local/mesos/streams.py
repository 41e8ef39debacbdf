"""Event streams of the master: RecordIO records queued for one HTTP response.

A reader that does not keep up is cut off after a bounded number of waiting records: it subscribes
again and is told the whole state, instead of holding the master's memory.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from stacks.local.mesos.values import Json

_WAITING_MAX = 20_000


def record(message: Json) -> bytes:
    """One RecordIO record: length, newline, JSON."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return b"%d\n%s" % (len(body), body)


class Stream:
    """Records on their way to one client."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = False

    def send(self, message: Json) -> None:
        """Queue a record; on a closed stream this does nothing."""
        if self.closed:
            return
        if self._queue.qsize() >= _WAITING_MAX:
            self.close()
            return
        self._queue.put_nowait(record(message))

    def close(self) -> None:
        """End the response after what is queued."""
        if not self.closed:
            self.closed = True
            self._queue.put_nowait(None)

    async def records(self) -> AsyncIterator[bytes]:
        """What the HTTP response sends: all that waits as one piece, for each has its price."""
        while True:
            items = [await self._queue.get()]
            while not self._queue.empty():
                items.append(self._queue.get_nowait())
            whole = b"".join(item for item in items if item is not None)
            if whole:
                yield whole
            if items[-1] is None:
                return

    def waiting(self) -> bytes:
        """What is queued, taken out: for tests without a connection."""
        found = b""
        while not self._queue.empty():
            found += self._queue.get_nowait() or b""
        return found
