"""What Marathon tells of its instances on the event stream, and the health that statuses bring."""

from __future__ import annotations

from stacks.local.marathon.instances import CheckResult, Instance, timestamp
from stacks.local.marathon.matching import mesos_check
from stacks.local.marathon.state import State
from stacks.local.mesos.values import Json


class Notices:
    """Events of instances; a condition that was told already is not told again."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._told: dict[str, str] = {}

    def status(self, instance: Instance, status: Json) -> None:
        """A task's status has changed."""
        addresses = [{"ipAddress": instance.ip_address, "protocol": "IPv4"}]
        self._state.bus.publish(
            "status_update_event",
            slaveId=instance.agent_id,
            taskId=instance.task_id,
            taskStatus=str(status["state"]),
            message=str(status.get("message", "")),
            appId=instance.app_id,
            host=instance.host,
            ipAddresses=addresses if instance.ip_address else [],
            ports=instance.ports,
            version=instance.version,
        )
        self.instance(instance, str(status["state"]).removeprefix("TASK_").capitalize())

    def instance(self, instance: Instance, condition: str) -> None:
        """An instance is in another condition."""
        if self._told.get(instance.id) == condition:
            return
        self._told[instance.id] = condition
        if instance.id not in self._state.instances:
            del self._told[instance.id]
        self._state.bus.publish(
            "instance_changed_event",
            instanceId=instance.id,
            condition=condition,
            runSpecId=instance.app_id,
            agentId=instance.agent_id,
            host=instance.host,
            runSpecVersion=instance.version,
        )

    def health_of_task(self, instance: Instance, *, is_healthy: bool) -> None:
        """The executor's check of an instance has answered."""
        app = self._state.tree.apps.get(instance.app_id)
        if app is None or mesos_check(app, instance) is None:
            return
        for index, check in enumerate(app.health_checks):
            if check["protocol"] in {"HTTP", "HTTPS", "TCP"}:
                continue
            result = instance.checks.setdefault(index, CheckResult())
            result.alive = is_healthy
            if is_healthy:
                result.last_success = timestamp()
                result.first_success = result.first_success or result.last_success
                result.consecutive_failures = 0
            else:
                result.last_failure = timestamp()
                result.consecutive_failures += 1
        self._state.bus.publish(
            "instance_health_changed_event",
            instanceId=instance.id,
            runSpecId=instance.app_id,
            runSpecVersion=instance.version,
            healthy=is_healthy,
        )
