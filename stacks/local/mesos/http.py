"""The master's HTTP interface: which path, on which master, with which credential.

Statuses as recorded: 200 with JSON or nothing, errors as plain text, 307 to the leader with a
scheme-relative address, 503 while nobody leads or the leader has not read the registry, 401 with
the realm of the endpoint. Paths below `/standin/` are between the stand-in's own processes: no real
master has them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.responses import StreamingResponse as Streaming
from starlette.routing import Route

from stacks.local.errors import CallError
from stacks.local.mesos import (
    flags,
    legacy,
    maintenance,
    operator_api,
    quota,
    registry,
    render,
    values,
)
from stacks.local.mesos.agent_api import AgentApi, streamed
from stacks.local.mesos.cluster import Cluster
from stacks.local.mesos.leader import Leadership
from stacks.local.mesos.streams import Stream
from stacks.local.mesos.values import Json

if TYPE_CHECKING:
    from stacks.local.mesos.master import Master

_Endpoint = Callable[[Request], Awaitable[Response]]
_Read = Callable[[Leadership, Cluster], Any]
_READONLY = "mesos-master-readonly"
_READWRITE = "mesos-master-readwrite"
_SCHEDULER = "mesos-master-scheduler"
_PAGE = """<!doctype html><title>Stand-in for a Mesos master</title>
<h1>Stand-in for a Mesos master</h1>
<p>This is not Apache Mesos. It answers its HTTP APIs on machines without the binaries.
See <a href="/state">/state</a> and <a href="/metrics/snapshot">/metrics/snapshot</a>.</p>"""


def make_app(master: Master) -> Starlette:
    """The application of one master."""
    return Starlette(routes=_Routes(master).routes())


class _Routes:
    def __init__(self, master: Master) -> None:
        self._master = master

    def routes(self) -> list[Route]:
        leading: dict[str, _Read] = {
            "state": lambda lead, seen: legacy.state(seen, self._describe(lead)),
            "state.json": lambda lead, seen: legacy.state(seen, self._describe(lead)),
            "state-summary": lambda _, seen: legacy.state_summary(
                seen,
                hostname=self._master.settings.public_hostname,
                name=self._master.settings.cluster,
            ),
            "slaves": lambda _, seen: legacy.slaves(seen),
            "tasks": lambda _, seen: legacy.tasks(seen),
            "frameworks": lambda _, seen: legacy.frameworks(seen),
            "roles": lambda lead, seen: legacy.roles(
                seen, lead.core.document, lead.operator.known_roles()
            ),
            "quota": lambda lead, _: quota.status(lead.core.document),
            "weights": lambda lead, _: [
                {"role": role, "weight": weight}
                for role, weight in sorted(registry.section(lead.core.document, "weights").items())
            ],
            "maintenance/schedule": lambda lead, _: maintenance.schedule(lead.core.document),
            "maintenance/status": lambda lead, _: maintenance.status(lead.core.document),
        }
        routes = AgentApi(self._master, self._elsewhere).routes()
        for path, read in leading.items():
            routes.extend(_both(path, self._leading(path, read), "GET"))
        routes += [
            *_both("health", self._health, "GET"),
            *_both("redirect", self._redirect, "GET"),
            *_both("api/v1", self._operator, "POST"),
            *_both("api/v1/scheduler", self._scheduler, "POST"),
            *_both("flags", self._local(self._flags), "GET"),
            *_both(
                "version", self._local(lambda: {**values.BUILD, "version": values.VERSION}), "GET"
            ),
            *_both("machine/down", self._acting("START_MAINTENANCE", _machines), "POST"),
            *_both("machine/up", self._acting("STOP_MAINTENANCE", _machines), "POST"),
            *_both(
                "maintenance/schedule",
                self._acting("UPDATE_MAINTENANCE_SCHEDULE", lambda body: {"schedule": body}),
                "POST",
            ),
            *_both(
                "weights",
                self._acting("UPDATE_WEIGHTS", lambda body: {"weight_infos": body}),
                "PUT",
            ),
            *_both("teardown", self._teardown, "POST"),
            Route("/metrics/snapshot", self._local(self._master.metrics), methods=["GET"]),
            Route("/standin/log", self._log, methods=["POST"]),
            Route("/", self._page, methods=["GET"]),
        ]
        return routes

    # What any master answers

    async def _page(self, request: Request) -> Response:
        return HTMLResponse(_PAGE)

    async def _health(self, request: Request) -> Response:
        return Response(status_code=200)

    async def _redirect(self, request: Request) -> Response:
        leader = self._master.leader
        if leader is None:
            return PlainTextResponse("No leader elected", 503)
        return Response(status_code=307, headers={"Location": f"//{leader.address}"})

    def _flags(self) -> Json:
        return {"flags": flags.flags(self._master.settings)}

    def _local(self, read: Callable[[], Any]) -> _Endpoint:
        async def endpoint(request: Request) -> Response:
            refusal = self._refusal(request, _READONLY)
            refusal = refusal or self._forbidden(request, request.url.path)
            return refusal or JSONResponse(read())

        return endpoint

    # What only the leader answers

    def _leading(self, path: str, read: _Read) -> _Endpoint:
        async def endpoint(request: Request) -> Response:
            refusal = self._refusal(request, _READONLY) or self._elsewhere(f"/master/{path}")
            if refusal is not None:
                return refusal
            lead = self._master.leadership
            assert lead is not None
            view = self._master.access.view(lead.cluster, self._principal(request))
            return JSONResponse(read(lead, view))

        return endpoint

    def _refusal(self, request: Request, realm: str) -> Response | None:
        """401 where a credential is wanted and not given."""
        if realm == _SCHEDULER and not self._master.settings.authenticate_http_frameworks:
            return None
        if not self._master.access.is_asked or self._principal(request) is not None:
            return None
        return Response(status_code=401, headers={"WWW-Authenticate": f'Basic realm="{realm}"'})

    def _principal(self, request: Request) -> str | None:
        return self._master.access.principal(request.headers.get("authorization"))

    def _forbidden(self, request: Request, path: str) -> Response | None:
        """403 where rules keep somebody from an endpoint."""
        if self._master.access.allows("get_endpoints", self._principal(request), path):
            return None
        return Response(status_code=403)

    def _elsewhere(self, path: str) -> Response | None:
        """The answer of a master that does not lead, or not yet."""
        master = self._master
        if master.leader is None:
            return PlainTextResponse("No leader elected", 503)
        if not master.elected:
            return Response(
                status_code=307, headers={"Location": f"//{master.leader.address}{path}"}
            )
        if master.leadership is None:
            return PlainTextResponse("Master has not finished recovery", 503)
        return None

    def _describe(self, lead: Leadership) -> Json:
        master = self._master
        leader = {
            "id": master.id,
            "pid": master.pid,
            "port": master.settings.port,
            "hostname": master.settings.public_hostname,
        }
        described: Json = {
            "version": values.VERSION,
            **values.BUILD,
            "start_time": master.started_at,
            "elected_time": master.elected_at,
            "id": master.id,
            "pid": master.pid,
            "hostname": master.settings.public_hostname,
            "capabilities": list(values.MASTER_CAPABILITIES),
            **legacy.counts(lead.cluster),
            "leader": master.pid,
            "leader_info": leader,
        }
        if master.settings.cluster is not None:
            described["cluster"] = master.settings.cluster
        described["log_dir"] = str(master.settings.work_dir / "log")
        described["flags"] = flags.flags(master.settings)
        return described

    async def _operator(self, request: Request) -> Response:
        refusal = self._refusal(request, _READWRITE) or self._elsewhere("/master/api/v1")
        if refusal is not None:
            return refusal
        lead = self._master.leadership
        assert lead is not None
        try:
            call = operator_api.parse(await request.body())
            if call.get("type") == "SUBSCRIBE":
                return self._events(lead, self._principal(request))
            answer = await lead.operator.call(call, self._principal(request))
        except CallError as error:
            return PlainTextResponse(str(error), error.status)
        except (KeyError, TypeError, ValueError) as error:
            # A call whose fields are of other kinds than the protobuf's.
            return PlainTextResponse(f"Failed to convert JSON into Call protobuf: {error}", 400)
        return Response(status_code=200) if answer is None else JSONResponse(answer)

    def _acting(self, kind: str, wrap: Callable[[Any], Json]) -> _Endpoint:
        """An older endpoint that does what a call does; its body stands in the call."""

        async def endpoint(request: Request) -> Response:
            path = request.url.path.removeprefix("/master")
            refusal = self._refusal(request, _READWRITE) or self._elsewhere(f"/master{path}")
            if refusal is not None:
                return refusal
            lead = self._master.leadership
            assert lead is not None
            try:
                call = {"type": kind, kind.lower(): wrap(json.loads(await request.body()))}
                await lead.operator.call(call, self._principal(request))
            except CallError as error:
                return PlainTextResponse(str(error), error.status)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                return PlainTextResponse(f"Failed to parse the request: {error}", 400)
            return Response(status_code=200)

        return endpoint

    async def _teardown(self, request: Request) -> Response:
        refusal = self._refusal(request, _READWRITE) or self._elsewhere("/master/teardown")
        if refusal is not None:
            return refusal
        lead = self._master.leadership
        assert lead is not None
        form = parse_qs((await request.body()).decode(errors="replace"))
        if "frameworkId" not in form:
            return PlainTextResponse(
                "Missing 'frameworkId' query parameter in the request body", 400
            )
        body = {"framework_id": {"value": form["frameworkId"][0]}}
        try:
            lead.operator.teardown(body, self._principal(request))
        except CallError as error:
            return PlainTextResponse(str(error), error.status)
        return Response(status_code=200)

    def _events(self, lead: Leadership, principal: str | None) -> Response:
        stream = Stream()
        stream.send(
            {
                "type": "SUBSCRIBED",
                "subscribed": {
                    "get_state": render.state(self._master.access.view(lead.cluster, principal)),
                    "heartbeat_interval_seconds": self._master.settings.heartbeat_interval_s,
                },
            }
        )
        stream.send({"type": "HEARTBEAT"})
        access = self._master.access
        lead.cluster.subscribers.add(
            stream, lambda action, user: access.allows(action, principal, user)
        )
        return Streaming(
            streamed(stream, lambda: lead.cluster.subscribers.discard(stream)),
            media_type="application/json",
        )

    async def _scheduler(self, request: Request) -> Response:
        refusal = self._refusal(request, _SCHEDULER) or self._elsewhere("/master/api/v1/scheduler")
        if refusal is not None:
            return refusal
        lead = self._master.leadership
        assert lead is not None
        try:
            call: Json = json.loads(await request.body())
            if call.get("type") == "SUBSCRIBE":
                return self._subscribe(lead, call, self._principal(request))
            stream_id = request.headers.get("mesos-stream-id")
            await lead.scheduler.call(call, stream_id, self._principal(request))
        except CallError as error:
            return PlainTextResponse(str(error), error.status)
        except (KeyError, TypeError, ValueError) as error:
            return PlainTextResponse(f"Failed to parse body into Call protobuf: {error}", 400)
        return Response(status_code=202)

    def _subscribe(self, lead: Leadership, call: Json, principal: str | None) -> Response:
        stream, stream_id = Stream(), values.new_id()
        info = lead.scheduler.admit(call["subscribe"]["framework_info"], principal)
        # SUBSCRIBED has to be the first event: subscribing may cause others.
        suppressed: list[str] = call["subscribe"].get("suppressed_roles") or []
        framework = lead.core.frameworks.subscribe(info, stream, stream_id, suppressed)
        stream.send(
            {
                "type": "SUBSCRIBED",
                "subscribed": {
                    "framework_id": {"value": framework.id},
                    "heartbeat_interval_seconds": self._master.settings.heartbeat_interval_s,
                    "master_info": self._master.info,
                },
            }
        )
        framework.calls["SUBSCRIBE"] = framework.calls.get("SUBSCRIBE", 0) + 1
        return Streaming(
            streamed(stream, lambda: lead.core.frameworks.disconnect(framework, stream)),
            media_type="application/json",
            headers={"Mesos-Stream-Id": stream_id},
        )

    # Between the stand-in's own processes

    async def _log(self, request: Request) -> Response:
        return JSONResponse(self._master.replica.answer(await request.json()))


def _machines(body: Any) -> Json:
    """Machines come as a list or in a message, as people have written them."""
    return {"machines": body if isinstance(body, list) else body["machines"]}


def _both(path: str, endpoint: _Endpoint, method: str) -> list[Route]:
    """Every endpoint of the master process has a short and a full path."""
    return [
        Route(f"/{path}", endpoint, methods=[method]),
        Route(f"/master/{path}", endpoint, methods=[method]),
    ]
