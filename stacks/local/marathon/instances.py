"""Instances: what Marathon remembers of each task that it launched.

An instance is written down before its task is launched and forgotten with the task's end. It knows
the version of the app that it runs, where, on which ports, and how it fares.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from stacks.local.marathon.definition import App
from stacks.local.mesos.values import Json

ACTIVE = frozenset(
    {"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE"}
)
# What ends an instance. TASK_UNKNOWN is among them: the habit that makes a framework relaunch tasks
# when it reconciles with masters that do not know their agents yet.
ENDED = frozenset(
    {
        "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED",
        "TASK_GONE", "TASK_GONE_BY_OPERATOR", "TASK_UNKNOWN",
    }
)  # fmt: skip
FAILURES = ENDED - {"TASK_FINISHED", "TASK_KILLED"}


def timestamp(seconds: float | None = None) -> str:
    """ISO 8601 in UTC with milliseconds, as Marathon writes times and versions."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


@dataclass
class CheckResult:
    """How one health check of an instance has gone."""

    alive: bool = False
    consecutive_failures: int = 0
    first_success: str | None = None
    last_success: str | None = None
    last_failure: str | None = None
    last_cause: str | None = None

    def rendered(self, instance_id: str) -> Json:
        """As Marathon answers it."""
        return {
            "alive": self.alive,
            "consecutiveFailures": self.consecutive_failures,
            "firstSuccess": self.first_success,
            "lastFailure": self.last_failure,
            "lastSuccess": self.last_success,
            "lastFailureCause": self.last_cause,
            "instanceId": instance_id,
        }


@dataclass
class Instance:
    """One instance with its one task; the check results do not outlive the process."""

    id: str
    app_id: str
    version: str
    agent_id: str
    host: str
    role: str
    ports: list[int]
    attributes: dict[str, str]
    staged_at: str
    state: str = "TASK_STAGING"
    started_at: str | None = None
    ip_address: str | None = None
    unreachable_since: float | None = None
    is_inactive: bool = False
    checks: dict[int, CheckResult] = field(default_factory=dict[int, CheckResult])
    is_ready: bool = False
    readiness: Json | None = None
    killing: bool = False

    @property
    def task_id(self) -> str:
        """Id of its task: Marathon counts attempts, this stand-in makes one."""
        return f"{self.id}._app.1"

    @property
    def is_running(self) -> bool:
        """Whether its task runs, as far as masters have said."""
        return self.state == "TASK_RUNNING"

    @property
    def counts(self) -> bool:
        """Whether it counts towards the instances that are wanted."""
        return self.state in ACTIVE and not self.is_inactive and not self.killing

    @property
    def healthy(self) -> bool | None:
        """Whether all checks that have answered say so; None while none has."""
        if not self.checks:
            return None
        return all(check.alive for check in self.checks.values())

    def is_serving(self, app: App) -> bool:
        """Whether deployments may count on it: it runs, is healthy and ready."""
        if not self.is_running or self.killing:
            return False
        if app.health_checks and not (len(self.checks) == len(app.health_checks) and self.healthy):
            return False
        return self.is_ready or not app.readiness_checks

    def document(self) -> Json:
        """What is written down."""
        content = asdict(self)
        for name in ("checks", "is_ready", "readiness", "killing"):
            del content[name]
        return content

    @classmethod
    def read(cls, content: dict[str, Any]) -> Instance:
        """Back from what was written."""
        return cls(**content)

    def rendered(self) -> Json:
        """As Marathon answers a task."""
        made: Json = {}
        if self.ip_address is not None:
            made["ipAddresses"] = [{"ipAddress": self.ip_address, "protocol": "IPv4"}]
        made |= {"stagedAt": self.staged_at, "state": self.state, "ports": self.ports}
        if self.started_at is not None:
            made["startedAt"] = self.started_at
        made |= {
            "version": self.version,
            "id": self.task_id,
            "appId": self.app_id,
            "slaveId": self.agent_id,
            "host": self.host,
            "role": self.role,
        }
        if self.checks:
            made["healthCheckResults"] = [c.rendered(self.id) for c in self.checks.values()]
        return made


def new_instance(app: App, offer: Json, ports: list[int], attributes: dict[str, str]) -> Instance:
    """An instance of an app on an offer's agent."""
    name = app.id.strip("/").replace("/", "_")
    return Instance(
        id=f"{name}.instance-{uuid.uuid4()}",
        app_id=app.id,
        version=app.config_version,
        agent_id=str(offer["agent_id"]["value"]),
        host=str(offer["hostname"]),
        role=str(app.definition["role"]),
        ports=ports,
        attributes=attributes,
        staged_at=timestamp(),
    )


def instance_id(task_id: str) -> str:
    """The instance of a task."""
    return task_id.partition("._app.")[0]


def to_kill(app: App, instances: Iterable[Instance], count: int) -> list[Instance]:
    """Which instances go when there are too many.

    Those that do not run go first, then unhealthy ones, then the youngest or the oldest, as the app
    says. Groups of a GROUP_BY constraint are kept even.
    """
    from stacks.local.marathon.constraints import surplus_first

    youngest = app.definition["killSelection"] == "YOUNGEST_FIRST"
    ordered = sorted(instances, key=lambda one: one.staged_at, reverse=youngest)
    ordered.sort(key=lambda one: (one.is_running, one.healthy is not False))
    return surplus_first(app, ordered, count)
