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
    zxid_heard: int | None = None
    """zxid of the source's newest change that a watch has told; None before ZooKeeper 3.9."""
    zxid_applied: int | None = None
    """zxid of the source up to which every change is applied, or put aside as the status says."""


class Waiting(Report):
    """Something that waits for an operator's word."""

    reason: str
    seen: str
    """Names it: a word with this name is about this alone."""


class SubtreeStatus(Report):
    """One subtree."""

    owner: Side
    znodes: int
    """Rows of the base: paths known to be equal on both sides."""
    fenced_a: bool
    """Whether only the engine may write to side a's copy."""
    fenced_b: bool
    flipping: bool
    stalled: str | None = None
    """Why replication waits for `confirm`; None when it does not."""
    both_ways: bool = False
    """Whether both sides' writes are copied."""
    held: int = 0
    """Conflicts that wait for an operator."""
    kept: int = 0
    """Paths that stay on one side, deleted on the other, for something below them that the rules
    leave out."""
    waiting: list[Waiting] = Field(default_factory=list[Waiting])
    """All that waits for `confirm`; one word is about one of them."""
    unowned: int = 0
    """Paths that only the other side has and of which nobody knows whether its owner deleted them,
    because the base was lost: they stay until `confirm` deletes them."""
    compared: int = 0
    """Znodes that audits and flips have read since the start, both sides' together."""


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
    """Whether reads and writes have a server."""
    watching: bool = False
    """Whether its watches stand, so that each change is told."""
    persistent_watches: bool = True
    """Whether changes are told; else they are found by scans."""
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


class Copy(Report):
    """One version of a znode; `data` in base64, None for null."""

    path: str
    data: str | None
    acl: list[tuple[int, str, str]]
    czxid: int
    mzxid: int
    version: int
    aversion: int
    mtime: int


class HeldConflict(Report):
    """A conflict that waits for an operator; the versions only where one was asked for."""

    id: int
    subtree: str
    path_a: str
    path_b: str
    at: float
    reason: str
    why: str
    seen: str
    """Names this state of both versions."""
    a: Copy | None = None
    b: Copy | None = None


class HeldReport(Report):
    """All that wait."""

    conflicts: list[HeldConflict]


class ConflictRecord(Report):
    """One line of the journal of conflicts."""

    id: int = 0
    at: float
    subtree: str
    reason: str
    why: str | None = None
    """By what rule it was settled."""
    held: bool = False
    """Whether nobody won, and the path waits."""
    winner_side: Side
    winner: Copy | None
    loser_side: Side
    loser: Copy | None


CONFLICTS_MAX = 1_000
"""Lines of the journal in one answer; fewer where they are large."""


class ConflictPage(Report):
    """A part of the journal."""

    conflicts: list[ConflictRecord]
    total: int
    """Conflicts ever recorded; older ones may have left the journal."""


class PathDifference(Report):
    """A path that differs, with both versions; `kind` as in an audit."""

    subtree: str
    kind: str
    path_a: str
    path_b: str
    a: Copy | None
    b: Copy | None


class DiffReport(Report):
    """What differs between both sides now."""

    znodes: dict[str, int]
    """Persistent znodes on side a, by subtree."""
    total: int
    """Paths that differ."""
    differences: list[PathDifference]
    """The first of them."""
    warnings: list[str] = Field(default_factory=list[str])
    """What the answer leaves out of account, as a base that is damaged."""


class PadReport(Report):
    """Sequence counters that were moved on."""

    subtree: str
    side: Side
    padded: int
    """Sequence numbers that parents were moved on by."""
    seconds: float


class EngineStatus(Report):
    """All of it."""

    state: EngineState
    reasons: list[str]
    """Why it is so, worst first."""
    waiting: Waiting | None = None
    """What the start of the engine waits for."""
    limits: list[str] = Field(default_factory=list[str])
    """Those of the reasons by which nothing is wrong: lag is bounded by scans, not by watches."""
    epoch: int
    """Of the fence, which the highest holds."""
    holder: str = ""
    """Who holds the fence: `host:pid:nonce` of this engine, unless the state is `fenced`."""
    started_at: float
    directions: dict[Direction, DirectionStatus]
    subtrees: dict[str, SubtreeStatus]
    projections: dict[str, ProjectionStatus]
    conflicts: int
    held: int = 0
    """Conflicts that wait for an operator."""
    clock_skew_ms: float | None = None
    """By how much side b's clock is ahead of side a's."""
    skipped: int
    """Paths that are not copied."""
    skipped_paths: dict[str, str] = Field(default_factory=dict)
    """The first 50 of them, with the reason."""
    unreadable: list[str]
    last_audit: AuditReport | None = None
    sessions: dict[Side, SideStatus]

    @property
    def is_sound(self) -> bool:
        """Whether both sides are followed and nothing is wrong. What lag that means, it measures:
        a side without persistent watches is followed by scans, and the state says so."""
        if self.state is EngineState.DEGRADED:
            return set(self.reasons) <= set(self.limits)
        return self.state is EngineState.LIVE
