"""The engine's own znodes under `/.zksync`, as values. Pure.

::

    /.zksync                       on both sides, never copied
    ├── identity                   which ensemble of which pair this is; written once
    ├── epoch                      who may write; every multi checks its version
    ├── subtrees/<name>            owner; the document with the higher term is the truth
    ├── slots/<name>/<n>           checkpoints, on the side that is written
    ├── markers/<direction>        lag probes
    └── projections/<name>         on side a: what stands in its election path and why
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sync_engine.direction import Direction, Side
from sync_engine.errors import StateError
from sync_engine.report import ProjectionKind

ROOT = "/.zksync"
IDENTITY = f"{ROOT}/identity"
EPOCH = f"{ROOT}/epoch"
SUBTREES = f"{ROOT}/subtrees"
SLOTS = f"{ROOT}/slots"
MARKERS = f"{ROOT}/markers"
PROJECTIONS = f"{ROOT}/projections"
FOLDERS = (ROOT, SUBTREES, SLOTS, MARKERS, PROJECTIONS)


def subtree_path(name: str) -> str:
    """Where a subtree's document stands."""
    return f"{SUBTREES}/{name}"


def marker_path(direction: Direction) -> str:
    """Where a direction's lag probe stands."""
    return f"{MARKERS}/{direction.value}"


def projection_path(name: str) -> str:
    """Where a projection's document stands, on side a."""
    return f"{PROJECTIONS}/{name}"


class Document(BaseModel):
    """A later engine may add fields that this one must not drop, so unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def encode(self) -> bytes:
        """As a znode's data."""
        return self.model_dump_json().encode()


class Identity(Document):
    """Which side of which pair an ensemble is."""

    pair: str
    side: Side


class Epoch(Document):
    """Who may write, since which term."""

    epoch: int
    holder: str


class Ownership(Document):
    """Who owns a subtree, and which sides are fenced (or being fenced)."""

    owner: Side
    term: int = 1
    fenced_a: bool = False
    fenced_b: bool = False

    def is_fenced(self, side: Side) -> bool:
        """Whether a side's ACLs may be fenced ones."""
        return self.fenced_a if side is Side.A else self.fenced_b

    def with_fenced(self, side: Side, *, fenced: bool) -> Ownership:
        """The next term, with a side's fence noted."""
        name = "fenced_a" if side is Side.A else "fenced_b"
        return self.model_copy(update={name: fenced, "term": self.term + 1})

    def owned_by(self, side: Side) -> Ownership:
        """The next term, with another owner."""
        return self.model_copy(update={"owner": side, "term": self.term + 1})


class Projected(Document):
    """What the engine put into side a's election path."""

    kind: ProjectionKind = ProjectionKind.OFF
    number: int | None = None
    leader_node: str | None = None
    """Name of side b's leading child that `number` stands for."""
    history: tuple[int, ...] = ()
    """Numbers used before, newest last: the next one is the longest unused."""
    changed_at: float | None = None
    fence_wanted: bool = False
    original_acl: str | None = None
    """The election path's ACL before it was fenced."""


D = TypeVar("D", bound=Document)


def decode(kind: type[D], data: bytes | None, path: str) -> D:
    """Read a document.

    Raises:
        StateError: it is damaged or of another version.
    """
    try:
        return kind.model_validate_json(data or b"")
    except ValidationError as error:
        msg = (
            f"expected {kind.__name__} of this version in {path}, saw {error.error_count()} "
            "mismatches: use the engine that wrote it"
        )
        raise StateError(msg) from None
