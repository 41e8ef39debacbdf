"""The history of a run in memory: what its ensembles have logged, as a client would have.

Clients in memory are acknowledged by the leader itself, so a transaction of theirs in the log is a
write that they were told of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from sync_engine import documents
from sync_engine.acl_fence import fence, is_fenced
from sync_engine.direction import Side
from sync_engine.watch import EventKind
from sync_engine.wire import Check, Delete, SetData
from sync_engine.znode import Acl, is_within
from tests.robustness.history.acknowledged import History, Kind, Node, Write
from tests.robustness.history.checker import Journal, differences, problems
from tests.robustness.history.laws import broken, is_engine
from tests.sync_engine.memory.ensemble import Txn
from tests.sync_engine.memory.tree import Create, EndSession, Op, Result, SetAcl
from tests.sync_engine.memory.world import ROOTS, SUBTREE, World

# An answer is on its way for less; an engine that goes on to write for longer has heard it.
_ANSWER_S = 0.05

Terms = list[tuple[int, Side]]
"""Who became the owner, and when, by order."""


def complaints(world: World) -> list[str]:
    """Everything that does not hold of a run that has come to rest."""
    a, b = nodes(world)
    found = problems(history(world), a, b, Journal(world.conflicts(), ROOTS))
    logs = {side: ensemble.log for side, ensemble in world.sides.items()}
    return found + broken(SUBTREE, ROOTS, logs, world.selections)


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
    last_s = {
        txn.who: txn.at_s
        for _, txn in both
        # The end of its sessions comes long after its own.
        if not all(isinstance(op, EndSession) for op in txn.ops)
    }
    owner, term = Side.A, 0
    terms: Terms = [(0, owner)]
    for side, txn in both:
        if is_engine(txn.who):
            doc = _ownership(txn)
            if doc is not None and doc.term > term:
                owner, term = doc.owner, doc.term
                terms.append((txn.order, owner))
            died = txn.who != world.who and last_s.get(txn.who, 0.0) - txn.at_s < _ANSWER_S
            if died or txn.order in world.sides[side].unheard:
                for op in txn.ops:
                    rel = ROOTS.rel(side, op.path) if isinstance(op, Delete) else None
                    if rel is not None:
                        found.unheard.setdefault((side, rel), []).append(txn.order)
            continue
        told = _writes(side, txn, owned=side is owner)
        found.writes.extend(write for write in told if world.is_always_covered(write.rel))
    _leave_out_standing(world, found)
    # A base that was made while there was nothing but the root lacked nothing.
    began = min((write.order for write in found.writes if write.rel), default=0)
    found.lost_base.extend(order for order in world.lost_base if order > began)
    _leave_out_forgotten(world, found, terms)
    return found


def copied(world: World) -> set[tuple[Side, str, bytes | None]]:
    """Data that engines wrote, by side and relative path."""
    return {
        (side, rel, op.data)
        for side, ensemble in world.sides.items()
        for txn in ensemble.log
        if is_engine(txn.who)
        for op in txn.ops
        if isinstance(op, Create | SetData) and (rel := ROOTS.rel(side, op.path)) is not None
    }


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
    """Both sides' persistent znodes that are the engine's; an ACL that is the fence of the other
    side's is that one, and what stays for something that is left out below it is not there."""
    found = {side: _nodes(world, side) for side in Side}
    for side in Side:
        for rel in [rel for rel in found[side] if _is_kept(world, side, rel)]:
            del found[side][rel]
    for side in Side:
        for rel, node in found[side].items():
            other = found[side.other].get(rel)
            if other is None or not is_fenced(node.acl) or is_fenced(other.acl):
                continue
            if frozenset(fence(other.acl)) == node.acl:
                found[side][rel] = Node(node.data, other.acl)
    return found[Side.A], found[Side.B]


def _is_kept(world: World, side: Side, rel: str) -> bool:
    """Whether a znode may stay on one side alone: something below it is nobody's to delete."""
    if ROOTS.path(side.other, rel) in world.sides[side.other].tree.nodes:
        return False
    path = ROOTS.path(side, rel)
    return any(
        is_within(other, path) and not world.is_always_covered(ROOTS.rel(side, other) or "")
        for other in world.sides[side].tree.nodes
    )


def _leave_out_standing(world: World, found: History) -> None:
    """Take out writes of the side that is not the owner that stand in a znode that is kept, and
    what each has replaced."""
    last: dict[tuple[Side, str], int] = {}
    for write in found.writes:
        if _stands(world, write):
            last[write.side, write.rel] = write.order
    for write in found.writes:
        if not write.owned and write.order <= last.get((write.side, write.rel), 0):
            found.standing.append(write)
    found.writes[:] = [write for write in found.writes if write not in found.standing]


