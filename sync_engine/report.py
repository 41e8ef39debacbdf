"""What the engine tells about itself, as it goes over HTTP and into files.

Times are seconds since the epoch; ids of sessions are hexadecimal.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from sync_engine.direction import Direction, Side


class ProjectionKind(StrEnum):
    """How long a projected leader stays when the engine is gone."""

    OFF = "off"
    EPHEMERAL = "ephemeral"
    PERSISTENT = "persistent"


class EngineState(StrEnum):
    """How the engine is, worst first in `reasons`."""

    STARTING = "starting"
    COPYING = "copying"
    LIVE = "live"
    DEGRADED = "degraded"
    STALLED = "stalled"
    FENCED = "fenced"
    STOPPED = "stopped"


class Report(BaseModel):
    """Unknown fields are errors: client and engine are of one version."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LagStatus(Report):
    """Quantiles of the last 60 s; None without a sample."""

    p50_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None
    samples: int = 0


class DirectionStatus(Report):
    """One way between the sides."""

    backlog: int = 0
    """Paths known to have changed and not yet applied."""
    applied: int = 0
    applied_per_s: float = 0.0
    echoes: int = 0
    """Changes that turned out to be the engine's own."""
    lag: LagStatus = LagStatus()
    histogram: dict[str, int] = Field(default_factory=dict)
    """Samples since the start at or below each bound in ms (as Prometheus counts buckets)."""


class SubtreeStatus(Report):
    """One subtree."""

    owner: Side
    znodes: int
    """Rows of the base: paths known to be equal on both sides."""
    fenced_a: bool
    fenced_b: bool
    flipping: bool
    stalled: str | None = None
    """Why replication waits for `confirm`; None when it does not."""


class ProjectionStatus(Report):
    """One leader projection."""

    kind: ProjectionKind
    number: int | None = None
    leader: str | None = None
    """`host:port` of the leader that is projected."""
    fenced: bool = False
    """Whether only the engine may create in side a's election path."""
    changed_at: float | None = None


class SideStatus(Report):
    """The engine's sessions on one side."""

    connected: bool
    session_ids: list[str]


class Difference(Report):
    """A path that differs: `only_a`, `only_b`, `data`, `acl` or `data_and_acl`."""

    path: str
    kind: str


class SubtreeAudit(Report):
    """One subtree of an audit."""

    znodes: int
    """Persistent znodes on side a."""
    digest_a: str
    digest_b: str
    equal: bool
    differences: list[Difference] = Field(default_factory=list[Difference])
    """The first 50 that stayed."""
    reread: int = 0
    """Paths read again because they differed at first."""


class AuditReport(Report):
    """A full comparison of both sides."""

    equal: bool
    at: float
    seconds: float
    subtrees: dict[str, SubtreeAudit]


class FlipReport(Report):
    """A change of owner."""

    subtree: str
    from_side: Side
    to_side: Side
    seconds: float
    already_done: bool
    znodes: int = 0
    digest: str = ""
    padded: int = 0
    """Sequence numbers that the new side's parents were moved on by."""
    epoch: int = 0
    zxid_a: int = 0
    zxid_b: int = 0


class EngineStatus(Report):
    """All of it."""

    state: EngineState
    reasons: list[str]
    epoch: int
    started_at: float
    directions: dict[Direction, DirectionStatus]
    subtrees: dict[str, SubtreeStatus]
    projections: dict[str, ProjectionStatus]
    conflicts: int
    skipped: int
    unreadable: list[str]
    last_audit: AuditReport | None = None
    sessions: dict[Side, SideStatus]
