"""The history of a run in memory: what its ensembles have logged, as a client would have.

Clients in memory are acknowledged by the leader itself, so a transaction of theirs in the log is a
write that they were told of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from sync_engine import documents
from sync_engine.acl_fence import fence, is_fenced
from sync_engine.direction import Side
from sync_engine.wire import Check, Delete, SetData
from sync_engine.znode import Acl, is_within
from tests.robustness.history.acknowledged import History, Kind, Node, Write
from tests.robustness.history.checker import Journal, differences, problems
from tests.robustness.history.laws import broken, is_engine
from tests.sync_engine.memory.ensemble import Txn
from tests.sync_engine.memory.tree import Create, EndSession, Op, Result, SetAcl
from tests.sync_engine.memory.world import ROOTS, SUBTREE, World


def complaints(world: World) -> list[str]:
    """Everything that does not hold of a run that has come to rest."""
    a, b = nodes(world)
    found = problems(history(world), a, b, Journal(world.conflicts(), ROOTS))
    logs = {side: ensemble.log for side, ensemble in world.sides.items()}
    return found + broken(SUBTREE, ROOTS, logs)


def unaided(world: World) -> list[str]:
    """What differs although nobody wrote the other side there: no audit may be needed for it."""
    told = history(world)
    if told.lost_base or world.replicator.stalled is not None:
        return []
    foreign = {write.rel for write in told.writes if not write.owned}
    a, b = (
        {rel: node for rel, node in found.items() if not _is_beside(rel, foreign)}
        for found in nodes(world)
    )
    return differences(a, b)


def _is_beside(rel: str, foreign: set[str]) -> bool:
    """Whether somebody wrote the other side at, above or below a path."""
    return any(is_within(rel, other) or is_within(other, rel) for other in foreign if other) or (
        rel == "" and "" in foreign
    )


def history(world: World) -> History:
    """What clients were told, in order."""
    both = sorted(
        ((side, txn) for side, ensemble in world.sides.items() for txn in ensemble.log),
        key=lambda entry: entry[1].order,
    )
    found = History(rests=list(world.rests))
    owner, term = Side.A, 0
    for side, txn in both:
        if is_engine(txn.who):
            doc = _ownership(txn)
            if doc is not None and doc.term > term:
                owner, term = doc.owner, doc.term
            continue
        found.writes.extend(_writes(side, txn, owned=side is owner))
    # A base that was made while there was nothing but the root lacked nothing.
    began = min((write.order for write in found.writes if write.rel), default=0)
    found.lost_base.extend(order for order in world.lost_base if order > began)
    return found


def _ownership(txn: Txn) -> documents.Ownership | None:
    path = documents.subtree_path(SUBTREE)
    for op in txn.ops:
        if isinstance(op, SetData) and op.path == path:
            return documents.Ownership.model_validate(json.loads(op.data or b""))
    return None


def _writes(side: Side, txn: Txn, *, owned: bool) -> Iterator[Write]:
    for op, result in zip(txn.ops, txn.results, strict=True):
        if isinstance(op, Check | EndSession) or _is_ephemeral(txn, op):
            continue
        rel = ROOTS.rel(side, result.path)
        if rel is not None:
            yield _write(side, rel, txn, op, result, owned=owned)


def _is_ephemeral(txn: Txn, op: Create | SetData | Delete | SetAcl) -> bool:
    if isinstance(op, Create):
        return op.ephemeral
    copy = txn.before[op.path]
    return copy is not None and copy.stat.ephemeral_owner != 0


def _write(side: Side, rel: str, txn: Txn, op: Op, result: Result, *, owned: bool) -> Write:
    kind, data, acl = Kind.DELETE, None, frozenset[Acl]()
    if isinstance(op, Create):
        kind, data, acl = Kind.CREATE, op.data, frozenset(op.acl)
    elif isinstance(op, SetData):
        kind, data = Kind.SET, op.data
    elif isinstance(op, SetAcl):
        kind, acl = Kind.SET_ACL, frozenset(op.acl)
    aversion = 0 if result.stat is None else result.stat.aversion
    return Write(txn.order, side, rel, kind, txn.zxid, owned, data, acl, aversion)


def nodes(world: World) -> tuple[dict[str, Node], dict[str, Node]]:
    """Both sides' persistent znodes; an ACL that is the fence of the other side's is that one."""
    found = {side: _nodes(world, side) for side in Side}
    for side in Side:
        for rel, node in found[side].items():
            other = found[side.other].get(rel)
            if other is None or not is_fenced(node.acl) or is_fenced(other.acl):
                continue
            if frozenset(fence(other.acl)) == node.acl:
                found[side][rel] = Node(node.data, other.acl)
    return found[Side.A], found[Side.B]


def _nodes(world: World, side: Side) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for path, node in world.sides[side].tree.nodes.items():
        rel = ROOTS.rel(side, path)
        if rel is not None and not node.owner:
            found[rel] = Node(node.data, frozenset(node.acl))
    return found
