"""The scheduler's connection: subscribe with the leader that ZooKeeper names, and call it.

One subscription at a time. It ends when the leader changes, when the master closes it, or when
heartbeats stay away; the next one follows at once. Calls are sent only within the subscription they
belong to, because masters refuse them otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import structlog

from clients.mesos.errors import ProtocolError
from clients.mesos.recordio import Decoder
from stacks.local import credential as credentials
from stacks.local.errors import RemovedError
from stacks.local.mesos.election import Leader

Json = dict[str, Any]
# Real masters send one every 15 s and schedulers give up after five.
_SILENCE_S = 75.0
_CALL_TIMEOUT_S = 10.0
_BACKOFF_S = 0.05
_BACKOFF_MAX_S = 1.0
_OK, _FORBIDDEN = 200, 403
_log = structlog.get_logger()


class Link:
    """Connects a scheduler. `info` gives the FrameworkInfo to subscribe with.

    `ended` is called when a subscription that stood has ended, before the next one is tried.
    """

    def __init__(
        self,
        *,
        info: Callable[[], Json],
        handle: Callable[[Json], Awaitable[None]],
        credential: str | None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        self._info = info
        self._ended = ended
        self._handle = handle
        headers = {"Accept": "application/json"}
        self._principal: Json = {}
        if credential is not None:
            headers["Authorization"] = credentials.header(credential)
            self._principal["principal"] = credentials.principal(credential)
        timeout = httpx.Timeout(_CALL_TIMEOUT_S, read=_SILENCE_S)
        self._client = httpx.AsyncClient(timeout=timeout, headers=headers)
        self._changed = asyncio.Event()
        self._leader: Leader | None = None
        self._stream_id: str | None = None
        self.connected_to: str | None = None

    def note_leader(self, leader: Leader | None) -> None:
        """Follow another leader; None: nobody leads."""
        self._leader = leader
        self._changed.set()

    async def run(self) -> None:
        """Stay subscribed; never returns.

        Raises:
            RemovedError: masters refuse the framework's id for good.
        """
        failures = 0
        last: Leader | None = None
        while True:
            self._changed.clear()
            leader = self._leader
            if leader != last:
                failures, last = 0, leader  # Whoever leads now has not refused anything yet.
            if leader is None:
                await self._changed.wait()
                continue
            serving = asyncio.ensure_future(self._serve(leader))
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait({serving, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                was_connected = self.connected_to is not None
                self.connected_to = self._stream_id = None
                changed.cancel()
                if not serving.done():
                    serving.cancel()
                # Waited for, not awaited: being cancelled here must not be taken for its end.
                await asyncio.wait({serving})
                if was_connected and self._ended is not None:
                    self._ended()
            if not serving.cancelled():
                serving.result()
            failures = 0 if was_connected else failures + 1
            pause_s = min(_BACKOFF_S * 2**failures, _BACKOFF_MAX_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()

    async def _serve(self, leader: Leader) -> None:
        info = {**self._info(), **self._principal}
        call: Json = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        if "id" in info:
            call["framework_id"] = info["id"]
        url = f"http://{leader.address}/api/v1/scheduler"
        decoder = Decoder()
        try:
            async with self._client.stream("POST", url, json=call) as response:
                if response.status_code != _OK:
                    async with asyncio.timeout(_CALL_TIMEOUT_S):
                        text = (await response.aread()).decode(errors="replace")
                    if response.status_code == _FORBIDDEN and "removed" in text:
                        raise RemovedError(text)
                    # Followers redirect and a new leader asks for patience: ask again soon.
                    return
                self._stream_id = response.headers.get("mesos-stream-id")
                self.connected_to = leader.address
                async for chunk in response.aiter_raw():
                    for record in decoder.feed(chunk):
                        await self._handle(json.loads(record))
        except (httpx.HTTPError, ProtocolError, TimeoutError) as error:
            _log.info("master.connection_ended", master=leader.address, error=repr(error))

    async def call(self, kind: str, framework_id: str, body: Json | None = None) -> bool:
        """Make a call of the current subscription; false when it could not be delivered."""
        address, stream_id = self.connected_to, self._stream_id
        if address is None or stream_id is None:
            return False
        message: Json = {"type": kind, "framework_id": {"value": framework_id}}
        if body is not None:
            message[kind.lower()] = body
        try:
            # As a whole: httpx bounds each piece of an answer, and pieces may come for ever.
            async with asyncio.timeout(_CALL_TIMEOUT_S):
                answer = await self._client.post(
                    f"http://{address}/api/v1/scheduler",
                    json=message,
                    headers={"Mesos-Stream-Id": stream_id},
                )
        except (httpx.HTTPError, TimeoutError) as error:
            _log.warning("call.undelivered", call=kind, error=repr(error))
            return False
        if not answer.is_success:
            _log.warning("call.refused", call=kind, status=answer.status_code, text=answer.text)
        return answer.is_success

    async def close(self) -> None:
        """Let go of connections; the framework stays registered for its failover time-out."""
        await self._client.aclose()
