"""What a framework tells and hears through the v1 scheduler API, as frozen values.

Resources are scalars by name and ports as ranges; a task takes from an offer what it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clients.mesos.model import Scalars

PortRange = tuple[int, int]


@dataclass(frozen=True)
class FrameworkInfo:
    """What a framework subscribes with. `id` is None the first time.

    `failover_timeout_s` is how long masters keep its tasks while it is away; the reason for its
    default is Marathon's, a week. `capabilities` are those that the client can honour.
    """

    name: str
    user: str
    roles: tuple[str, ...] = ("*",)
    id: str | None = None
    principal: str | None = None
    hostname: str | None = None
    checkpoint: bool = True
    failover_timeout_s: float = 604_800.0
    capabilities: tuple[str, ...] = ("MULTI_ROLE", "PARTITION_AWARE")
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if not self.roles:
            msg = "expected a framework with at least one role, saw none: '*' is everybody's"
            raise ValueError(msg)


@dataclass(frozen=True)
class TaskInfo:
    """A task to launch: a shell command, or what its image runs. Durations in seconds."""

    id: str
    name: str
    agent_id: str
    resources: Scalars
    command: str | None = None
    docker_image: str | None = None
    ports: tuple[PortRange, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    kill_grace_period_s: float | None = None

    def __post_init__(self) -> None:
        if not self.id or "/" in self.id:
            msg = f"expected a task id that is not empty and has no '/', saw {self.id!r}"
            raise ValueError(msg)
        if self.command is None and self.docker_image is None:
            msg = f"expected task {self.id} to have a command or an image, saw neither"
            raise ValueError(msg)


@dataclass(frozen=True)
class Offer:
    """What an agent has left, for one role."""

    id: str
    agent_id: str
    hostname: str
    role: str | None
    resources: Scalars
    ports: tuple[PortRange, ...]
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class TaskStatus:
    """What is known of a task. `uuid` is set where masters wait for an acknowledgement."""

    task_id: str
    agent_id: str | None
    state: str
    uuid: str | None
    reason: str | None
    message: str | None
    healthy: bool | None
    timestamp: float | None


@dataclass(frozen=True)
class Offers:
    """New offers."""

    offers: tuple[Offer, ...]


@dataclass(frozen=True)
class Rescinded:
    """An offer is void."""

    offer_id: str


@dataclass(frozen=True)
class Updated:
    """A task's status; acknowledge it where it has a `uuid`, once it is kept."""

    status: TaskStatus


@dataclass(frozen=True)
class Failed:
    """An agent, or an executor of it, is gone."""

    agent_id: str | None
    executor_id: str | None
    status: int | None


@dataclass(frozen=True)
class Refused:
    """The master gives up on this framework, and says why; the stream ends."""

    message: str


@dataclass(frozen=True)
class Alive:
    """A heartbeat."""


@dataclass(frozen=True)
class Unknown:
    """A kind that this client does not know."""

    kind: str


SchedulerEvent = Offers | Rescinded | Updated | Failed | Refused | Alive | Unknown
