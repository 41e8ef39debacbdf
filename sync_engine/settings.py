"""The engine's rules file: which ensembles, which parts of their trees, and how fast.

One YAML document, checked whole before anything is connected. An unknown key is an error that names
the nearest known one: a misspelt rule would otherwise be found in the middle of a migration. What
cannot be kept is refused, not ignored. Errors name the line. Secrets are never values in here, only
names of files. Durations and sizes carry their unit in the name.

Who owns a subtree at a given moment is not here: the rules name the owner to begin with, the rest
is run-time state, kept in the ensembles.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sync_engine import yaml_lines
from sync_engine.direction import Roots, Side
from sync_engine.errors import RulesError
from sync_engine.hosts import is_loopback, parse_hosts
from sync_engine.rules import (
    ENGINE_PATH,
    RESERVED_PATHS,
    Conflict,
    DeleteConflict,
    Ephemerals,
    ProjectionRule,
    RuleModel,
    SideTls,
    SubtreeRule,
    TtlRule,
    Way,
)
from sync_engine.strategy import Policy, default_delete_conflict
from sync_engine.tuning import Tuning
from sync_engine.yaml_lines import Where
from sync_engine.znode import is_within

__all__ = [
    "ENGINE_PATH",
    "RESERVED_PATHS",
    "Conflict",
    "DeleteConflict",
    "Ephemerals",
    "ProjectionRule",
    "Rules",
    "Side",
    "SideAuth",
    "SideSettings",
    "SideTls",
    "Sides",
    "SubtreeRule",
    "Tuning",
    "Way",
    "parse_rules",
    "read_auth",
    "read_rules",
]

_AUTH_BYTES_MAX = 4096
_RULES_BYTES_MAX = 4 * 1024 * 1024


class SideAuth(RuleModel):
    """Credentials of the engine; it needs ADMIN on what it syncs, so a super user's."""

    scheme: Literal["digest", "sasl"] = "digest"
    """`sasl` is SASL with DIGEST-MD5; the servers' JAAS file then knows the user."""
    file: Path
    """File (0600) with `user:password`."""


class SideSettings(RuleModel):
    """One ensemble."""

    hosts: str
    """`host:port,host:port` of its servers, without a chroot."""
    tls: SideTls | None = None
    """None: connections are not encrypted."""
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


class Sides(RuleModel):
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
            raise _at(("sides", "b", "hosts"), msg)
        return self


class Rules(RuleModel):
    """The whole rules file."""

    sides: Sides
    """The two ensembles."""
    state_dir: Path
    """Folder for the base table and saved sessions (created, 0700)."""
    listen: str = Field("127.0.0.1:8280", pattern=r"^(\[[0-9a-fA-F:.]+\]|[^:/\s]+):\d{1,5}$")
    """`host:port` of the REST interface. Elsewhere than on loopback it wants a `token_file`."""
    token_file: Path | None = None
    """File (0600) with the bearer token of the REST interface. None: `token` in the state folder,
    which a run makes if it is missing."""
    subtrees: tuple[SubtreeRule, ...] = ()
    """What is copied."""
    projections: tuple[ProjectionRule, ...] = ()
    """Whose leaders are shown to the other side."""
    tuning: Tuning = Tuning()
    """How fast, how much at once, how patient."""

    @property
    def token_path(self) -> Path:
        """File of the bearer token."""
        return self.token_file or self.state_dir / "token"

    @property
    def listen_host(self) -> str:
        """Address of the REST interface."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def listen_port(self) -> int:
        """Port of the REST interface."""
        return int(self.listen.rpartition(":")[2])

    def covers(self, side: Side, path: str) -> bool:
        """Whether a path on a side is copied by one of the subtrees' rules."""
        for rule in self.subtrees:
            rel = Roots(rule.path_a, rule.path_b).rel(side, path)
            if rel is not None:
                return rule.selection.covers(rel)
        return False

    def policy(self, rule: SubtreeRule) -> Policy:
        """Who wins the conflicts of a subtree."""
        both = rule.goes_both_ways
        return Policy(
            rule.owner,
            rule.on_conflict,
            rule.delete_vs_update or default_delete_conflict(rule.on_conflict, both=both),
            both=both,
            clock_skew_max_ms=self.tuning.clock_skew_ms_max,
        )

    @model_validator(mode="after")
    def _has_token_elsewhere(self) -> Self:
        if self.token_file is None and not is_loopback(self.listen_host):
            msg = (
                f"expected a token_file where others can reach {self.listen}, saw none: name one, "
                "or listen on 127.0.0.1"
            )
            raise _at(("listen",), msg)
        return self

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for kind, rules in (
            ("subtree", self.subtrees),
            ("projection", self.projections),
        ):
            names = [rule.name for rule in rules]
            for name in names:
                if names.count(name) > 1:
                    msg = f"two {kind}s have the name {name!r}: expected one"
                    last = len(names) - 1 - names[::-1].index(name)
                    raise _at((f"{kind}s", last, "name"), msg)
        for index, rule in enumerate(self.subtrees):
            for other in self.subtrees[:index]:
                for side in Side:
                    _check_apart(rule, other, side, index)
        for index, projection in enumerate(self.projections):
            for rule in self.subtrees:
                for side in Side:
                    _check_election(projection, rule, side, index)
        return self