def _leave_out_forgotten(world: World, found: History, terms: Terms) -> None:
    """Take out deletes of a former owner that count no more.

    On the other side the znode had to stay, for something that was left out below it, and that side
    has become the owner since. Once nothing left out is below it, or clients there went on with it,
    or the base was lost, which alone knew of the delete, what stands there is the owner's word, as
    if it had been created then.
    """
    _, owner = terms[-1]
    owned: dict[str, list[Write]] = {}
    for write in found.writes:
        if write.owned:
            owned.setdefault(write.rel, []).append(write)
    for rel, writes in owned.items():
        # Where nothing stands, or only what is kept, it was known after all.
        node = world.sides[owner].tree.nodes.get(ROOTS.path(owner, rel))
        if node is None or _is_kept(world, owner, rel):
            continue
        forgotten = _forgotten(world, writes, found, terms)
        if forgotten is None or not _is_known(found.writes, rel, node.data, frozenset(node.acl)):
            continue
        past = {write.order for write in writes if write.order <= forgotten.order}
        word = replace(
            forgotten,
            side=forgotten.side.other,
            kind=Kind.CREATE,
            data=node.data,
            acl=frozenset(node.acl),
        )
        kept = [w for w in found.writes if not (w.owned and w.rel == rel and w.order in past)]
        found.writes[:] = [*kept, word]


def _is_known(writes: list[Write], rel: str, data: bytes | None, acl: frozenset[Acl]) -> bool:
    """Whether somebody wrote that content to a path: which of its versions stayed, nobody tells."""
    own = [write for write in writes if write.rel == rel]
    return any(w.kind in {Kind.CREATE, Kind.SET} and w.data == data for w in own) and any(
        w.kind in {Kind.CREATE, Kind.SET_ACL} and w.acl == acl for w in own
    )


def _forgotten(world: World, writes: list[Write], found: History, terms: Terms) -> Write | None:
    """The last delete of these, all of one path and its owners', if the other side had to keep the
    znode and its clients became the owners after it."""
    deletes = [at for at, write in enumerate(writes) if write.kind is Kind.DELETE]
    if not deletes:
        return None
    write, later = writes[deletes[-1]], writes[deletes[-1] + 1 :]
    if any(w.kind is Kind.CREATE for w in later):
        return None
    other = write.side.other
    began = [order for order, owner in terms if owner is other and order > write.order]
    if not began:
        return None
    stood = _left_out_below(world, other, write.rel)
    if any(order > write.order for order in found.lost_base):
        goes_on = later[0].side if later else terms[-1][1]
        some = any(is_there and write.order < at <= began[-1] for at, is_there in stood)
        return write if goes_on is other and (some or _last(stood, write.order)) else None
    # Whoever changes the owner lets go of all that nothing is below of any more.
    if not _last(stood, began[0]):
        return None
    let_go = any(not is_there and at > began[0] for at, is_there in stood)
    went_on = any(
        w.owned and w.side is other and w.order > began[0] and is_within(w.rel, write.rel)
        for w in found.writes
    )
    return write if let_go or went_on else None


def _left_out_below(world: World, side: Side, rel: str) -> list[tuple[int, bool]]:
    """Since when, by order, something left out stands below a path on a side or does not."""
    standing: set[str] = set()
    found = [(0, False)]
    for txn in world.sides[side].log:
        for event in txn.happened:
            other = ROOTS.rel(side, event.path)
            if other is None or not is_within(other, rel) or world.is_always_covered(other):
                continue
            if event.kind is EventKind.CREATED:
                standing.add(other)
            elif event.kind is EventKind.DELETED:
                standing.discard(other)
        found.append((txn.order, bool(standing)))
    return found


def _last(stood: list[tuple[int, bool]], order: int) -> bool:
    return [is_there for at, is_there in stood if at <= order][-1]


def _stands(world: World, write: Write) -> bool:
    if write.owned or not _is_kept(world, write.side, write.rel):
        return False
    node = world.sides[write.side].tree.nodes.get(ROOTS.path(write.side, write.rel))
    if node is None or node.owner:
        return False
    has_acl = write.kind is Kind.SET or frozenset(node.acl) == write.acl
    return has_acl and (write.kind is Kind.SET_ACL or node.data == write.data)


def _nodes(world: World, side: Side) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for path, node in world.sides[side].tree.nodes.items():
        rel = ROOTS.rel(side, path)
        if rel is not None and not node.owner and world.is_always_covered(rel):
            found[rel] = Node(node.data, frozenset(node.acl))
    return found
