"""Marathon as a framework: launches on offers, follows statuses, kills, reconciles.

Its habits are those that endanger migrations, and they are kept on purpose:

- when the subscription ends or another master leads, the process ends (its supervisor restarts it);
- some seconds after it leads it asks masters what became of every task it knows;
- TASK_UNKNOWN ends an instance, which is replaced at once;
- a task that it does not know, such as the original that comes back later, is killed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from components.marathon.flags import TASK_KILLING
from stacks.local.marathon.definition import App
from stacks.local.marathon.instances import (
    ENDED,
    FAILURES,
    Instance,
    instance_id,
    new_instance,
    timestamp,
    to_kill,
)
from stacks.local.marathon.matching import (
    Left,
    attributes_of,
    host_ports,
    reason_against,
    task_info,
)
from stacks.local.marathon.notices import Notices
from stacks.local.marathon.state import State
from stacks.local.mesos.values import Json, part, value
from stacks.local.sample.link import Link

_ACCEPT_REFUSE_S = 0.5
_KEPT_ON_DRAIN = "REASON_AGENT_DRAINING"
_log = structlog.get_logger()


class Scheduler:
    """The framework's side of Marathon. `fail` ends the process."""

    def __init__(self, state: State, *, fail: Callable[[str, int], Any]) -> None:
        self._state = state
        self._fail = fail
        self._revived_at = 0.0
        self._suppressed = False
        self._reconcile_at: float | None = None
        self._scale_at: float | None = None
        self._killed_at: dict[str, float] = {}
        self._notices = Notices(state)

    def join(self, link: Link, locked: Callable[[str], bool]) -> None:
        """Give it its connection, and who tells whether a deployment owns an app."""
        self._link = link
        self._locked = locked

    # Subscription

    def info(self) -> Json:
        """FrameworkInfo to subscribe with."""
        settings = self._state.settings
        capabilities = ["MULTI_ROLE", "PARTITION_AWARE"]
        if TASK_KILLING in settings.features:
            capabilities.append("TASK_KILLING_STATE")
        info: Json = {
            "user": settings.mesos_user,
            "name": settings.framework_name,
            "failover_timeout": settings.failover_timeout_s,
            "checkpoint": True,
            "hostname": settings.hostname or settings.listener.host,
            "webui_url": f"http://{settings.host_port}",
            "roles": [settings.mesos_role],
            "capabilities": [{"type": name} for name in capabilities],
        }
        if self._state.framework_id is not None:
            info["id"] = {"value": self._state.framework_id}
        return info

    async def handle(self, event: Json) -> None:
        """Take one event of the master."""
        match event["type"]:
            case "SUBSCRIBED":
                await self._note_subscribed(event["subscribed"])
            case "OFFERS":
                await self._note_offers(event["offers"]["offers"])
            case "UPDATE":
                await self._note_update(event["update"]["status"])
            case "ERROR":
                self._fail(f"Error from the master: {event['error']['message']}", 106)
            case _:
                pass

    async def _call(self, kind: str, body: Json | None = None) -> bool:
        framework_id = self._state.framework_id
        return framework_id is not None and await self._link.call(kind, framework_id, body)

    async def _note_subscribed(self, body: Json) -> None:
        state, framework_id = self._state, str(body["framework_id"]["value"])
        master = self._link.connected_to
        if state.framework_id is None:
            await state.store.keep_framework_id(framework_id)
            state.framework_id = framework_id
            state.bus.publish("scheduler_registered_event", frameworkId=framework_id, master=master)
        else:
            state.bus.publish("scheduler_reregistered_event", master=master)
        now, settings = time.monotonic(), state.settings
        self._reconcile_at = now + settings.reconciliation_initial_delay_ms / 1000
        self._scale_at = now + settings.scale_apps_initial_delay_ms / 1000
        self._suppressed = False
        _log.info("framework.subscribed", id=framework_id, master=master)
        await self.ask_for_offers()

    # Offers

    async def ask_for_offers(self) -> None:
        """Revive while something waits, at most so often; suppress when nothing does."""
        now = time.monotonic()
        least_s = self._state.settings.min_revive_offers_interval_ms / 1000
        if self._state.queue.wants_offers():
            if now - self._revived_at >= least_s and await self._call("REVIVE"):
                self._revived_at, self._suppressed = now, False
        elif not self._state.queue.waiting and not self._suppressed:
            self._suppressed = await self._call("SUPPRESS")

    async def _note_offers(self, offers: list[Json]) -> None:
        for offer in offers:
            launches = await self._match(offer)
            ids = [offer["id"]]
            if launches:
                operation = {"type": "LAUNCH", "launch": {"task_infos": launches}}
                filters = {"refuse_seconds": _ACCEPT_REFUSE_S}
                body: Json = {"offer_ids": ids, "operations": [operation], "filters": filters}
                await self._call("ACCEPT", body)
            else:
                seconds = self._state.settings.decline_offer_duration_ms / 1000
                filters = {"refuse_seconds": seconds}
                await self._call("DECLINE", {"offer_ids": ids, "filters": filters})

    async def _match(self, offer: Json) -> list[Json]:
        """Tasks for an offer, from one app after the other until nothing fits any more."""
        queue, left = self._state.queue, Left.of(offer)
        launches: list[Json] = []
        matched = True
        while matched:
            matched = False
            for waiting in list(queue.waiting.values()):
                if queue.delay_s(waiting.app.id) > 0 or not self._may_launch(len(launches)):
                    continue
                placed = [i for i in self._state.of_app(waiting.app.id) if i.counts]
                same = [i for i in placed if i.version == waiting.app.config_version]
                reason = reason_against(waiting.app, offer, left, same)
                waiting.note(offer, reason)
                if reason is None:
                    launches.append(await self._launch(waiting.app, offer, left))
                    matched = True
        return launches

    def _may_launch(self, count: int) -> bool:
        settings = self._state.settings
        return count < settings.max_instances_per_offer and self._state.queue.has_token()

    async def _launch(self, app: App, offer: Json, left: Left) -> Json:
        chosen = host_ports(app, left.ports) or []
        instance = new_instance(app, offer, chosen, attributes_of(offer))
        left.take(app, chosen)
        self._state.queue.launched(app.id)
        await self._state.add(instance)
        self._notices.instance(instance, "Provisioned")
        return task_info(app, instance, offer)

    # Statuses

    async def _note_update(self, status: Json) -> None:
        task_id, task_state = str(status["task_id"]["value"]), str(status["state"])
        instance = self._state.instances.get(instance_id(task_id))
        if instance is None:
            await self._note_unknown(task_id, task_state, status)
        elif task_state in ENDED:
            await self._note_end(instance, task_state, status)
        elif task_state == "TASK_UNREACHABLE":
            await self._note_unreachable(instance, status)
        else:
            await self._note_alive(instance, task_state, status)
        if status.get("uuid") is not None:
            keys = ("agent_id", "task_id", "uuid")
            await self._call("ACKNOWLEDGE", {key: status[key] for key in keys})

    async def _note_unknown(self, task_id: str, task_state: str, status: Json) -> None:
        """A task that nobody remembers is killed: also the original that has come back."""
        if task_state in ENDED or task_state == "TASK_UNREACHABLE":
            return
        _log.warning("task.unknown_killed", task=task_id, state=task_state)
        body: Json = {"task_id": {"value": task_id}}
        agent_id = value(status, "agent_id")
        if agent_id:
            body["agent_id"] = {"value": agent_id}
        await self._call("KILL", body)

    async def _note_end(self, instance: Instance, task_state: str, status: Json) -> None:
        state, app = self._state, self._state.tree.apps.get(instance.app_id)
        instance.state = task_state
        self._killed_at.pop(instance.id, None)
        _log.info(
            "task.ended", task=instance.task_id, state=task_state, reason=status.get("reason")
        )
        drained = status.get("reason") == _KEPT_ON_DRAIN
        if task_state in FAILURES and not drained:
            await self._note_failure(instance, task_state, status)
        if app is not None and not drained and task_state in FAILURES | {"TASK_FINISHED"}:
            state.queue.note_failure(app)
        await state.expunge(instance)
        self._notices.status(instance, status)
        await self.scale(instance.app_id)

    async def _note_failure(self, instance: Instance, task_state: str, status: Json) -> None:
        failure = {
            "appId": instance.app_id,
            "host": instance.host,
            "message": str(status.get("message", "")),
            "state": task_state,
            "taskId": instance.task_id,
            "timestamp": timestamp(),
            "version": instance.version,
            "slaveId": instance.agent_id,
        }
        self._state.failures[instance.app_id] = failure
        await self._state.store.keep_failure(instance.app_id, failure)

    async def _note_unreachable(self, instance: Instance, status: Json) -> None:
        if instance.unreachable_since is None:
            nanoseconds = part(status, "unreachable_time").get("nanoseconds")
            instance.unreachable_since = time.time() if nanoseconds is None else nanoseconds / 1e9
        instance.state = "TASK_UNREACHABLE"
        self._notices.status(instance, status)
        await self._state.keep(instance)
        await self._apply_unreachable(instance)

    async def _apply_unreachable(self, instance: Instance) -> None:
        """Replace, then forget, a task that nobody reaches, when its app says so."""
        state, app = self._state, self._state.tree.apps.get(instance.app_id)
        overdue_s = state.overdue_s(instance)
        if app is None or overdue_s is None:
            return
        strategy: Any = app.definition["unreachableStrategy"]
        if strategy == "disabled":
            return
        if overdue_s >= float(strategy["expungeAfterSeconds"]):
            await state.expunge(instance)
        elif overdue_s >= float(strategy["inactiveAfterSeconds"]) and not instance.is_inactive:
            instance.is_inactive = True
            await state.keep(instance)
        else:
            return
        self._notices.instance(instance, "UnreachableInactive")
        await self.scale(instance.app_id)

    async def _note_alive(self, instance: Instance, task_state: str, status: Json) -> None:
        was = (instance.state, instance.is_inactive, instance.healthy)
        if task_state == "TASK_RUNNING" and instance.started_at is None:
            instance.started_at = timestamp(status.get("timestamp"))
            self._state.queue.confirmed()
        instance.state = task_state
        instance.unreachable_since, instance.is_inactive = None, False
        networks: list[Json] = part(status, "container_status").get("network_infos") or []
        for network in networks[:1]:
            addresses: list[Json] = network.get("ip_addresses") or [{}]
            instance.ip_address = addresses[0].get("ip_address")
        if "healthy" in status:
            self._notices.health_of_task(instance, is_healthy=bool(status["healthy"]))
        if was != (instance.state, instance.is_inactive, instance.healthy):
            self._notices.status(instance, status)
            await self._state.keep(instance)
        if was[0] == "TASK_UNREACHABLE":
            await self.scale(instance.app_id)

    # Numbers

    async def scale(self, app_id: str) -> None:
        """Bring an app to its number of instances, unless a deployment does."""
        if self._locked(app_id):
            self._state.touch()
            return
        app = self._state.tree.apps.get(app_id)
        there = [i for i in self._state.of_app(app_id) if i.counts]
        if app is None:
            self._state.queue.purge(app_id)
            await self.kill(there)
            return
        missing = app.instances - len(there)
        self._state.queue.set(app, missing)
        if missing < 0:
            await self.kill(to_kill(app, there, -missing))
        elif missing > 0:
            await self.ask_for_offers()

    async def kill(self, instances: Iterable[Instance]) -> None:
        """Kill instances; the end comes as a status."""
        for instance in instances:
            instance.killing = True
            await self._kill(instance)

    async def _kill(self, instance: Instance) -> None:
        self._killed_at[instance.id] = time.monotonic()
        app = self._state.tree.apps.get(instance.app_id)
        body: Json = {
            "task_id": {"value": instance.task_id},
            "agent_id": {"value": instance.agent_id},
        }
        grace_s = None if app is None else app.definition.get("taskKillGracePeriodSeconds")
        if grace_s is not None:
            body["kill_policy"] = {"grace_period": {"nanoseconds": int(float(grace_s) * 1e9)}}
        await self._call("KILL", body)

    # Time

    async def tick(self) -> None:
        """One look at the clock; called about every second while subscribed."""
        if self._link.connected_to is None or self._reconcile_at is None:
            return
        now, settings = time.monotonic(), self._state.settings
        if now >= self._reconcile_at:
            self._reconcile_at = now + settings.reconciliation_interval_ms / 1000
            await self._reconcile()
        if self._scale_at is not None and now >= self._scale_at:
            self._scale_at = now + settings.scale_apps_interval_ms / 1000
            for app_id in sorted({*self._state.tree.apps, *self._state.app_ids()}):
                await self.scale(app_id)
        for instance in list(self._state.instances.values()):
            await self._look_at(instance, now)
        await self.ask_for_offers()

    async def _look_at(self, instance: Instance, now: float) -> None:
        settings = self._state.settings
        if instance.state == "TASK_UNREACHABLE":
            await self._apply_unreachable(instance)
        killed_at = self._killed_at.get(instance.id)
        if killed_at is not None and now - killed_at >= settings.kill_retry_timeout_ms / 1000:
            await self._kill(instance)
        is_late = instance.state in {"TASK_STAGING", "TASK_STARTING"} and (
            timestamp(time.time() - settings.task_launch_timeout_ms / 1000) > instance.staged_at
        )
        if is_late and not instance.killing:
            _log.warning("task.overdue_killed", task=instance.task_id)
            await self.kill([instance])

    async def _reconcile(self) -> None:
        asked: list[Any] = [
            {"task_id": {"value": one.task_id}, "agent_id": {"value": one.agent_id}}
            for one in self._state.instances.values()
        ]
        _log.info("reconciliation.asked", tasks=len(asked))
        if asked:
            await self._call("RECONCILE", {"tasks": asked})
        await self._call("RECONCILE", {"tasks": []})
