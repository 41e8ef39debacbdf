"""What Marathon tells, as frozen values. Ids of apps and groups are absolute; times are its texts.

`definition` is what Marathon has of an app, defaults and all; clients.marathon.coverage compares it
with what was declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class App:
    """An app, and how it does."""

    id: str
    definition: Mapping[str, Any]
    instances: int
    version: str
    staged: int
    running: int
    healthy: int
    unhealthy: int
    deployments: tuple[str, ...]

    @property
    def has_health_checks(self) -> bool:
        """Whether `healthy` says anything."""
        return bool(self.definition.get("healthChecks") or self.definition.get("check"))


@dataclass(frozen=True)
class Group:
    """A group, with all that is in it."""

    id: str
    apps: tuple[App, ...]
    groups: tuple[Group, ...]
    dependencies: tuple[str, ...]
    pods: tuple[str, ...] = ()

    def all_apps(self) -> Iterator[App]:
        """Its apps and those of groups in it."""
        yield from self.apps
        for group in self.groups:
            yield from group.all_apps()

    def all_groups(self) -> Iterator[Group]:
        """It and groups in it."""
        yield self
        for group in self.groups:
            yield from group.all_groups()

    def all_pods(self) -> Iterator[str]:
        """Ids of pods in it."""
        yield from self.pods
        for group in self.groups:
            yield from group.all_pods()


@dataclass(frozen=True)
class Started:
    """A deployment that a request started."""

    deployment_id: str
    version: str


@dataclass(frozen=True)
class Deployment:
    """A deployment that runs. `actions` are those of its current step, as (action, app or pod)."""

    id: str
    version: str
    affected: tuple[str, ...]
    actions: tuple[tuple[str, str], ...]
    current_step: int
    total_steps: int


@dataclass(frozen=True)
class Reason:
    """Why offers were not used: how many of those that came so far were declined here."""

    reason: str
    declined: int
    processed: int


@dataclass(frozen=True)
class Queued:
    """An app or pod that waits for offers; `reasons` of the last ones, most frequent first."""

    id: str
    count: int
    delay_s: float
    overdue: bool
    since: str
    processed_offers: int
    unused_offers: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Task:
    """A task. `healthy` is None where nobody asked it yet."""

    id: str
    app_id: str
    agent_id: str | None
    host: str | None
    ports: tuple[int, ...]
    state: str
    version: str
    staged_at: str | None
    started_at: str | None
    healthy: bool | None


@dataclass(frozen=True)
class Info:
    """What an instance says of itself and of Marathon."""

    name: str
    version: str
    framework_id: str | None
    leader: str | None
    elected: bool
    config: Mapping[str, Any]
    zookeeper: Mapping[str, Any]
