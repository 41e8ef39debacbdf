"""Health and readiness checks that Marathon itself makes: HTTP, HTTPS and TCP.

A failure counts once a check has succeeded, or after the grace period; after
`maxConsecutiveFailures` of them the instance is killed, unless its agent cannot be reached.
COMMAND and MESOS_* checks are made by the executor and come as statuses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from datetime import datetime
from typing import TYPE_CHECKING, Any

import structlog

from stacks.local.marathon.definition import App
from stacks.local.marathon.instances import CheckResult, Instance, timestamp
from stacks.local.marathon.matching import check_port
from stacks.local.marathon.state import State
from stacks.local.mesos.values import Json

if TYPE_CHECKING:
    import httpx

    from stacks.local.marathon.deployments import Hands

_OWN = frozenset({"HTTP", "HTTPS", "TCP"})
# As many at once as `--max_concurrent_marathon_health_checks`.
_AT_ONCE_MAX = 256
_LOOK_S = 0.2
_OK, _REDIRECT_END = 200, 400
_log = structlog.get_logger()


class HealthChecker:
    """Looks at every instance that has something to look at."""

    def __init__(self, state: State, hands: Hands, client: httpx.AsyncClient) -> None:
        self._state = state
        self._hands = hands
        self._client = client
        self._due: dict[tuple[str, str], float] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE_MAX)
        self._work: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Never returns."""
        try:
            while True:
                self._look()
                await asyncio.sleep(_LOOK_S)
        finally:
            for task in self._work:
                task.cancel()

    def _look(self) -> None:
        now = time.monotonic()
        live: set[tuple[str, str]] = set()
        for app in list(self._state.tree.apps.values()):
            if not app.health_checks and not app.readiness_checks:
                continue
            for instance in self._state.of_app(app.id):
                if instance.is_running and instance.version == app.config_version:
                    live |= self._look_at(app, instance, now)
        self._due = {key: at for key, at in self._due.items() if key in live}

    def _look_at(self, app: App, instance: Instance, now: float) -> set[tuple[str, str]]:
        keys: set[tuple[str, str]] = set()
        for index, check in enumerate(app.health_checks):
            if check["protocol"] not in _OWN:
                continue
            key = (instance.id, str(index))
            keys.add(key)
            if now >= self._due.get(key, 0.0):
                self._due[key] = now + float(check["intervalSeconds"])
                self._spawn(self._check(app, instance, index, check))
        if not instance.is_ready:
            for check in app.readiness_checks:
                key = (instance.id, "ready")
                keys.add(key)
                if now >= self._due.get(key, 0.0):
                    self._due[key] = now + float(check["intervalSeconds"])
                    self._spawn(self._check_ready(app, instance, check))
        return keys

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    # Asking

    async def _ask(self, check: Json, instance: Instance) -> str | None:
        """Make a check; what went wrong, or None."""
        import httpx

        port, timeout_s = check_port(check, instance), float(check["timeoutSeconds"])
        if port is None:
            return "no port to look at"
        host = instance.ip_address or instance.host
        async with self._slots:
            try:
                if check["protocol"] == "TCP":
                    async with asyncio.timeout(timeout_s):
                        _, writer = await asyncio.open_connection(host, port)
                    writer.close()
                    return None
                scheme = str(check["protocol"]).lower()
                url = f"{scheme}://{host}:{port}{check.get('path', '/')}"
                answer = await self._client.get(url, timeout=timeout_s)
            except (httpx.HTTPError, OSError, TimeoutError) as error:
                return f"{type(error).__name__}: {error}"
        if _OK <= answer.status_code < _REDIRECT_END:
            return None
        return f"{answer.status_code} {answer.reason_phrase}"

    async def _check(self, app: App, instance: Instance, index: int, check: Json) -> None:
        problem = await self._ask(check, instance)
        if instance.id not in self._state.instances:
            return
        result = instance.checks.get(index, CheckResult())
        was = instance.healthy
        if problem is None:
            result.last_success = timestamp()
            result.first_success = result.first_success or result.last_success
            result.alive, result.consecutive_failures = True, 0
        elif result.first_success is None and self._in_grace(instance, check):
            return
        else:
            result.last_failure, result.last_cause = timestamp(), problem
            result.alive = False
            result.consecutive_failures += 1
            self._state.bus.publish(
                "failed_health_check_event",
                appId=app.id,
                taskId=instance.task_id,
                instanceId=instance.id,
                healthCheck=check,
            )
        instance.checks[index] = result
        if was is not instance.healthy:
            self._publish(app, instance)
        most = int(check["maxConsecutiveFailures"])
        if problem is not None and most and result.consecutive_failures >= most:
            await self._kill(app, instance, problem)

    @staticmethod
    def _in_grace(instance: Instance, check: Json) -> bool:
        started = datetime.fromisoformat(instance.started_at or instance.staged_at).timestamp()
        return time.time() - started < float(check["gracePeriodSeconds"])

    def _publish(self, app: App, instance: Instance) -> None:
        alive = bool(instance.healthy)
        self._state.bus.publish(
            "health_status_changed_event",
            appId=app.id,
            instanceId=instance.id,
            version=instance.version,
            alive=alive,
        )
        self._state.bus.publish(
            "instance_health_changed_event",
            instanceId=instance.id,
            runSpecId=app.id,
            runSpecVersion=instance.version,
            healthy=alive,
        )
        self._state.touch()

    async def _kill(self, app: App, instance: Instance, reason: str) -> None:
        if instance.killing or not instance.is_running:
            return
        _log.warning("task.unhealthy_killed", task=instance.task_id, reason=reason)
        self._state.bus.publish(
            "unhealthy_instance_kill_event",
            appId=app.id,
            taskId=instance.task_id,
            instanceId=instance.id,
            version=instance.version,
            reason=reason,
            host=instance.host,
            slaveId=instance.agent_id,
        )
        self._state.queue.note_failure(app)
        await self._hands.kill([instance])

    async def _check_ready(self, app: App, instance: Instance, check: Json) -> None:
        import httpx

        named = [i for i, port in enumerate(app.ports) if port.get("name") == check["portName"]]
        if not named or named[0] >= len(instance.ports):
            return
        host = instance.ip_address or instance.host
        url = f"{check['protocol'].lower()}://{host}:{instance.ports[named[0]]}{check['path']}"
        status = 0
        async with self._slots:
            try:
                answer = await self._client.get(url, timeout=float(check["timeoutSeconds"]))
                status = answer.status_code
            except httpx.HTTPError:
                pass  # Not ready: nobody answers yet.
        instance.is_ready = status in check["httpStatusCodesForReady"]
        instance.readiness = {
            "name": check["name"],
            "taskId": instance.task_id,
            "ready": instance.is_ready,
        }
        if instance.is_ready:
            self._state.touch()
