"""What a rules file says of one subtree or one projection. No I/O.

Combinations that cannot be kept are errors here, before anything is connected: a subtree that is
copied one way has nobody who could take the other side's copy for the better one, and one that is
copied both ways can neither change its owner nor hold ephemerals of the engine.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sync_engine.direction import Direction, Side
from sync_engine.globs import (
    Glob,
    Selection,
    check_include,
    check_pattern,
    check_selecting,
    shadowed,
)
from sync_engine.strategy import Conflict, DeleteConflict
from sync_engine.znode import PERSISTENT, NodeKind, is_within

ENGINE_PATH = "/.zksync"
"""Where the engine keeps its own state on both sides; never synced."""
RESERVED_PATHS = ("/zookeeper", ENGINE_PATH)


class RuleModel(BaseModel):
    """Unknown keys are errors, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Way(StrEnum):
    """Which ways a subtree is copied."""

    A_TO_B = "a_to_b"
    B_TO_A = "b_to_a"
    BOTH = "both"


class Ephemerals(StrEnum):
    """What happens to ephemeral znodes, which cannot be copied as what they are."""

    SKIP = "skip"
    OWN = "own"
    """Copied as ephemerals of the engine, which end with its session."""


def _check_path(path: str) -> str:
    parts = path.split("/")
    if path == "/":
        msg = "the whole tree cannot be one subtree, because it holds /zookeeper: name the parts"
        raise ValueError(msg)
    if parts[0] or not all(parts[1:]) or {".", ".."} & set(parts) or "\0" in path:
        msg = f"expected an absolute path without a slash at its end, saw {path!r}"
        raise ValueError(msg)
    for reserved in RESERVED_PATHS:
        if is_within(path, reserved):
            msg = (
                f"{reserved} belongs to {'the engine' if reserved == ENGINE_PATH else 'ZooKeeper'}"
            )
            raise ValueError(msg)
    return path


ZnodePath = Annotated[str, AfterValidator(_check_path)]


Pattern = Annotated[str, AfterValidator(check_pattern)]
IncludePattern = Annotated[str, AfterValidator(check_include)]
ExcludePattern = Annotated[str, AfterValidator(check_selecting)]


class SideTls(RuleModel):
    """TLS to an ensemble, and the engine's own certificate where the servers ask for one."""

    ca_file: Path | None = None
    """PEM file of the authorities that sign the servers; None: those of this machine."""
    cert_file: Path | None = None
    """PEM file with the engine's certificate; None: servers must not ask for one."""
    key_file: Path | None = None
    """PEM file (0600) with its key; None: it stands in `cert_file`."""
    key_password_file: Path | None = None
    """File (0600) with the key's password; None: the key has none."""
    check_hostname: bool = True
    """Whether a server's certificate must be for the host of `hosts`."""

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.cert_file is None and (self.key_file or self.key_password_file):
            msg = "key_file and key_password_file belong to a cert_file: give it too"
            raise ValueError(msg)
        return self


class TtlRule(RuleModel):
    """Znodes that end when nobody has changed them for a time and they have no children."""

    match: Pattern
    """Pattern of paths below the subtree's root."""
    ttl_ms: int = Field(ge=1, le=(1 << 40) - 1)
    """Their time to live."""


