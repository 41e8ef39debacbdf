"""The event stream: what happens, as server-sent events, to everybody who listens.

A listener that does not read is cut off, so that it cannot fill the memory: bounded as Marathon's
`--event_stream_max_outstanding_messages`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable

from stacks.local.marathon.instances import timestamp
from stacks.local.mesos.values import Json

_WAITING_MAX = 4096
_KEEP_ALIVE_S = 5.0


class Listener:
    """One client of the stream; no types means all."""

    def __init__(self, address: str, types: Iterable[str], *, light: bool) -> None:
        self.address = address
        self._types = frozenset(types)
        self._light = light
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def send(self, event: Json) -> bool:
        """Queue an event; false when the client is too slow."""
        kind = str(event["eventType"])
        if self._types and kind not in self._types:
            return True
        if self._queue.qsize() >= _WAITING_MAX:
            self.close()
            return False
        shown = event
        if self._light and "plan" in event:
            plan = {k: v for k, v in event["plan"].items() if k not in {"original", "target"}}
            shown = {**event, "plan": plan}
        body = json.dumps(shown, separators=(",", ":"))
        self._queue.put_nowait(f"event: {kind}\r\ndata: {body}\r\n\r\n".encode())
        return True

    def close(self) -> None:
        """End the stream after what is queued."""
        self._queue.put_nowait(None)

    async def records(self) -> AsyncIterator[bytes]:
        """What the HTTP response sends; an empty line now and then shows that it lives."""
        while True:
            try:
                async with asyncio.timeout(_KEEP_ALIVE_S):
                    item = await self._queue.get()
            except TimeoutError:
                item = b"\r\n"
            if item is None:
                return
            yield item


class EventBus:
    """All listeners."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    def attach(self, listener: Listener) -> None:
        """Begin to send; the listener hears of itself first."""
        self._listeners.add(listener)
        self.publish("event_stream_attached", remoteAddress=listener.address)

    def detach(self, listener: Listener) -> None:
        """Stop sending."""
        if listener in self._listeners:
            self._listeners.discard(listener)
            self.publish("event_stream_detached", remoteAddress=listener.address)

    def publish(self, kind: str, **fields: object) -> None:
        """Tell everybody."""
        event: Json = {**fields, "eventType": kind, "timestamp": timestamp()}
        for listener in list(self._listeners):
            if not listener.send(event):
                self._listeners.discard(listener)
