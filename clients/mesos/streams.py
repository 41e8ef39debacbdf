"""An event stream of a master: records in order, and silence that does not last.

Masters send a heartbeat every 15 seconds or say another interval when they accept a subscription.
After five that stayed away the stream counts as lost, however alive the connection looks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx

from clients.mesos.errors import ProtocolError, UnreachableError
from clients.mesos.recordio import Pieces
from clients.mesos.transport import Json, Sink

HEARTBEAT_S = 15.0
HEARTBEATS_MISSED_MAX = 5


class EventStream:
    """Reads one answer.

    Raises (records, pour):
        UnreachableError: the stream ended, or heartbeats stayed away.
        ProtocolError: what came is no event stream, or a record was cut.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._pieces = self._read(response)
        self._silence_s = HEARTBEAT_S * HEARTBEATS_MISSED_MAX

    def expect_heartbeats(self, told: Mapping[str, Any] | None) -> None:
        """Take the interval that the master told, if it did."""
        heartbeat_s = (told or {}).get("heartbeat_interval_seconds")
        if isinstance(heartbeat_s, int | float) and heartbeat_s > 0:
            self._silence_s = float(heartbeat_s) * HEARTBEATS_MISSED_MAX

    async def _read(self, response: httpx.Response) -> AsyncGenerator[tuple[bytes, bool]]:
        pieces = Pieces()
        chunks = response.aiter_bytes()
        while True:
            try:
                async with asyncio.timeout(self._silence_s):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                break
            except (httpx.HTTPError, TimeoutError) as error:
                msg = f"expected events, saw {type(error).__name__}: subscribe again"
                raise UnreachableError(msg) from None
            for piece in pieces.feed(chunk):
                yield piece
        if not pieces.is_between_records:
            msg = "expected whole records, saw one that was cut at the end of the stream"
            raise ProtocolError(msg)
        msg = "expected events, saw the end of the stream: subscribe again"
        raise UnreachableError(msg)

    async def pour(self, sink: Sink) -> None:
        """Pour the next record into a sink while it arrives."""
        async for piece, is_last in self._pieces:
            sink.feed(piece)
            if is_last:
                sink.close()
                return

    async def records(self) -> AsyncGenerator[bytes]:
        """Every further record, whole."""
        record = bytearray()
        async for piece, is_last in self._pieces:
            record += piece
            if is_last:
                yield bytes(record)
                record.clear()

    @staticmethod
    def parse(record: bytes) -> Json:
        """Read a record as JSON.

        Raises:
            ProtocolError: it is none.
        """
        try:
            found: Json = json.loads(record)
            found["type"]
        except (ValueError, TypeError, KeyError):
            msg = f"expected an event as JSON, saw {record[:120]!r}: is this a master?"
            raise ProtocolError(msg) from None
        return found
