"""The sample framework's own HTTP interface: what it has, and requests to move tasks.

Reading is free. What starts or ends tasks wants the credential that the framework itself uses with
masters: whoever may ask for tasks here has the same power over them as an operator.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from stacks.local import credential
from stacks.local.sample.link import Json
from stacks.local.sample.roster import Step
from stacks.local.sample.scheduler import Scheduler

_ACCEPTED = 202
_REALM = "sample-framework"
_Endpoint = Callable[[Request], Awaitable[Response]]


class CanaryRequest(BaseModel):
    """Body of POST /canary."""

    model_config = ConfigDict(extra="forbid")

    agent_id: str | None = None
    agent_hostname: str | None = None
    agent_port: int | None = None
    limited: bool = False
    """Whether it has to find itself within the limits of its resources."""
    timeout_s: float = Field(default=60.0, gt=0, le=600)


def state(scheduler: Scheduler) -> Json:
    """GET /state."""
    roster = scheduler.roster
    tasks = [
        {
            "id": task.id,
            "agent_id": task.agent_id,
            "agent_hostname": task.agent_hostname,
            "pid": task.pid,
            "state": task.state,
            "healthy": task.is_healthy,
            "started_at": task.started_at,
        }
        for task in roster.tasks.values()
    ]
    return {
        "name": scheduler.settings.name,
        "framework_id": roster.framework_id,
        "leader": scheduler.leader and scheduler.leader.address,
        "registered_with": scheduler.link.connected_to,
        "subscribed_at": scheduler.subscribed_at,
        "subscriptions": scheduler.subscriptions,
        "target": scheduler.settings.tasks,
        "healthy": sum(1 for task in tasks if task["healthy"]),
        "tasks": tasks,
        "update_counts": dict(scheduler.counts),
        "updates_file": str(scheduler.settings.work_dir / "updates.jsonl"),
        "canaries": scheduler.reports.told(),
        "replacements": [asdict(r) for r in roster.replacements.values()],
        "at": round(time.time(), 6),
    }


def make_app(scheduler: Scheduler) -> Starlette:
    """The application."""

    async def health(_: Request) -> Response:
        connected = scheduler.link.connected_to is not None
        return PlainTextResponse("ok" if connected else "not subscribed", 200)

    async def show(_: Request) -> Response:
        if not scheduler.roster.is_loaded:
            # Whoever asks now must not take a framework that still reads for one without tasks.
            return PlainTextResponse("expected a roster, it is still being read: ask again", 503)
        return JSONResponse(state(scheduler))

    async def replace(request: Request) -> Response:
        task_id = str(request.path_params["task_id"])
        replacement = await scheduler.replace(task_id)
        if replacement is None:
            return PlainTextResponse(f"expected a task of this framework, saw {task_id!r}", 404)
        done = replacement.step is Step.DONE
        return JSONResponse(asdict(replacement), 200 if done else _ACCEPTED)

    async def canary(request: Request) -> Response:
        try:
            wanted = CanaryRequest.model_validate_json(await request.body() or b"{}")
        except ValidationError as error:
            return PlainTextResponse(str(error), 400)
        result = await scheduler.canary(
            wanted.model_dump(exclude={"limited", "timeout_s"}, exclude_none=True),
            wanted.timeout_s,
            limited=wanted.limited,
        )
        return JSONResponse(result, 200 if result["ok"] else 504)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/state", show),
            Route("/tasks/{task_id}/replace", _guarded(scheduler, replace), methods=["POST"]),
            Route("/canary", _guarded(scheduler, canary), methods=["POST"]),
        ]
    )


def _guarded(scheduler: Scheduler, endpoint: _Endpoint) -> _Endpoint:
    async def checked(request: Request) -> Response:
        if not credential.admits(scheduler.credential, request.headers.get("authorization")):
            return Response(status_code=401, headers=credential.challenge(_REALM))
        return await endpoint(request)

    return checked