class SubtreeRule(RuleModel):
    """A part of the tree that has one owner at a time; it is copied to the other side."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Names the subtree in requests, metrics and the engine's own znodes."""
    path_a: ZnodePath
    """Root of the subtree on side a."""
    path_b: ZnodePath
    """Root of the subtree on side b; may differ from `path_a`."""
    include: tuple[IncludePattern, ...] = ()
    """Patterns of what is copied, with all below it and the parents that it needs; none: all."""
    exclude: tuple[ExcludePattern, ...] = ()
    """Patterns of what is left alone on both sides with all below it, whatever `include` says."""
    owner: Side = Side.A
    """Who owns it to begin with."""
    direction: Way | None = None
    """None: from the owner to the other side, also after the owner has changed. `a_to_b` and
    `b_to_a` never turn. `both` copies what either side's clients write; a subtree with sequential
    znodes must not be copied so, because two sides would acknowledge one name."""
    on_conflict: Conflict = Conflict.OWNER
    """Who wins when both sides changed one path. Default: the owner, for whom clients write."""
    merge_hook: str | None = None
    """Name of the entry point of group `mesos_platform.sync.merge` that `merge` calls."""
    delete_vs_update: DeleteConflict | None = None
    """Who wins when one side deleted what the other changed. None: the update where both sides are
    copied, the owner where one is, and nobody where `on_conflict` is `manual`."""
    ephemerals: Ephemerals = Ephemerals.SKIP
    """What happens to ephemeral znodes. `own` is for discovery groups, never for elections."""
    containers: tuple[Pattern, ...] = ()
    """Patterns of paths that are created as containers. No client can tell a container from a
    persistent znode, so a copy is one only by this rule."""
    ttl: tuple[TtlRule, ...] = ()
    """Paths that are created with a time to live; they look persistent to clients as well."""

    def path(self, side: Side) -> str:
        """Root of the subtree on a side."""
        return self.path_a if side is Side.A else self.path_b

    @cached_property
    def selection(self) -> Selection:
        """Which of its paths are copied."""
        return Selection(self.include, self.exclude)

    @cached_property
    def _kinds(self) -> tuple[tuple[Glob, NodeKind], ...]:
        container = NodeKind(is_container=True)
        return (
            *((Glob(rule.match), NodeKind(ttl_ms=rule.ttl_ms)) for rule in self.ttl),
            *((Glob(pattern), container) for pattern in self.containers),
        )

    def kind(self, rel: str) -> NodeKind:
        """What a relative path is created as."""
        return next((kind for glob, kind in self._kinds if glob.matches(rel)), PERSISTENT)

    @property
    def goes_both_ways(self) -> bool:
        """Whether both sides are watched and copied."""
        return self.direction is Way.BOTH

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        for problem in _problems(self):
            raise ValueError(problem)
        return self


def _problems(rule: SubtreeRule) -> list[str]:
    found: list[str] = []
    hidden = shadowed(rule.include, rule.exclude)
    if hidden is not None:
        index, pattern = hidden
        found.append(
            f"include {rule.include[index]} names nothing, because exclude {pattern} takes it: "
            "take one of them out"
        )
    if (rule.on_conflict is Conflict.MERGE) != (rule.merge_hook is not None):
        found.append("on_conflict: merge and merge_hook go together: give both or none")
    if rule.goes_both_ways:
        if rule.ephemerals is Ephemerals.OWN:
            found.append(
                "ephemerals: own needs one direction, because the engine's own copies would be "
                "copied back: give a_to_b or b_to_a"
            )
        return found
    way = rule.direction
    if way is not None:
        source = Direction(way.value).source
        if source is not rule.owner:
            found.append(
                f"direction {way.value} copies from side {source.value}, but owner is "
                f"{rule.owner.value}: correct one of them"
            )
    winners = {Conflict.OWNER, Conflict.MANUAL}
    if way is not None:
        winners.add(Conflict(rule.owner.value))
    if rule.on_conflict not in winners:
        found.append(
            f"on_conflict: {rule.on_conflict.value} may let the side win that is only written to: "
            "give direction: both, or on_conflict: owner or manual"
        )
    delete = rule.delete_vs_update
    if delete is DeleteConflict.UPDATE or delete is DeleteConflict.DELETE:
        found.append(
            f"delete_vs_update: {delete.value} may let the side win that is only "
            "written to: give direction: both, or delete_vs_update: owner or manual"
        )
    return found


class ProjectionRule(RuleModel):
    """One side's election winner, shown in the other side's election path."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Names the projection in requests and metrics."""
    source: Side = Field(alias="from")
    """Side whose leader is shown on the other."""
    leader_path_a: ZnodePath
    """Election path on side a."""
    leader_path_b: ZnodePath
    """Election path on side b."""
    label: str = Field(min_length=1, pattern=r"^[^/\x00]*[^/\x000-9]$")
    """What stands before the number in a candidate's name: `json.info_`."""

    def path(self, side: Side) -> str:
        """Election path on a side."""
        return self.leader_path_a if side is Side.A else self.leader_path_b
