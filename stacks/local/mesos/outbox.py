"""Messages of agents to their master: what waits while one request is under way goes together.

Agents of one process share an outbox, so that ten thousand statuses are some hundred requests. Each
message is delivered or not with its request; whoever sent it learns which, and sends it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from stacks.local.mesos.values import Json

if TYPE_CHECKING:
    import httpx

PATH = "/standin/agent/messages"
# A request of statuses stays well below a megabyte.
_BATCH_MAX = 500
_Waiting = tuple[Json, asyncio.Future[bool]]


class Outbox:
    """Sends messages to masters by address, one request at a time to each."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._senders: dict[str, asyncio.Future[None]] = {}

    async def send(self, address: str, message: Json) -> bool:
        """Whether the master took the message."""
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, deque()).append((message, taken))
        if address not in self._senders:
            self._senders[address] = asyncio.ensure_future(self._send_all(address))
        return await taken

    async def close(self) -> None:
        """Give up on what waits, and let go of connections."""
        for sender in self._senders.values():
            sender.cancel()
        await asyncio.gather(*self._senders.values(), return_exceptions=True)
        await self._client.aclose()

    async def _send_all(self, address: str) -> None:
        waiting = self._waiting[address]
        try:
            while waiting:
                batch = [waiting.popleft() for _ in range(min(len(waiting), _BATCH_MAX))]
                is_taken = False
                try:
                    is_taken = await self._post(address, [message for message, _ in batch])
                finally:
                    for _, taken in batch:
                        if not taken.done():
                            taken.set_result(is_taken)
        finally:
            for _, taken in waiting:
                if not taken.done():
                    taken.set_result(False)
            del self._waiting[address], self._senders[address]

    async def _post(self, address: str, messages: list[Json]) -> bool:
        import httpx

        try:
            answer = await self._client.post(f"http://{address}{PATH}", json=messages)
        except httpx.HTTPError:
            return False
        return answer.is_success
