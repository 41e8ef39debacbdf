"""Handlers of `/v2/apps`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from stacks.local.errors import ApiError
from stacks.local.marathon import render
from stacks.local.marathon.body import as_object, deployed, is_set, read_json, read_object
from stacks.local.marathon.definition import App, canonical, complete, versioned
from stacks.local.marathon.groups import Tree, is_below, updated_app
from stacks.local.marathon.instances import Instance, instance_id
from stacks.local.marathon.labels import selector
from stacks.local.mesos.values import Json

if TYPE_CHECKING:
    from stacks.local.marathon.service import Marathon

Handler = Callable[[Request], Awaitable[Response]]
Kill = Callable[[Request, list[Instance]], Awaitable[Response]]


class AppsRest:
    """Apps, their tasks and versions. `kill` is shared with `/v2/tasks`."""

    def __init__(self, marathon: Marathon, kill: Kill) -> None:
        self._marathon = marathon
        self._kill = kill

    def table(self) -> list[tuple[str, str, Handler]]:
        """Path, method, handler; the more particular first."""
        task = "/v2/apps/{path:path}/tasks"
        return [
            ("/v2/apps", "GET", self._list),
            ("/v2/apps", "POST", self._create),
            ("/v2/apps", "PUT", self._update_many),
            ("/v2/apps", "PATCH", self._update_many),
            (task, "GET", self._tasks),
            (task, "DELETE", self._kill_all),
            (f"{task}/{{task_id}}", "DELETE", self._kill_one),
            ("/v2/apps/{path:path}/versions", "GET", self._versions),
            ("/v2/apps/{path:path}/versions/{version}", "GET", self._version),
            ("/v2/apps/{path:path}/restart", "POST", self._restart),
            ("/v2/apps/{path:path}", "GET", self._show),
            ("/v2/apps/{path:path}", "PUT", self._replace),
            ("/v2/apps/{path:path}", "PATCH", self._patch),
            ("/v2/apps/{path:path}", "DELETE", self._delete),
        ]

    def _path(self, request: Request) -> str:
        return canonical(str(request.path_params["path"]))

    def _app(self, path: str) -> App:
        app = self._marathon.state.tree.apps.get(path)
        if app is None:
            raise ApiError.of(404, f"App '{path}' does not exist")
        return app

    # Reading

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        embed = set(query.getlist("embed"))
        command, name = query.get("cmd", "").lower(), query.get("id", "").lower()
        wanted = selector(query.get("label", ""))
        tasks = bool(embed & {"apps.tasks", "apps.failures"})
        shown = [
            render.app(self._marathon, app, tasks=tasks, failure=self._wants_failure(embed))
            for _, app in sorted(self._marathon.state.tree.apps.items())
            if command in str(app.definition.get("cmd", "")).lower()
            and name in app.id.lower()
            and wanted(app.labels)
        ]
        return JSONResponse({"apps": shown})

    @staticmethod
    def _wants_failure(embed: set[str]) -> bool:
        return bool(embed & {"apps.lastTaskFailure", "apps.failures"})

    async def _show(self, request: Request) -> Response:
        path = str(request.path_params["path"])
        if path.endswith("*"):
            group = canonical(path.removesuffix("*"))
            below = [a for n, a in sorted(self._marathon.state.tree.apps.items())
                     if is_below(n, group)]  # fmt: skip
            shown = [render.app(self._marathon, a, tasks=True, failure=True) for a in below]
            return JSONResponse({"*": shown})
        app = self._app(canonical(path))
        return JSONResponse({"app": render.app(self._marathon, app, tasks=True, failure=True)})

    async def _tasks(self, request: Request) -> Response:
        app = self._app(self._path(request))
        return JSONResponse(render.tasks(self._marathon, app.id))

    async def _versions(self, request: Request) -> Response:
        app = self._app(self._path(request))
        return JSONResponse({"versions": await self._marathon.state.store.versions(app.id)})

    async def _version(self, request: Request) -> Response:
        app, version = self._app(self._path(request)), str(request.path_params["version"])
        return JSONResponse((await self._stored(app.id, version)).rendered())

    async def _stored(self, path: str, version: str) -> App:
        found = await self._marathon.state.store.app(path, version)
        if found is None:
            raise ApiError.of(404, f"App '{path}' does not exist in version {version}")
        return found

    # Changing

    async def _create(self, request: Request) -> Response:
        definition = complete(self._with_role(await read_object(request)))
        path = str(definition["id"])
        if path in self._marathon.state.tree.apps:
            raise ApiError.of(409, f"An app with id [{path}] already exists.")
        self._publish(request, definition)
        plan = await self._marathon.change(
            lambda tree, version: tree.with_app(App(definition, version)),
            force=is_set(request, "force"),
        )
        app = plan.target.apps[path]
        shown = render.app(self._marathon, app, tasks=True)
        headers = {"Location": f"/v2/apps{path}", "Marathon-Deployment-Id": plan.id}
        return JSONResponse(shown, 201, headers=headers)

    def _with_role(self, body: Json) -> Json:
        """Apps that name no role get that of the framework."""
        return {"role": self._marathon.settings.mesos_role, **body}

    def _publish(self, request: Request, definition: Json) -> None:
        self._marathon.bus.publish(
            "api_post_event",
            clientIp=request.client.host if request.client is not None else "",
            uri=request.url.path,
            appDefinition=definition,
        )

    async def _replace(self, request: Request) -> Response:
        partial = is_set(request, "partialUpdate", default=True)
        return await self._update(request, partial=partial, create=True)

    async def _patch(self, request: Request) -> Response:
        return await self._update(request, partial=True, create=False)

    async def _update(self, request: Request, *, partial: bool, create: bool) -> Response:
        path, body = self._path(request), await read_object(request)
        is_new = path not in self._marathon.state.tree.apps
        if is_new and not create:
            self._app(path)
        make = await self._maker(path, body, partial=partial and not is_new)
        self._publish(request, {**body, "id": path})
        plan = await self._marathon.change(make, force=is_set(request, "force"))
        if is_new:
            return deployed(plan, 201, f"/v2/apps{path}")
        return deployed(plan)

    async def _maker(self, path: str, body: Json, *, partial: bool) -> Callable[[Tree, str], Tree]:
        """How a tree takes an update; one that names a version goes back to that."""
        wanted = body.get("version")
        if wanted is not None and set(body) <= {"id", "version"}:
            stored = await self._stored(path, str(wanted))

            def go_back(tree: Tree, version: str) -> Tree:
                return tree.with_app(versioned(tree.apps.get(path), stored.definition, version))

            return go_back
        given = {k: v for k, v in body.items() if k not in {"version", "versionInfo"}}
        if not partial:
            given = self._with_role(given)

        def update(tree: Tree, version: str) -> Tree:
            return tree.with_app(updated_app(tree, path, given, version, partial=partial))

        return update

    async def _update_many(self, request: Request) -> Response:
        body = await read_json(request)
        if not isinstance(body, list):
            details = [{"path": "", "errors": ["error.expected.jsarray"]}]
            raise ApiError(400, {"message": "Invalid JSON", "details": details})
        makers: list[Callable[[Tree, str], Tree]] = []
        partial = is_set(request, "partialUpdate", default=True) or request.method == "PATCH"
        for item in body:  # pyright: ignore[reportUnknownVariableType] - kinds are checked below
            one = as_object(item)
            path = canonical(str(one.get("id", "")))
            is_new = path not in self._marathon.state.tree.apps
            if is_new and request.method == "PATCH":
                self._app(path)
            makers.append(await self._maker(path, one, partial=partial and not is_new))

        def make(tree: Tree, version: str) -> Tree:
            for maker in makers:
                tree = maker(tree, version)
            return tree

        return deployed(await self._marathon.change(make, force=is_set(request, "force")))

    async def _delete(self, request: Request) -> Response:
        path = self._app(self._path(request)).id
        plan = await self._marathon.change(
            lambda tree, version: tree.without_app(path, version),
            force=is_set(request, "force", default=True),
        )
        return deployed(plan)

    async def _restart(self, request: Request) -> Response:
        path = self._app(self._path(request)).id

        def make(tree: Tree, version: str) -> Tree:
            return tree.with_app(
                replace(
                    tree.apps[path],
                    version=version,
                    last_scaling_at=version,
                    last_config_change_at=version,
                )
            )

        return deployed(await self._marathon.change(make, force=is_set(request, "force")))

    # Killing

    async def _kill_all(self, request: Request) -> Response:
        app = self._app(self._path(request))
        host = request.query_params.get("host")
        found = [i for i in self._marathon.state.of_app(app.id) if host in {None, "*", i.host}]
        return await self._kill(request, found)

    async def _kill_one(self, request: Request) -> Response:
        app, task_id = self._app(self._path(request)), str(request.path_params["task_id"])
        name = instance_id(task_id)
        found = [i for i in self._marathon.state.of_app(app.id) if i.id == name]
        if not found:
            raise ApiError.of(404, f"Task '{task_id}' does not exist")
        return await self._kill(request, found)
