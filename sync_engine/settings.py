"""The engine's rules file: which ensembles, which parts of their trees, and how fast.

One YAML document, checked whole before anything is connected. An unknown key is an error that names
the nearest known one: a misspelt rule would otherwise be found in the middle of a migration. What
the engine does not do yet is refused, not ignored. Secrets are never values in here, only names of
files. Durations and sizes carry their unit in the name.

Who owns a subtree at a given moment is not here: the rules name the owner to begin with, the rest
is run-time state, kept in the ensembles.
"""

from __future__ import annotations

import difflib
import os
import stat
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from sync_engine.direction import Side
from sync_engine.errors import RulesError
from sync_engine.hosts import parse_hosts
from sync_engine.znode import is_within

ENGINE_PATH = "/.zksync"
"""Where the engine keeps its own state on both sides; never synced."""
RESERVED_PATHS = ("/zookeeper", ENGINE_PATH)
_AUTH_BYTES_MAX = 4096
_RULES_BYTES_MAX = 4 * 1024 * 1024


class Conflict(StrEnum):
    """Who wins when both sides changed one path. What is not built is refused, never ignored."""

    OWNER = "owner"


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


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        populate_by_name=True,
    )


class SideAuth(_Model):
    """Credentials of the engine; it needs ADMIN on what it syncs, so a super user's."""

    scheme: Literal["digest"] = "digest"
    file: Path
    """File (0600) with `user:password`."""


class SideSettings(_Model):
    """One ensemble."""

    hosts: str
    """`host:port,host:port` of its servers, without a chroot."""
    auth: SideAuth | None = None
    """None: the engine is nobody in particular, and must not meet a restricted znode."""

    @field_validator("hosts")
    @classmethod
    def _parse(cls, hosts: str) -> str:
        try:
            parse_hosts(hosts)
        except RulesError as error:
            raise ValueError(str(error)) from None
        return hosts


class Sides(_Model):
    """Both ensembles."""

    a: SideSettings
    b: SideSettings

    def __getitem__(self, side: Side) -> SideSettings:
        return self.a if side is Side.A else self.b

    @model_validator(mode="after")
    def _differ(self) -> Self:
        shared = set(parse_hosts(self.a.hosts)) & set(parse_hosts(self.b.hosts))
        if shared:
            host, port = min(shared)
            msg = f"both sides name {host}:{port}: expected two ensembles"
            raise ValueError(msg)
        return self


class SubtreeRule(_Model):
    """A part of the tree that has one owner at a time; it is copied to the other side."""

    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Names the subtree in requests, metrics and the engine's own znodes."""
    path_a: ZnodePath
    """Root of the subtree on side a."""
    path_b: ZnodePath
    """Root of the subtree on side b; may differ from `path_a`."""
    owner: Side = Side.A
    """Who owns it to begin with."""
    on_conflict: Conflict = Conflict.OWNER
    """Who wins when both sides changed one path. Default: the owner, for whom clients write."""
    ephemerals: Literal["skip"] = "skip"
    """What happens to ephemeral znodes. They cannot be copied as what they are."""

    def path(self, side: Side) -> str:
        """Root of the subtree on a side."""
        return self.path_a if side is Side.A else self.path_b


class ProjectionRule(_Model):
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


class Tuning(_Model):
    """How fast, how much at once, how patient. Every default holds for a two-core machine."""

    session_timeout_s: float = Field(default=10.0, ge=0.2, le=120)
    """Life of the engine's sessions without a sign of life; the ensemble may cut it. 10 s is what
    Mesos uses, so the engine's own ephemerals last as long as a master's."""
    batch_bytes_max: int = Field(default=512 * 1024, ge=4096, le=1_000_000)
    """Bytes of one transaction. Half of jute.maxbuffer's default: a frame above that is answered
    with a lost connection. A server keeps its last 500 transactions in memory, so a copy may take
    up to 500 times this of its heap: lower it for servers with little."""
    batch_ops_max: int = Field(default=500, ge=1, le=10_000)
    """Operations of one transaction. More gained nothing when measured, and lets others wait."""
    request_bytes_max: int = Field(default=0xFFFFF, ge=65_536)
    """Largest request; jute.maxbuffer of the servers."""
    in_flight_max: int = Field(default=500, ge=1, le=900)
    """Requests sent and not answered on one connection. Half of the servers' own limit."""
    scan_interval_s: float = Field(default=30.0, ge=0.2)
    """Pause between scans for changes of ACLs, which fire no watch."""
    delete_share_max: float = Field(default=0.5, ge=0, le=1)
    """Share of a subtree that may vanish in one rescan before an operator must confirm: an ensemble
    that was restarted empty looks like one whose clients deleted everything."""
    delete_count_free: int = Field(default=20, ge=0)
    """Deletes that need no confirmation, whatever their share: small trees come and go."""
    marker_interval_ms: int = Field(default=150, ge=10, le=60_000)
    """Pause between marker writes, by which lag is measured while clients are quiet."""
    lag_bound_s: float = Field(default=5.0, gt=0)
    """Age after which a difference counts as one, and not as a copy under way."""
    stall_after_s: float = Field(default=15.0, gt=0)
    """Time without progress, with work waiting, after which the engine says that it is stalled."""
    backlog_max: int = Field(default=100_000, ge=1)
    """Paths that may wait in a direction; beyond it the engine rescans in place of remembering."""
    fan_out_timeout_s: float = Field(default=10.0, gt=0)
    """Time within which the servers of an ensemble must answer questions about themselves."""


