"""Bodies of requests: JSON, or 400 in Marathon's words. And the switches of queries."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from stacks.local.errors import ApiError
from stacks.local.marathon.plan import Plan
from stacks.local.mesos.values import Json


async def read_json(request: Request) -> Any:
    """The body of a request.

    Raises:
        ApiError: it is no JSON.
    """
    try:
        return json.loads(await request.body())
    except ValueError as error:
        details = [{"path": "", "errors": [str(error)]}]
        raise ApiError(400, {"message": "Invalid JSON", "details": details}) from None


def as_object(body: Any) -> Json:
    """A JSON object.

    Raises:
        ApiError: it is something else.
    """
    if not isinstance(body, dict):
        details = [{"path": "", "errors": ["error.expected.jsobject"]}]
        raise ApiError(400, {"message": "Invalid JSON", "details": details})
    found: Json = body  # pyright: ignore[reportUnknownVariableType] - keys of JSON are text
    return found


async def read_object(request: Request) -> Json:
    """The body, a JSON object.

    Raises:
        ApiError: see `read_json`, `as_object`.
    """
    return as_object(await read_json(request))


def is_set(request: Request, name: str, *, default: bool = False) -> bool:
    """Whether a switch of the query is on."""
    return request.query_params.get(name, str(default).lower()) == "true"


def deployed(plan: Plan, status: int = 200, location: str | None = None) -> Response:
    """What a change answers."""
    body: Json = {"version": plan.version, "deploymentId": plan.id}
    headers = {"Marathon-Deployment-Id": plan.id}
    if location is not None:
        headers["Location"] = location
    return JSONResponse(body, status, headers=headers)
