"""What agents ask of a leading master: to be registered, and to be listened to.

Real agents speak libprocess here; these two paths are between the stand-in's own processes. What an
agent meets is the same: a wrong credential ends it and its tasks run on, a principal that may not
register is shut down with its tasks.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.responses import StreamingResponse as Streaming
from starlette.routing import Route

from stacks.local.errors import CallError
from stacks.local.mesos import outbox
from stacks.local.mesos.streams import Stream
from stacks.local.mesos.values import Json

if TYPE_CHECKING:
    from stacks.local.mesos.master import Master

_REGISTER = "/standin/agent"


class AgentApi:
    """The two paths. `elsewhere` answers for a master that does not lead."""

    def __init__(self, master: Master, elsewhere: Callable[[str], Response | None]) -> None:
        self._master = master
        self._elsewhere = elsewhere

    def routes(self) -> list[Route]:
        """Messages come by the thousand: they stand first."""
        return [
            Route(outbox.PATH, self._messages, methods=["POST"]),
            Route(_REGISTER, self._register, methods=["POST"]),
        ]

    def _refusal(self, request: Request) -> Response | None:
        """401 for an agent that has to say who it is, and cannot."""
        master = self._master
        if not master.settings.authenticate_agents or self._principal(request) is not None:
            return None
        return PlainTextResponse("Refused authentication", 401)

    def _principal(self, request: Request) -> str | None:
        return self._master.access.principal(request.headers.get("authorization"))

    async def _register(self, request: Request) -> Response:
        refusal = self._elsewhere(_REGISTER) or self._refusal(request)
        if refusal is not None:
            return refusal
        if not self._master.access.allows("register_agents", self._principal(request)):
            return PlainTextResponse("Not authorized to register as an agent", 410)
        lead = self._master.leadership
        assert lead is not None
        stream = Stream()
        try:
            agent = await lead.core.enrol(await request.json(), stream)
        except CallError as error:
            return PlainTextResponse(str(error), error.status)
        return Streaming(
            streamed(stream, lambda: lead.core.unlink(agent, stream)),
            media_type="application/json",
        )

    async def _messages(self, request: Request) -> Response:
        lead = self._master.leadership
        if lead is None or not self._master.elected:
            return PlainTextResponse("Not the leader", 503)
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        messages: list[Json] = await request.json()
        for message in messages:
            agent = lead.cluster.agents.get(str(message["agent_id"]))
            if agent is None:
                continue  # It hears of that when it registers again.
            agent.last_pong = time.monotonic()
            if message["type"] == "UPDATE":
                lead.core.update(message)
        return Response(status_code=202)


async def streamed(stream: Stream, ended: Callable[[], None]) -> AsyncIterator[bytes]:
    """The records of a stream; `ended` is called when nobody takes them any more."""
    try:
        async for item in stream.records():
            yield item
    finally:
        stream.closed = True
        ended()
