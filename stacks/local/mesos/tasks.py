"""The agent's tasks: launch, kill, drain, adopt after a restart, report statuses until heard.

Every step is checkpointed before it is acted on. Statuses of one task go out in order, the next one
when the former was acknowledged, and again after a while until it is. A task whose last status was
acknowledged is forgotten.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from stacks.local.mesos import checks, executor, values
from stacks.local.mesos.cgroups import Cgroups
from stacks.local.mesos.checkpoint import Checkpoint, TaskRecord
from stacks.local.mesos.values import Json

# From ten seconds to ten minutes in Mesos (src/slave/constants.hpp).
_RETRY_FACTOR_MAX = 60
Send = Callable[[Json], Awaitable[bool]]
_log = structlog.get_logger()


class TaskRunner:
    """All tasks of one agent. `send` passes an update to the master; false when that failed."""

    def __init__(  # noqa: PLR0913 - by keyword, what an agent knows of itself
        self,
        checkpoint: Checkpoint,
        work_dir: Path,
        *,
        ip: str,
        grace_s: float,
        retry_s: float,
        cgroups: Cgroups | None = None,
    ) -> None:
        self._cgroups = cgroups
        self._checkpoint = checkpoint
        self._work_dir = work_dir
        self._ip = ip
        self._grace_s = grace_s
        self._retry_s = retry_s
        self._send: Send | None = None
        self._agent_id = ""
        self._sending: set[asyncio.Task[None]] = set()
        self._checks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._endings: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self.records: dict[tuple[str, str], TaskRecord] = {}

    def recover(self) -> None:
        """Take over what an earlier agent left: running tasks are watched again, not touched."""
        for record in self._checkpoint.records():
            self.records[record.key] = record
            if record.is_terminal:
                continue
            if record.process is None:
                self._note_process(record, executor.find(Path(record.sandbox)))
            process = record.process
            if process is not None and process.is_alive:
                if not record.framework_info.get("checkpoint"):
                    # Only checkpointing frameworks keep their tasks over an agent's restart.
                    record.kill_reason = "REASON_AGENT_RESTARTED"
                    executor.kill(process)
                elif record.state == "TASK_STAGING":
                    self._report_start(record)
                self._watch(record)
                if record.kill_began_s is not None:
                    self._kill(record, "REASON_TASK_KILLED", record.kill_grace_s)
            else:
                self._note_end(record)
        _log.info("tasks.recovered", tasks=len(self.records))

    def connect(self, agent_id: str, send: Send) -> None:
        """Begin to report through a registered connection, from each task's oldest status."""
        self._agent_id, self._send = agent_id, send
        for record in self.records.values():
            self._deliver(record)

    def disconnect(self) -> None:
        """Nothing can be reported until the next connection."""
        self._send = None

    def registration(self) -> list[Json]:
        """What a master is told of tasks; one that has ended and was heard of is not among them."""
        return [
            {
                "info": record.info,
                "framework_id": record.framework_id,
                "role": record.role,
                "state": record.state,
                "statuses": record.statuses,
                "status_update_state": record.statuses[-1]["state"] if record.statuses else None,
                "status_update_uuid": record.statuses[-1].get("uuid") if record.statuses else None,
            }
            for record in self.records.values()
        ]

    def frameworks(self) -> list[Json]:
        """Frameworks of all tasks, once each."""
        found = {record.framework_id: record.framework_info for record in self.records.values()}
        return list(found.values())

    # Orders of the master

    def run(self, message: Json) -> None:
        """RUN_TASK; one that runs already is left alone."""
        info: Json = message["task"]
        framework: Json = message["framework_info"]
        framework_id, task_id = str(framework["id"]["value"]), str(info["task_id"]["value"])
        if (framework_id, task_id) in self.records:
            return
        container = values.new_id()
        sandbox = self._work_dir / "sandboxes" / container
        record = TaskRecord(
            framework_id=framework_id,
            framework_info=framework,
            info=info,
            role=str(message["role"]),
            container_id=container,
            sandbox=str(sandbox.absolute()),
            launched_at=values.now(),
        )
        self.records[record.key] = record
        self._checkpoint.write(record)
        command = str(values.part(info, "command").get("value", ""))
        try:
            groups = self._limit(record)
            process = executor.start(command, sandbox, _environment(record), groups)
        except OSError as error:
            self._report(
                record,
                "TASK_FAILED",
                message=f"Failed to launch container: {error.strerror}",
                reason="REASON_CONTAINER_LAUNCH_FAILED",
            )
            return
        self._note_process(record, process)
        self._report_start(record)
        if process is None:
            self._note_end(record)
        else:
            self._watch(record)

    def _limit(self, record: TaskRecord) -> list[Path]:
        """Control groups with a task's limits; none where they are not wanted or not permitted."""
        if self._cgroups is None:
            return []
        resources = values.scalars(record.info.get("resources", ()))
        try:
            return self._cgroups.make(record.container_id, resources)
        except OSError as error:
            _log.warning("cgroups.not_permitted", error=repr(error), note="tasks have no limits")
            self._cgroups = None
            return []

    def _note_process(self, record: TaskRecord, process: executor.Process | None) -> None:
        if process is not None:
            record.pid, record.started = process.pid, process.started
            self._checkpoint.write(record)

    def _report_start(self, record: TaskRecord) -> None:
        self._report(record, "TASK_STARTING")
        self._report(record, "TASK_RUNNING")

    def _watch(self, record: TaskRecord) -> None:
        process = record.process
        assert process is not None
        executor.watch(process, lambda: self._note_end(record))
        check = checks.HealthCheck.read(record.info)
        if check is not None:
            watching = checks.watch(
                check,
                address=self._ip,
                sandbox=Path(record.sandbox),
                environment=_environment(record),
                report=lambda health: self._note_health(record, health),
            )
            self._checks[record.key] = asyncio.ensure_future(watching)

    def _note_health(self, record: TaskRecord, health: checks.Health) -> None:
        if record.is_terminal or record.kill_reason is not None:
            return
        reason = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED"
        is_healthy = health is checks.Health.HEALTHY
        self._report(record, "TASK_RUNNING", reason=reason, healthy=is_healthy)
        if health is checks.Health.HOPELESS:
            self._kill(record, "REASON_TASK_KILLED", self._grace_of(record))

    def close(self) -> None:
        """Stop making checks; tasks run on."""
        for watching in self._checks.values():
            watching.cancel()

    def kill(self, framework_id: str, task_id: str, grace_s: float | None = None) -> None:
        """KILL_TASK; a task that has ended or was never here is none of our business."""
        record = self.records.get((framework_id, task_id))
        if record is not None and not record.is_terminal:
            grace_s = self._grace_of(record) if grace_s is None else grace_s
            self._kill(record, "REASON_TASK_KILLED", grace_s)

    def drain(self, config: Json) -> None:
        """DRAIN: kill everything at once, each with its grace period, which the call may cut."""
        most_s = values.duration_s(config.get("max_grace_period"), math.inf)
        for record in list(self.records.values()):
            if not record.is_terminal:
                self._kill(record, "REASON_AGENT_DRAINING", min(most_s, self._grace_of(record)))

    def shut_down(self, framework_id: str | None = None) -> None:
        """End the tasks of a framework, or all, without a status that anybody waits for."""
        for record in list(self.records.values()):
            if framework_id in {None, record.framework_id}:
                record.pending.clear()
                if record.process is not None:
                    executor.kill(record.process)
                self._forget(record)

    def _grace_of(self, record: TaskRecord) -> float:
        """What its framework gives a task to end, else what the agent gives."""
        return values.grace_period_s(record.info, self._grace_s)

    def _kill(self, record: TaskRecord, reason: str, grace_s: float) -> None:
        """Ask a task once to end, and end it after its grace period, which only gets shorter: as
        Mesos' src/launcher/executor.cpp. An agent that takes over a task goes on with its kill."""
        loop = asyncio.get_running_loop()
        if record.kill_began_s is None:
            record.kill_reason, record.kill_began_s = reason, loop.time()
            record.kill_grace_s = grace_s
            self._checkpoint.write(record)
        elif grace_s < record.kill_grace_s:
            record.kill_grace_s = grace_s
            self._checkpoint.write(record)
        process = record.process
        if process is None:
            self._note_end(record)
            return
        if record.state != "TASK_KILLING" and values.hears_of_kills(record.framework_info):
            # Before the task hears of it, so that whoever sends it requests can turn away.
            self._report(record, "TASK_KILLING")
        forcibly = self._endings.get(record.key)
        if forcibly is None:
            # Perhaps again after a restart: its executor passes it on once.
            executor.terminate(process)
        else:
            forcibly.cancel()
        ends_s = record.kill_began_s + record.kill_grace_s
        self._endings[record.key] = loop.call_at(ends_s, executor.kill, process)

    def _note_end(self, record: TaskRecord) -> None:
        if record.is_terminal or record.key not in self.records:
            return
        code = executor.exit_code(Path(record.sandbox))
        state, message = executor.ending(code, killed=record.kill_reason is not None)
        reason = record.kill_reason
        if self._cgroups is not None and self._cgroups.ran_out_of_memory(record.container_id):
            state, message = "TASK_FAILED", "Memory limit exceeded"
            reason = "REASON_CONTAINER_LIMITATION_MEMORY"
        elif reason in {None, "REASON_TASK_KILLED"}:
            reason = None if state != "TASK_FAILED" else "REASON_COMMAND_EXECUTOR_FAILED"
        self._let_go(record)
        self._report(record, state, message=message, reason=reason)

    # Statuses

    def _report(
        self,
        record: TaskRecord,
        state: str,
        *,
        message: str | None = None,
        reason: str | None = None,
        healthy: bool | None = None,
    ) -> None:
        made: Json = {"task_id": record.info["task_id"], "state": state}
        if message is not None:
            made["message"] = message
        made["source"] = "SOURCE_EXECUTOR"
        if reason is not None:
            made["reason"] = reason
        address = {"protocol": "IPv4", "ip_address": self._ip}
        if healthy is not None:
            made["healthy"] = healthy
        made |= {
            "agent_id": record.info["agent_id"],
            "executor_id": record.info["task_id"],
            "timestamp": values.now(),
            "uuid": values.update_uuid(),
            "container_status": {
                "container_id": {"value": record.container_id},
                "network_infos": [{"ip_addresses": [address]}],
                "executor_pid": record.pid or 0,
            },
        }
        record.state = state
        record.statuses.append(made)
        record.pending.append(made)
        self._checkpoint.write(record)
        _log.info("task.status", task=record.task_id, state=state, pid=record.pid, reason=reason)
        if len(record.pending) == 1:
            self._deliver(record)

    def _deliver(self, record: TaskRecord) -> None:
        if self._send is None or not record.pending:
            return
        task = asyncio.ensure_future(self._deliver_head(record, record.pending[0], self._send))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _deliver_head(self, record: TaskRecord, head: Json, send: Send) -> None:
        """Send one status until it is acknowledged, or the connection is another one."""
        pause_s = self._retry_s
        while self._send is send and record.pending and record.pending[0] is head:
            await send(
                {
                    "type": "UPDATE",
                    "agent_id": self._agent_id,
                    "framework_id": record.framework_id,
                    "status": head,
                    "latest_state": record.state,
                }
            )
            await asyncio.sleep(pause_s)
            # Ever more seldom, as Mesos does: a busy master must not drown in repetitions.
            pause_s = min(2 * pause_s, _RETRY_FACTOR_MAX * self._retry_s)

    def acknowledge(self, framework_id: str, task_id: str, uuid: str | None) -> None:
        """ACKNOWLEDGE: the next status may go; after the last one the task is forgotten."""
        record = self.records.get((framework_id, task_id))
        if record is None or not record.pending or record.pending[0].get("uuid") != uuid:
            return
        record.pending.pop(0)
        if record.is_terminal and not record.pending:
            self._forget(record)
            return
        self._checkpoint.write(record)
        self._deliver(record)

    def _let_go(self, record: TaskRecord) -> None:
        """Look no more whether it is healthy, nor whether it ends in time."""
        watching = self._checks.pop(record.key, None)
        if watching is not None:
            watching.cancel()
        forcibly = self._endings.pop(record.key, None)
        if forcibly is not None:
            forcibly.cancel()

    def _forget(self, record: TaskRecord) -> None:
        self._let_go(record)
        self.records.pop(record.key, None)
        self._checkpoint.remove(record)
        if self._cgroups is not None:
            self._cgroups.remove(record.container_id)


def _environment(record: TaskRecord) -> dict[str, str]:
    """Variables of a task, for it and for what checks it."""
    command = values.part(record.info, "command")
    variables: list[Json] = values.part(command, "environment").get("variables") or []
    given = {str(v["name"]): str(v.get("value", "")) for v in variables}
    return {
        **given,
        "MESOS_TASK_ID": record.task_id,
        "MESOS_CONTAINER_ID": record.container_id,
        "MESOS_SANDBOX": record.sandbox,
    }
