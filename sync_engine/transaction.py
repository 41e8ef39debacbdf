"""From decisions to transactions: operations, intents, order and size. Pure.

Deletes go first, children before parents; then creates, parents before children; then updates. All
of a batch travel on one connection, which ZooKeeper answers in order, so a create may stand in a
later transaction than its parent's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sync_engine.acl_fence import fence
from sync_engine.checkpoint import INTENT_BYTES, Intent, Kind
from sync_engine.decide import Action, Decision, View
from sync_engine.direction import depth
from sync_engine.rows import Row, Stamp
from sync_engine.wire import Create, Delete, Op, SetData
from sync_engine.znode import PERSISTENT, Acl, NodeKind, Znode

# Header and version of an operation, header of the frame, check of the epoch, head of the slot.
_OP_BYTES = 64
_FRAME_BYTES = 512
_ACL_ENTRY_BYTES = 64


@dataclass(slots=True)
class Work:
    """One path under way. `target` is what the decision took the other copy for."""

    rel: str
    source: Znode | None
    view: View | None
    target: View | None
    row: Row | None
    decision: Decision
    heard_at: float | None = None
    loser: Znode | None = None
    siblings: int | None = None
    """How many children the target's parent ever had before the target was read, where a delete is
    to expect that (`identity.py`)."""
    is_unproven: bool = False
    """Whether a delete cannot show which znode it removes: the engine may not write it."""

    @property
    def source_stamp(self) -> Stamp | None:
        """The stamp of what is copied."""
        return None if self.view is None or self.view.ephemeral else self.view.stamp

    def note_acl(self, aversion: int) -> None:
        """The target's ACL was written: it has the source's from now on."""
        assert self.target is not None
        assert self.view is not None
        self.target = replace(
            self.target, acl=self.view.acl, stamp=self.target.stamp._replace(aversion=aversion)
        )


def needs_transaction(work: Work) -> bool:
    """Whether a work writes data; an ACL alone cannot stand in a multi."""
    match work.decision.action:
        case Action.CREATE | Action.DELETE:
            return True
        case Action.UPDATE:
            return work.decision.data
        case _:
            return False


def operation(work: Work, path: str, *, fenced: bool, kind: NodeKind = PERSISTENT) -> Op:
    """The operation of a work that needs a transaction, at the version it expects."""
    match work.decision.action:
        case Action.CREATE:
            assert work.source is not None
            assert work.view is not None
            acl = target_acl(work.view.acl, fenced=fenced)
            return Create(path, work.source.data, acl, kind=kind)
        case Action.DELETE:
            assert work.target is not None
            # A proof comes before it, and counts.
            return Delete(path, work.target.stamp.version + needs_proof(work))
        case _:
            assert work.source is not None
            assert work.target is not None
            return SetData(path, work.source.data, work.target.stamp.version)


def needs_proof(work: Work) -> bool:
    """Whether a delete shows which znode it removes: somebody else may create it again at the
    version that is expected, and a delete's answer holds no Stat.
    """
    return work.decision.action is Action.DELETE and not work.is_unproven


def proof(work: Work, path: str) -> Op:
    """What stands before such a delete: its answer's Stat tells the identity."""
    assert work.target is not None
    return SetData(path, None, work.target.stamp.version)


def target_acl(acl: tuple[Acl, ...], *, fenced: bool) -> tuple[Acl, ...]:
    """The ACL to write for an original one."""
    return fence(acl) if fenced else acl


def intent(work: Work) -> Intent:
    """What the slot says about a work."""
    kind = {Action.CREATE: Kind.CREATE, Action.DELETE: Kind.DELETE}.get(
        work.decision.action, Kind.UPDATE
    )
    before = None if work.target is None else work.target.stamp
    if work.view is None or kind is Kind.DELETE:
        return Intent(work.rel, kind, work.source_stamp, before, bytes(16), ())
    return Intent(work.rel, kind, work.source_stamp, before, work.view.data_hash, work.view.acl)


def size(work: Work) -> int:
    """Bytes that a work takes in a request at most, its share of the slot included."""
    path = 4 * len(work.rel) + _OP_BYTES
    data = 0 if work.source is None or work.source.data is None else len(work.source.data)
    acl = 0 if work.view is None else sum(_ACL_ENTRY_BYTES + len(e.id) for e in work.view.acl)
    own = path + data + acl + INTENT_BYTES
    # A proof, and a guard's two operations.
    return own + path * (needs_proof(work) + 2 * (work.siblings is not None))


def ordered(works: Iterable[Work]) -> list[Work]:
    """The order in which works must be sent."""

    def place(work: Work) -> tuple[int, int, str]:
        match work.decision.action:
            case Action.DELETE:
                return (0, -depth(work.rel), work.rel)
            case Action.CREATE:
                return (1, depth(work.rel), work.rel)
            case _:
                return (2, 0, work.rel)

    return sorted(works, key=place)


def batches(
    works: Sequence[Work], *, bytes_max: int, ops_max: int, path_bytes: int
) -> list[list[Work]]:
    """Split ordered works into transactions; a work that is too large alone stands alone."""
    found: list[list[Work]] = []
    used = 0
    for work in works:
        need = size(work) + path_bytes
        if not found or used + need > bytes_max or len(found[-1]) >= ops_max:
            found.append([])
            used = _FRAME_BYTES
        found[-1].append(work)
        used += need
    return found