def _at(where: Where, message: str) -> PydanticCustomError:
    """An error of a check of the whole that belongs to one place in it."""
    # Braces in a message would be taken for names of its context.
    return PydanticCustomError("rules", "{message}", {"message": message, "where": where})


def _check_apart(rule: SubtreeRule, other: SubtreeRule, side: Side, index: int) -> None:
    one, two = rule.path(side), other.path(side)
    if is_within(one, two) or is_within(two, one):
        msg = (
            f"subtrees {other.name!r} ({two}) and {rule.name!r} ({one}) overlap on side {side}: "
            "expected each znode in one subtree"
        )
        raise _at(("subtrees", index, f"path_{side.value}"), msg)


def _check_election(projection: ProjectionRule, rule: SubtreeRule, side: Side, index: int) -> None:
    path, root = projection.path(side), rule.path(side)
    if is_within(path, root):
        msg = (
            f"the election path {path} of projection {projection.name!r} lies in subtree "
            f"{rule.name!r} ({root}) on side {side}: expected it in none, because elections "
            "are never copied"
        )
        raise _at(("projections", index, f"leader_path_{side.value}"), msg)


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
    document, lines = yaml_lines.load(text, str(path))
    return parse_rules(document, str(path), lines)


def parse_rules(document: object, name: str, lines: Mapping[Where, int] | None = None) -> Rules:
    """Check a document that was read already; `name` tells it in errors, `lines` where its values
    stand.

    Raises:
        RulesError: a wrong key or value.
    """
    try:
        return Rules.model_validate(document)
    except ValidationError as error:
        told = "; ".join(_explain(dict(detail), lines or {}) for detail in error.errors())
        msg = f"{name} is no rules file: {told}"
        raise RulesError(msg) from None


def _explain(detail: dict[str, Any], lines: Mapping[Where, int]) -> str:
    loc: Where = detail.get("ctx", {}).get("where") or detail["loc"]
    line = yaml_lines.line_of(lines, loc)
    where = ".".join(map(str, loc)) or "document"
    if line is not None:
        where = f"line {line}: {where}"
    if detail["type"] != "extra_forbidden":
        return f"{where}: {detail['msg'].removeprefix('Value error, ')}"
    known = _known_keys(loc[:-1])
    near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}" if near else f"known are {', '.join(sorted(known))}"
    return f"{where}: unknown key, {hint}"


_MODELS: dict[str, type[RuleModel]] = {
    "sides": Sides,
    "a": SideSettings,
    "b": SideSettings,
    "auth": SideAuth,
    "tls": SideTls,
    "subtrees": SubtreeRule,
    "projections": ProjectionRule,
    "ttl": TtlRule,
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
