"""What a verb of the command line tells that looks at rules, trees and files itself, and asks no
engine.

`report` has what the engine tells over HTTP.
"""

from __future__ import annotations

from pydantic import Field

from sync_engine.direction import Side
from sync_engine.report import Report


class PlannedChange(Report):
    """What a run would do about one path."""

    path: str
    side: Side
    """The side that would be written."""
    action: str
    conflict: str | None = None
    why: str | None = None


class SubtreePlan(Report):
    """What a run would do in one subtree."""

    owner: Side
    has_base: bool
    """Whether a full comparison was finished before; without one nothing is deleted."""
    counts: dict[str, int]
    """Paths by action: create, update, delete, keep, skip, hold, ask."""
    stalls: str | None = None
    """Why it would stop and wait for an operator."""
    changes: list[PlannedChange]
    """The first of them."""


class PlanReport(Report):
    """What a run would change; nothing was written."""

    subtrees: dict[str, SubtreePlan]
    warnings: list[str] = Field(default_factory=list[str])
    """Why it plans as if nothing were known, as where the base is damaged."""

    @property
    def is_empty(self) -> bool:
        """Whether a run would write nothing."""
        return not any(plan.counts for plan in self.subtrees.values())


class ConflictExport(Report):
    """A journal that was written to a file."""

    conflicts: int
    total: int


class ImportReport(Report):
    """What became of the znodes of a file."""

    znodes: int
    created: int
    replaced: int
    unchanged: int
    left: int
    """There already with another content, and left as they were."""


class FileReport(Report):
    """A tree that was written to a file."""

    znodes: int
    bytes: int
    sha256: str


class ServerCheck(Report):
    """One server of an ensemble; no mode: it does not serve."""

    address: str
    mode: str | None
    version: str | None


class SideCheck(Report):
    """One ensemble."""

    servers: list[ServerCheck]
    leader: str | None
    zxid: str
    """The highest that a server told, in hexadecimal."""


class CheckReport(Report):
    """What a rules file that is right holds, and what both ensembles are."""

    subtrees: int
    projections: int
    sides: dict[Side, SideCheck] = Field(default_factory=dict[Side, SideCheck])
    """Empty where only the file was looked at."""
    problems: list[str] = Field(default_factory=list[str])
    """What a run would fail of, or wait for."""
    warnings: list[str] = Field(default_factory=list[str])