class Rules(_Model):
    """The whole rules file."""

    sides: Sides
    """The two ensembles."""
    state_dir: Path
    """Folder for the base table and saved sessions (created, 0700)."""
    listen: str = Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[^:/\s]+):\d{1,5}$")
    """`host:port` of the REST interface."""
    token_file: Path
    """File (0600) with the bearer token of the REST interface."""
    subtrees: tuple[SubtreeRule, ...] = ()
    """What is copied."""
    projections: tuple[ProjectionRule, ...] = ()
    """Whose leaders are shown to the other side."""
    tuning: Tuning = Tuning()
    """How fast, how much at once, how patient."""

    @property
    def listen_host(self) -> str:
        """Address of the REST interface."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def listen_port(self) -> int:
        """Port of the REST interface."""
        return int(self.listen.rpartition(":")[2])

    @model_validator(mode="after")
    def _do_not_overlap(self) -> Self:
        for kind, rules in (
            ("subtree", self.subtrees),
            ("projection", self.projections),
        ):
            names = [rule.name for rule in rules]
            for name in names:
                if names.count(name) > 1:
                    msg = f"two {kind}s have the name {name!r}: expected one"
                    raise ValueError(msg)
        for index, rule in enumerate(self.subtrees):
            for other in self.subtrees[:index]:
                for side in Side:
                    _check_apart(rule, other, side)
        return self


def _check_apart(rule: SubtreeRule, other: SubtreeRule, side: Side) -> None:
    one, two = rule.path(side), other.path(side)
    if is_within(one, two) or is_within(two, one):
        msg = (
            f"subtrees {other.name!r} ({two}) and {rule.name!r} ({one}) overlap on side {side}: "
            "expected each znode in one subtree"
        )
        raise ValueError(msg)


def read_rules(path: Path) -> Rules:
    """Read and check a rules file.

    Raises:
        RulesError: the file is missing, is no YAML, or has a wrong key or value.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_RULES_BYTES_MAX + 1)
    except OSError as error:
        msg = f"expected a rules file at {path}, saw {error.strerror}: write it first"
        raise RulesError(msg) from None
    if len(text) > _RULES_BYTES_MAX:
        msg = f"expected at most {_RULES_BYTES_MAX} bytes in {path}, saw more: name the right file"
        raise RulesError(msg)
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"expected YAML in {path}, saw {error}: correct the file"
        raise RulesError(msg) from None
    return parse_rules(document, str(path))


def parse_rules(document: object, name: str) -> Rules:
    """Check a document that was read already; `name` tells it in errors.

    Raises:
        RulesError: a wrong key or value.
    """
    try:
        return Rules.model_validate(document)
    except ValidationError as error:
        lines = "; ".join(_explain(dict(detail)) for detail in error.errors())
        msg = f"{name} is no rules file: {lines}"
        raise RulesError(msg) from None


def _explain(detail: dict[str, Any]) -> str:
    where = ".".join(map(str, detail["loc"])) or "document"
    if detail["type"] != "extra_forbidden":
        return f"{where}: {detail['msg'].removeprefix('Value error, ')}"
    known = _known_keys(detail["loc"][:-1])
    near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}" if near else f"known are {', '.join(sorted(known))}"
    return f"{where}: unknown key, {hint}"


_MODELS: dict[str, type[_Model]] = {
    "sides": Sides,
    "a": SideSettings,
    "b": SideSettings,
    "auth": SideAuth,
    "subtrees": SubtreeRule,
    "projections": ProjectionRule,
    "tuning": Tuning,
}


def _known_keys(where: tuple[int | str, ...]) -> list[str]:
    names = [part for part in where if isinstance(part, str)]
    model = _MODELS.get(names[-1], Rules) if names else Rules
    return [field.alias or name for name, field in model.model_fields.items()]


def read_auth(auth: SideAuth | None) -> list[tuple[str, bytes]]:
    """Read the credentials of a side, as a lane wants them; none gives an empty list.

    Raises:
        RulesError: no file, one that everybody may read, or one that holds something else.
    """
    if auth is None:
        return []
    try:
        with auth.file.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_AUTH_BYTES_MAX + 1)
    except OSError as error:
        msg = (
            f"expected credentials in {auth.file}, saw {error.strerror}: write user:password there"
        )
        raise RulesError(msg) from None
    if mode & stat.S_IROTH:
        msg = (
            f"expected {auth.file} to be its owner's, saw mode {stat.S_IMODE(mode):04o}, by which "
            f"everybody may read it: chmod 600 it, and change the password"
        )
        raise RulesError(msg)
    identity = text.strip()
    user, colon, password = identity.partition(b":")
    is_line = len(text) <= _AUTH_BYTES_MAX and identity.isascii() and b"\n" not in identity
    if not (user and colon and password and is_line):
        msg = f"expected one ASCII line user:password in {auth.file}, saw none: write it anew"
        raise RulesError(msg)
    return [(auth.scheme, identity)]
