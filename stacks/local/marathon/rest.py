"""Handlers of `/v2`: queue, tasks, deployments, leader and info; apps and groups have their own.

Statuses are Marathon's: 200 with a deployment for changes, 201 for what is new, 202 for a forced
cancellation, 404 for what is not there, 409 for locked apps, 422 for what cannot be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from stacks.local.errors import ApiError
from stacks.local.marathon import plan as plans
from stacks.local.marathon import render
from stacks.local.marathon.body import deployed, is_set, read_object
from stacks.local.marathon.definition import App, canonical, versioned
from stacks.local.marathon.instances import Instance, instance_id
from stacks.local.marathon.rest_apps import AppsRest
from stacks.local.marathon.rest_groups import GroupsRest

if TYPE_CHECKING:
    from stacks.local.marathon.service import Marathon

Handler = Callable[[Request], Awaitable[Response]]


class Rest:
    """Everything below `/v2` but the event stream."""

    def __init__(self, marathon: Marathon) -> None:
        self._marathon = marathon
        self._apps = AppsRest(marathon, self.kill)
        self._groups = GroupsRest(marathon)

    def table(self) -> list[tuple[str, str, Handler]]:
        """Path, method, handler; the first that matches answers."""
        return [
            *self._apps.table(),
            *self._groups.table(),
            ("/v2/deployments", "GET", self._deployments),
            ("/v2/deployments/{id}", "DELETE", self._cancel),
            ("/v2/queue", "GET", self._queue),
            ("/v2/queue/{path:path}/delay", "DELETE", self._reset_delay),
            ("/v2/tasks", "GET", self._tasks),
            ("/v2/tasks/delete", "POST", self._delete_tasks),
            ("/v2/leader", "GET", self._leader),
            ("/v2/leader", "DELETE", self._abdicate),
            ("/v2/info", "GET", self._info),
        ]

    # Deployments

    async def _deployments(self, _: Request) -> Response:
        marathon = self._marathon
        shown = [one.rendered(marathon.state) for one in marathon.deployments.running.values()]
        return JSONResponse(shown)

    async def _cancel(self, request: Request) -> Response:
        marathon, plan_id = self._marathon, str(request.path_params["id"])
        running = marathon.deployments.running.get(plan_id)
        if running is None:
            raise ApiError.of(404, f"DeploymentPlan {plan_id} does not exist")
        if is_set(request, "force"):
            await marathon.deployments.cancel(plan_id)
            return Response(status_code=202)
        plan = running.plan
        back = await marathon.change(
            lambda tree, version: plans.revert(plan, tree, version), force=True
        )
        return deployed(back)

    # Queue

    async def _queue(self, request: Request) -> Response:
        unused = "lastUnusedOffers" in request.query_params.getlist("embed")
        return JSONResponse(self._marathon.state.queue.rendered(unused=unused))

    async def _reset_delay(self, request: Request) -> Response:
        app_id = canonical(str(request.path_params["path"]))
        if app_id not in self._marathon.state.queue.waiting:
            raise ApiError.of(404, f"Application {app_id} not found in tasks queue.")
        self._marathon.state.queue.reset_delay(app_id)
        await self._marathon.scheduler.ask_for_offers()
        return Response(status_code=204)

    # Tasks

    async def _tasks(self, request: Request) -> Response:
        return JSONResponse(render.tasks(self._marathon, None, request.query_params.get("status")))

    async def _delete_tasks(self, request: Request) -> Response:
        body = await read_object(request)
        ids = {instance_id(str(one)) for one in body.get("ids", ())}
        found = [one for name, one in self._marathon.state.instances.items() if name in ids]
        return await self.kill(request, found, whole=True)

    async def kill(
        self, request: Request, instances: list[Instance], *, whole: bool = False
    ) -> Response:
        """Kill instances; `scale` takes their number off the app, `wipe` forgets them at once."""
        marathon = self._marathon
        if is_set(request, "scale"):
            return await self._kill_and_scale(request, instances)
        if is_set(request, "wipe"):
            for instance in instances:
                await marathon.scheduler.kill([instance])
                await marathon.state.expunge(instance)
                await marathon.scheduler.scale(instance.app_id)
        else:
            await marathon.scheduler.kill(instances)
        shown = [instance.rendered() for instance in instances]
        if whole or len(instances) != 1 or "task_id" not in request.path_params:
            return JSONResponse({"tasks": shown})
        return JSONResponse({"task": shown[0]})

    async def _kill_and_scale(self, request: Request, instances: list[Instance]) -> Response:
        counts: dict[str, int] = {}
        for instance in instances:
            counts[instance.app_id] = counts.get(instance.app_id, 0) + 1
        marathon = self._marathon

        def smaller(app: App, version: str) -> App:
            left = max(0, app.instances - counts[app.id])
            return versioned(app, {**app.definition, "instances": left}, version)

        plan = await marathon.change(
            lambda tree, version: tree.with_apps(
                {a: smaller(tree.apps[a], version) for a in counts if a in tree.apps}
            ),
            force=is_set(request, "force"),
            doomed={instance.id for instance in instances},
        )
        return deployed(plan)

    # Leader and info

    async def _leader(self, _: Request) -> Response:
        leader = self._marathon.latch.leader
        if leader is None:
            raise ApiError.of(404, "There is no leader")
        return JSONResponse({"leader": leader})

    async def _abdicate(self, _: Request) -> Response:
        self._marathon.abdicate()
        return JSONResponse({"message": "Leadership abdicated"})

    async def _info(self, _: Request) -> Response:
        return JSONResponse(render.info(self._marathon))
