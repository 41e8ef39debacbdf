"""What was seen while a cluster migrated, as values: the input of proofs and report.

Nothing here judges. Times are seconds since the epoch, as the processes' own logs have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stacks.topology import Color


@dataclass(frozen=True, slots=True)
class TaskSample:
    """The tasks at one moment.

    `healthy` counts tasks that the framework calls running and whose process lives; while it is not
    subscribed, or has not heard of a task since its start, the process alone counts. `told` is the
    framework's own number, None while it is not subscribed.
    """

    at: float
    target: int
    healthy: int
    told: int | None
    pids: Mapping[str, int]
    framework_id: str | None = None


@dataclass(frozen=True, slots=True)
class AppSample:
    """Marathon's apps at one moment.

    `healthy` counts, by app, tasks whose process lives, that answer, and that Marathon does not
    call ill; while it stands still, or has not asked a task since its start, its word is not
    needed. `alive` counts every live process that agents know of. `framework_id` is None while
    Marathon does not answer.
    """

    at: float
    healthy: Mapping[str, int]
    alive: Mapping[str, int]
    pids: Mapping[str, int]
    framework_id: str | None = None


@dataclass(frozen=True, slots=True)
class EngineSample:
    """The sync engine at one moment; `lags` is the p99 of the last minute by direction, in ms."""

    at: float
    started_at: float
    state: str
    lags: Mapping[str, float | None]
    histograms: Mapping[str, Mapping[str, int]]
    backlog: int
    conflicts: int
    projection: str


@dataclass(frozen=True, slots=True)
class TrafficSample:
    """The client group at one moment."""

    at: float
    hosts: str
    acknowledged: int
    rate_per_s: float
    znodes: int
    refused: int


@dataclass(frozen=True, slots=True)
class Registration:
    """An agent gained (`registered`) or lost (`disconnected`) a master, by its own word."""

    at: float
    agent: str
    event: str
    master: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """The framework subscribed with a master."""

    at: float
    master: str


@dataclass(frozen=True, slots=True)
class TaskUpdate:
    """A status update that the framework was told."""

    at: float
    task_id: str
    state: str
    reason: str | None = None
    agent_id: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A step or a transition: when it began, how long it took, and how it ended."""

    name: str
    transition: str
    at: float
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """A comparison of both ensembles under traffic, at a phase."""

    phase: int
    equal: bool
    znodes: int
    seconds: float
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flip:
    """A subtree's change of owner. The engine gives a digest only when both sides have the same."""

    subtree: str
    step: str
    digest: str
    znodes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Writes:
    """The client group's log compared with the target's ensemble, path by path."""

    paths: int
    acknowledged: int
    open: int
    counts: Mapping[str, int]
    examples: tuple[str, ...] = ()
    pauses: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Registry:
    """Quota and weights that a cluster's masters hold, by role."""

    quota: Mapping[str, Mapping[str, float]]
    weights: Mapping[str, float]


@dataclass
class Observations:
    """All of it. Filled while the demo runs, read when it has ended."""

    source: Color = Color.BLUE
    target: Color = Color.GREEN
    masters: Mapping[Color, tuple[str, ...]] = field(default_factory=dict[Color, tuple[str, ...]])
    started_at: float = 0.0
    ended_at: float = 0.0
    migration_started_at: float = 0.0
    tasks: list[TaskSample] = field(default_factory=list[TaskSample])
    apps: list[AppSample] = field(default_factory=list[AppSample])
    app_sizes: dict[str, int] = field(default_factory=dict[str, int])
    app_batch: int = 0
    app_failures: dict[str, str] | None = None
    engine: list[EngineSample] = field(default_factory=list[EngineSample])
    traffic: list[TrafficSample] = field(default_factory=list[TrafficSample])
    registrations: list[Registration] = field(default_factory=list[Registration])
    subscriptions: list[Subscription] = field(default_factory=list[Subscription])
    updates: list[TaskUpdate] = field(default_factory=list[TaskUpdate])
    replacements: dict[str, str] = field(default_factory=dict[str, str])
    steps: list[Span] = field(default_factory=list[Span])
    transitions: list[Span] = field(default_factory=list[Span])
    stages: list[Span] = field(default_factory=list[Span])
    audits: list[Audit] = field(default_factory=list[Audit])
    flips: list[Flip] = field(default_factory=list[Flip])
    writes: Writes | None = None
    registry_set: Registry | None = None
    registry_found: Registry | None = None
    position: str = "?"
    left_of_source: list[str] = field(default_factory=list[str])
    left_behind: list[str] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; samples are counted only, they have a file of their own."""
        full = asdict(self)
        for name in ("tasks", "apps", "engine", "traffic", "updates"):
            full[name] = len(full[name])
        return full
