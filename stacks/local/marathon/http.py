"""Marathon's HTTP interface: who answers what, and how errors look.

Everything but `/ping`, `/metrics` and the page is answered by the leader; another instance passes
the request on and marks the answer, and answers 503 while nobody leads. Errors are JSON with a
`message`.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.responses import StreamingResponse as Streaming
from starlette.routing import Route

from stacks.local.errors import ApiError
from stacks.local.marathon.events import Listener
from stacks.local.marathon.rest import Rest

if TYPE_CHECKING:
    from stacks.local.marathon.service import Marathon

Endpoint = Callable[[Request], Awaitable[Response]]
_NO_LEADER = "Could not determine the current leader"
_LEADER_HEADER = "X-Marathon-Leader"
_VIA_HEADER = "X-Marathon-Via"
_PAGE = """<!doctype html><title>Stand-in for Marathon</title>
<h1>Stand-in for Marathon</h1>
<p>This is not Marathon. It answers its REST API v2 on machines without it.
See <a href="/v2/apps">/v2/apps</a>, <a href="/v2/info">/v2/info</a> and
<a href="/v2/deployments">/v2/deployments</a>.</p>"""
# Headers that belong to one connection.
_OWN_HEADERS = frozenset({"host", "connection", "content-length", "transfer-encoding"})


def make_app(marathon: Marathon) -> Starlette:
    """The application of one Marathon."""
    return Starlette(routes=_Door(marathon).routes())


class _Door:
    """Credentials, leadership and errors, around the handlers of the REST interface."""

    def __init__(self, marathon: Marathon) -> None:
        self._marathon = marathon
        self._rest = Rest(marathon)

    def routes(self) -> list[Route]:
        routes = [
            Route("/", self._page),
            Route("/ping", self._ping),
            Route("/metrics", self._metrics),
            Route("/v2/events", self._guarded(self._events), methods=["GET"]),
        ]
        for path, method, handler in self._rest.table():
            routes.append(Route(path, self._guarded(handler), methods=[method]))
        routes.append(Route("/{path:path}", self._guarded(self._missing)))
        return routes

    async def _page(self, _: Request) -> Response:
        return HTMLResponse(_PAGE)

    async def _ping(self, _: Request) -> Response:
        return PlainTextResponse("pong")

    async def _metrics(self, _: Request) -> Response:
        state, uptime_s = self._marathon.state, self._marathon.uptime_s
        running = sum(1 for one in state.instances.values() if one.is_running)
        gauges = {
            "marathon.apps.active.gauge": len(state.tree.apps),
            "marathon.deployments.active.gauge": len(self._marathon.deployments.running),
            "marathon.instances.running.gauge": running,
            "marathon.instances.staged.gauge": len(state.instances) - running,
            "marathon.leadership.duration.gauge.seconds": uptime_s * self._marathon.latch.is_leader,
            "marathon.uptime.gauge.seconds": uptime_s,
        }
        shown = {name: {"value": number} for name, number in gauges.items()}
        return JSONResponse(
            {"version": "4.0.0", "gauges": shown, "counters": {}, "histograms": {}, "meters": {},
             "timers": {}}
        )  # fmt: skip

    async def _missing(self, request: Request) -> Response:
        raise ApiError.of(404, f"URI not found: {request.url.path}")

    def _guarded(self, handler: Endpoint) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            refusal = self._refusal(request)
            if refusal is not None:
                return refusal
            marathon = self._marathon
            if not marathon.latch.is_leader and marathon.latch.leader is not None:
                return await self._forward(request, marathon.latch.leader)
            if not marathon.is_serving:
                return PlainTextResponse(_NO_LEADER, 503)
            try:
                answer = await handler(request)
            except ApiError as error:
                answer = JSONResponse(error.body, error.status)
            answer.headers[_LEADER_HEADER] = f"http://{marathon.settings.host_port}"
            return answer

        return endpoint

    def _refusal(self, request: Request) -> Response | None:
        credentials = self._marathon.http_credentials
        if credentials is None:
            return None
        given = request.headers.get("authorization", "")
        wanted = "Basic " + base64.b64encode(credentials.encode()).decode()
        if hmac.compare_digest(given.encode(), wanted.encode()):
            return None
        return Response(status_code=401, headers={"WWW-Authenticate": 'Basic realm="Mesosphere"'})

    async def _forward(self, request: Request, leader: str) -> Response:
        """Pass a request on to the leader, once; a loop is refused."""
        import httpx

        own = f"1.1 {self._marathon.settings.host_port}"
        if own in request.headers.get(_VIA_HEADER, ""):
            return PlainTextResponse("Detected proxying loop.", 502)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _OWN_HEADERS}
        headers[_VIA_HEADER] = own
        url = f"http://{leader}{request.url.path}"
        if request.url.query:
            url = f"{url}?{request.url.query}"
        client = self._marathon.client
        timeout = httpx.Timeout(10.0, read=None)
        outgoing = client.build_request(
            request.method, url, headers=headers, content=await request.body(), timeout=timeout
        )
        try:
            answer = await client.send(outgoing, stream=True)
        except httpx.HTTPError:
            return PlainTextResponse("Connection to leader refused.", 502)
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in _OWN_HEADERS}
        kept[_VIA_HEADER] = own

        async def body() -> AsyncIterator[bytes]:
            try:
                async for chunk in answer.aiter_raw():
                    yield chunk
            except httpx.HTTPError:
                return  # The leader is gone in the middle: so is this answer.
            finally:
                await answer.aclose()

        return Streaming(body(), status_code=answer.status_code, headers=kept)

    async def _events(self, request: Request) -> Response:
        if "text/event-stream" not in request.headers.get("accept", "*/*").replace(
            "*/*", "text/event-stream"
        ):
            raise ApiError.of(406, "HTTP 406 Not Acceptable")
        address = request.client.host if request.client is not None else ""
        light = request.query_params.get("plan-format") == "light"
        listener = Listener(address, request.query_params.getlist("event_type"), light=light)
        bus = self._marathon.bus
        bus.attach(listener)

        async def body() -> AsyncIterator[bytes]:
            try:
                async for item in listener.records():
                    yield item
            finally:
                bus.detach(listener)

        return Streaming(body(), media_type="text/event-stream")
