"""What the operator API tells and takes, as frozen values.

Normalised: ids are strings, resources scalars by name, times seconds since the epoch, durations
seconds. What is written (quota, weights, maintenance) is the same type as what is read, so a
read-out of one cluster can be replayed on another and compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Scalars = Mapping[str, float]


class DrainState(StrEnum):
    """How far a drain is."""

    UNKNOWN = "UNKNOWN"
    DRAINING = "DRAINING"
    DRAINED = "DRAINED"


@dataclass(frozen=True, slots=True)
class Drain:
    """A drain that was asked for."""

    state: DrainState
    max_grace_period_s: float | None
    mark_gone: bool


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent that has registered. `pid` is `slave(1)@ip:port`; `ports` are the first and last of
    each range that it gives to tasks."""

    id: str
    hostname: str
    port: int
    pid: str
    version: str
    active: bool
    deactivated: bool
    registered_at: float
    reregistered_at: float | None
    attributes: Mapping[str, str]
    resources: Scalars
    allocated: Scalars
    drain: Drain | None
    ports: tuple[tuple[int, int], ...] = ()

    @property
    def address(self) -> str:
        """`ip:port` of its own HTTP interface."""
        return self.pid.partition("@")[2]


@dataclass(frozen=True, slots=True)
class RecoveredAgent:
    """An agent of the registry that has not registered with this leader yet."""

    id: str
    hostname: str
    port: int


@dataclass(frozen=True)
class Agents:
    """All agents that the leader knows."""

    registered: tuple[Agent, ...]
    recovered: tuple[RecoveredAgent, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """A task. `executor_pid` is the process that its agent reported, where it did; `container_id`
    that of the outermost container."""

    id: str
    name: str
    framework_id: str
    agent_id: str
    state: str
    resources: Scalars
    executor_pid: int | None
    reason: str | None
    updated_at: float | None
    role: str = ""
    container_id: str | None = None


@dataclass(frozen=True)
class Tasks:
    """Tasks by what masters think of them."""

    live: tuple[Task, ...]
    unreachable: tuple[Task, ...]
    completed: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework. `recovered`: only its agents have told of it so far."""

    id: str
    name: str
    roles: tuple[str, ...]
    active: bool
    connected: bool
    recovered: bool
    checkpoint: bool
    failover_timeout_s: float
    capabilities: frozenset[str]
    webui_url: str = ""


@dataclass(frozen=True)
class Frameworks:
    """Frameworks that may come back, and those that may not."""

    registered: tuple[Framework, ...]
    completed: tuple[Framework, ...]


@dataclass(frozen=True, slots=True)
class Executor:
    """An executor."""

    id: str
    framework_id: str
    agent_id: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation on resources, such as the creation of a volume."""

    id: str
    type: str
    state: str
    framework_id: str | None
    agent_id: str | None


@dataclass(frozen=True)
class State:
    """All of it at one moment."""

    agents: Agents
    tasks: Tasks
    frameworks: Frameworks


@dataclass(frozen=True)
class Role:
    """A role in use, or with a weight or quota."""

    name: str
    weight: float
    framework_ids: tuple[str, ...]
    resources: Scalars


@dataclass(frozen=True)
class Quota:
    """Limits and guarantees of a role.

    Raises:
        ValueError: a nested role, a negative quantity, or a guarantee above its limit.
    """

    role: str
    limits: Scalars = field(default_factory=dict[str, float])
    guarantees: Scalars = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        if not self.role or "/" in self.role:
            msg = f"expected a role without '/', saw {self.role!r}: quota is set on top-level roles"
            raise ValueError(msg)
        for name, value in {**self.limits, **self.guarantees}.items():
            if value < 0:
                msg = f"expected a quantity of {name} of at least 0, saw {value:g}"
                raise ValueError(msg)
        for name, value in self.guarantees.items():
            if name in self.limits and value > self.limits[name]:
                msg = (
                    f"expected the guarantee of {name} to be within its limit "
                    f"{self.limits[name]:g}, saw {value:g}"
                )
                raise ValueError(msg)


@dataclass(frozen=True)
class Machine:
    """A machine of the maintenance schedule; both parts must be what its agent announces."""

    hostname: str = ""
    ip: str = ""

    def __post_init__(self) -> None:
        if not self.hostname and not self.ip:
            msg = "expected a machine with a hostname or an ip, saw neither"
            raise ValueError(msg)

    @property
    def key(self) -> tuple[str, str]:
        """Equal for what masters think is one machine."""
        return (self.hostname.lower(), self.ip)


@dataclass(frozen=True)
class Window:
    """Machines that will be away. Without a duration: for good."""

    machines: tuple[Machine, ...]
    start_ns: int
    duration_ns: int | None = None


@dataclass(frozen=True)
class MaintenanceSchedule:
    """The one schedule of a cluster; writing it replaces it.

    Raises:
        ValueError: a machine stands there twice; masters compare hostnames without their case.
    """

    windows: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        keys = [machine.key for window in self.windows for machine in window.machines]
        double = sorted({str(key) for key in keys if keys.count(key) > 1})
        if double:
            msg = f"expected each machine in one window, saw {', '.join(double)} more often"
            raise ValueError(msg)


@dataclass(frozen=True)
class MaintenanceStatus:
    """What scheduled machines do now."""

    draining: tuple[Machine, ...] = ()
    down: tuple[Machine, ...] = ()


@dataclass(frozen=True)
class Version:
    """What the master was built from."""

    version: str
    build_date: str
    build_time: float


@dataclass(frozen=True)
class MasterInfo:
    """The master that leads."""

    id: str
    address: str
    pid: str
    version: str
    started_at: float
    elected_at: float | None
