"""Deployments: plans that run step by step, lock their apps, and may be cancelled.

The numbers of a rolling restart are those of Marathon's TaskReplaceActor: never fewer healthy
instances than `minimumHealthCapacity` asks for, never more in all than `maximumOverCapacity`
allows, and one more than that where both are the same. A plan is written down before its first
step, so that the next process goes on with it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from stacks.local.errors import ApiError
from stacks.local.marathon.definition import App, capacity
from stacks.local.marathon.instances import Instance, to_kill
from stacks.local.marathon.plan import Action, Kind, Plan, Step
from stacks.local.marathon.state import State
from stacks.local.mesos.values import Json

_LOOK_S = 1.0
_LOCKED = (
    "App is locked by one or more deployments. Override with the option '?force=true'. "
    "View details at '/v2/deployments/<DEPLOYMENT_ID>'."
)
_log = structlog.get_logger()


class Hands(Protocol):
    """What deployments need done."""

    async def kill(self, instances: Iterable[Instance]) -> None:
        """Kill instances."""
        ...

    async def ask_for_offers(self) -> None:
        """Something waits in the queue."""
        ...

    async def scale(self, app_id: str) -> None:
        """Bring an app to its number once no deployment owns it."""
        ...


@dataclass
class Running:
    """A plan under way; instances in `doomed` go first when an app is scaled down."""

    plan: Plan
    doomed: frozenset[str] = frozenset()
    index: int = 0
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    def rendered(self, state: State) -> Json:
        """As GET /v2/deployments answers it."""
        steps = self.plan.steps
        now = steps[min(self.index, len(steps) - 1)] if steps else ()
        return {
            "id": self.plan.id,
            "version": self.plan.version,
            "affectedApps": self.plan.affected,
            "affectedPods": [],
            "steps": [{"actions": [action.rendered() for action in step]} for step in steps],
            "currentActions": [_current(action, state) for action in now],
            "currentStep": self.index + 1,
            "totalSteps": len(steps),
        }


def _current(action: Action, state: State) -> Json:
    there = state.of_app(action.app.id)
    results = [i.readiness for i in there if i.readiness is not None]
    return {**action.rendered(), "readinessCheckResults": results}


class Deployments:
    """All plans under way."""

    def __init__(self, state: State, hands: Hands) -> None:
        self._state = state
        self._hands = hands
        self.running: dict[str, Running] = {}

    def of_app(self, app_id: str) -> list[str]:
        """Ids of plans that own an app."""
        return [name for name, one in self.running.items() if app_id in one.plan.affected]

    def locks(self, app_id: str) -> bool:
        """Whether a plan owns an app."""
        return bool(self.of_app(app_id))

    async def admit(self, plan: Plan, *, force: bool) -> None:
        """Make room for a plan: others that touch the same apps refuse it, or are cancelled.

        Raises:
            ApiError: 409 while an app is locked, 403 when too many run.
        """
        affected = set(plan.affected)
        conflicts = [n for n, one in self.running.items() if affected & set(one.plan.affected)]
        if conflicts and not force:
            ids = [{"id": name} for name in conflicts]
            raise ApiError(409, {"message": _LOCKED, "deployments": ids})
        most = self._state.settings.max_running_deployments
        if len(self.running) - len(conflicts) >= most:
            raise ApiError.of(
                403,
                f"Max number ({most}) of running deployments is achieved. Wait for existing "
                "deployments to complete or cancel one using force=true parameter. You can "
                "increase max deployment number by using --max_running_deployments parameter",
            )
        for name in conflicts:
            await self.cancel(name)

    def start(self, plan: Plan, doomed: Collection[str] = ()) -> None:
        """Run an admitted plan."""
        running = Running(plan, frozenset(doomed))
        self.running[plan.id] = running
        running.task = asyncio.create_task(self._run(running))

    async def cancel(self, plan_id: str) -> None:
        """Stop a plan where it stands; its apps stay as its target has them."""
        running = self.running.pop(plan_id, None)
        if running is None:
            return
        if running.task is not None:
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)
        await self._state.store.drop_plan(running.plan)
        self._state.bus.publish("deployment_failed", id=plan_id, plan=running.plan.rendered())

    async def stop(self) -> None:
        """Leave all plans to the next process."""
        tasks = [one.task for one in self.running.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, running: Running) -> None:
        plan, bus = running.plan, self._state.bus
        _log.info("deployment.started", id=plan.id, apps=len(plan.affected))
        for index, step in enumerate(plan.steps):
            running.index = index
            shown = plan.rendered()
            bus.publish("deployment_info", plan=shown, currentStep=_step(step))
            await asyncio.gather(*(self._act(action, running) for action in step))
            bus.publish("deployment_step_success", plan=shown, currentStep=_step(step))
        del self.running[plan.id]
        await self._state.store.drop_plan(plan)
        for path in sorted(set(plan.original.apps) - set(plan.target.apps)):
            if path not in self._state.tree.apps:
                await self._state.store.drop_app(path)
        bus.publish("deployment_success", id=plan.id, plan=plan.rendered())
        _log.info("deployment.succeeded", id=plan.id)
        for path in plan.affected:
            await self._hands.scale(path)

    async def _act(self, action: Action, running: Running) -> None:
        match action.kind:
            case Kind.START:
                self._state.queue.reset_delay(action.app.id)
            case Kind.SCALE:
                await self._scale(action.app, running.doomed)
            case Kind.RESTART:
                await self._restart(action.app)
            case Kind.STOP:
                await self._stop(action.app)

    async def _stop(self, app: App) -> None:
        self._state.queue.purge(app.id)
        self._state.queue.reset_delay(app.id)
        while there := self._state.of_app(app.id):
            await self._hands.kill([i for i in there if not i.killing])
            await self._state.wait(_LOOK_S)
        self._state.failures.pop(app.id, None)
        self._state.bus.publish("app_terminated_event", appId=app.id)

    async def _scale(self, app: App, doomed: Collection[str]) -> None:
        await self._hands.kill(
            [i for i in self._state.of_app(app.id) if i.id in doomed and not i.killing]
        )
        while True:
            there = self._state.of_app(app.id)
            counted = [i for i in there if i.counts]
            serving = sum(1 for i in counted if i.is_serving(app))
            going = any(i.killing for i in there)
            if serving == app.instances == len(counted) and not going:
                self._state.queue.purge(app.id)
                return
            missing = app.instances - len(counted)
            self._state.queue.set(app, missing)
            if missing > 0:
                await self._hands.ask_for_offers()
            elif missing < 0:
                await self._hands.kill(to_kill(app, counted, -missing))
            await self._state.wait(_LOOK_S)

    async def _restart(self, app: App) -> None:
        self._state.queue.purge(app.id)
        self._state.queue.reset_delay(app.id)
        running = sum(1 for i in self._state.of_app(app.id) if i.counts)
        least, most = capacity(app)
        if least == most and most <= running:
            # Nothing could move: one more than allowed, for a while.
            most += 1
        while True:
            there = self._state.of_app(app.id)
            new = [i for i in there if i.version == app.config_version]
            old = [i for i in there if i.version != app.config_version]
            serving = sum(1 for i in new if i.is_serving(app))
            if not old and serving == app.instances == len([i for i in new if i.counts]):
                self._state.queue.purge(app.id)
                return
            await self._retire(app, old, keep=math.ceil(max(0, least - serving)))
            counted = sum(1 for i in new if i.counts)
            missing = max(0, min(app.instances - counted, most - len(old) - len(new)))
            self._state.queue.set(app, missing)
            if missing:
                await self._hands.ask_for_offers()
            elif counted > app.instances:
                surplus = [i for i in new if i.counts]
                await self._hands.kill(to_kill(app, surplus, counted - app.instances))
            await self._state.wait(_LOOK_S)

    async def _retire(self, app: App, old: list[Instance], *, keep: int) -> None:
        left = [i for i in old if i.counts]
        gone = [i for i in old if not i.counts and not i.killing]
        await self._hands.kill([*gone, *to_kill(app, left, max(0, len(left) - keep))])


def _step(step: Step) -> Json:
    return {"actions": [action.rendered() for action in step]}
