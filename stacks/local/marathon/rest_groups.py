"""Handlers of `/v2/groups`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from stacks.local.errors import ApiError
from stacks.local.marathon import render
from stacks.local.marathon.body import deployed, is_set, read_object
from stacks.local.marathon.definition import canonical
from stacks.local.marathon.groups import ROOT, update
from stacks.local.mesos.values import Json

if TYPE_CHECKING:
    from stacks.local.marathon.service import Marathon

_OK = 200
Handler = Callable[[Request], Awaitable[Response]]


class GroupsRest:
    """Groups."""

    def __init__(self, marathon: Marathon) -> None:
        self._marathon = marathon

    def table(self) -> list[tuple[str, str, Handler]]:
        """Path, method, handler; the more particular first."""
        return [
            ("/v2/groups", "GET", self._show),
            ("/v2/groups", "POST", self._create),
            ("/v2/groups", "PUT", self._update),
            ("/v2/groups", "PATCH", self._update),
            ("/v2/groups", "DELETE", self._delete),
            ("/v2/groups/{path:path}/versions", "GET", self._versions),
            ("/v2/groups/{path:path}", "GET", self._show),
            ("/v2/groups/{path:path}", "POST", self._create),
            ("/v2/groups/{path:path}", "PUT", self._update),
            ("/v2/groups/{path:path}", "PATCH", self._update),
            ("/v2/groups/{path:path}", "DELETE", self._delete),
        ]

    def _path(self, request: Request) -> str:
        return canonical(str(request.path_params.get("path", "")))

    def _require(self, path: str) -> None:
        if not self._marathon.state.tree.has_group(path):
            raise ApiError.of(404, f"Group '{path}' does not exist")

    async def _show(self, request: Request) -> Response:
        path = self._path(request)
        self._require(path)
        embed = set(request.query_params.getlist("embed"))
        counts = any(one.startswith(("group.apps.", "apps.")) for one in embed)
        return JSONResponse(render.group(self._marathon, path, counts=counts))

    async def _versions(self, request: Request) -> Response:
        self._require(self._path(request))
        return JSONResponse([self._marathon.state.tree.version])

    async def _create(self, request: Request) -> Response:
        body = await read_object(request)
        path = canonical(str(body.get("id", "")), self._path(request))
        tree = self._marathon.state.tree
        if path in tree.groups or path in tree.apps:
            raise ApiError.of(
                409, f"Group {path} is already created. Use PUT to change this group."
            )
        return await self._apply(request, path, body, status=201)

    async def _update(self, request: Request) -> Response:
        body = await read_object(request)
        path = self._path(request)
        if path == ROOT:
            # A PUT to the root may name the group in its body.
            path = canonical(str(body.get("id", "")), path)
        return await self._apply(request, path, body, status=_OK)

    async def _apply(self, request: Request, path: str, body: Json, *, status: int) -> Response:
        plan = await self._marathon.change(
            lambda tree, version: update(tree, path, self._with_roles(body), version),
            force=is_set(request, "force"),
            dry_run=is_set(request, "dryRun"),
            group=path,
        )
        if is_set(request, "dryRun"):
            return JSONResponse({"steps": plan.rendered(light=True)["steps"]})
        return deployed(plan, status, None if status == _OK else f"/v2/groups{path}")

    def _with_roles(self, body: Json) -> Json:
        """Apps that name no role get that of the framework."""
        made = dict(body)
        role = self._marathon.settings.mesos_role
        if body.get("apps") is not None:
            made["apps"] = [{"role": role, **app} for app in body["apps"]]
        if body.get("groups") is not None:
            made["groups"] = [self._with_roles(group) for group in body["groups"]]
        return made

    async def _delete(self, request: Request) -> Response:
        path = self._path(request)
        self._require(path)
        plan = await self._marathon.change(
            lambda tree, version: tree.without_group(path, version),
            force=is_set(request, "force"),
            group=path,
        )
        return deployed(plan)
