"""Whether every acknowledged write is where it must be, where both sides' writes are copied. Pure.

No side is the only one to write: a write is there on both sides, or a later write to its path, of
either side, has replaced it, or the journal has it, with what won. What is there at the end, and
what the journal names, was written by somebody; what it names as the winner is there at the end if
nothing was written after it; and where the owner is to win, the owner's has won. Whoever deletes
what the other side had never seen takes it back, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sync_engine.direction import Side
from tests.robustness.history.acknowledged import History, Kind, Node, Nodes, Write
from tests.robustness.history.checker import Journal, data_of, differences

_UNSEEN = "created-again-by-other"
_OF_TWO_VERSIONS = ("changed-by-both", "different-without-base")
_DATA = frozenset({Kind.CREATE, Kind.SET})
_ACL = frozenset({Kind.CREATE, Kind.SET_ACL})


def problems(
    history: History, a: Nodes, b: Nodes, journal: Journal, owner: Side | None = None
) -> list[str]:
    """Everything that does not hold; empty when all of it does. `owner`: whose version is to win
    where both sides have changed a path; None where another rule says so.
    """
    found = differences(a, b) + journal.wrong_winners()
    paths: dict[str, list[Write]] = {}
    for write in sorted(history.writes, key=lambda w: w.order):
        paths.setdefault(write.rel, []).append(write)
    for rel, node in a.items():
        found += _from_nowhere(rel, node, paths.get(rel, []))
    for rel, writes in paths.items():
        node = a.get(rel)
        for write in writes:
            later = [w for w in writes if _may_replace(w, write)]
            if write.kind is Kind.DELETE and _takes_back(write, writes, history, journal):
                continue
            if write.kind is Kind.SET_ACL and _is_being_deleted(write, writes):
                continue
            if write.acknowledged and not _is_kept(write, later, node, journal):
                found.append(f"{rel}: {write} is nowhere, saw {node}")
    for rel, line in journal.settled():
        found += [f"{rel}: {what}" for what in _wrong(line, paths.get(rel, []), a.get(rel), owner)]
    return found


def _wrong(
    line: dict[str, Any], writes: Sequence[Write], node: Node | None, owner: Side | None
) -> Iterable[str]:
    """What is not true of a line of the journal."""
    reason, winner, loser = line["reason"], line["winner"], line["loser"]
    if reason == _UNSEEN:
        # Of whose versions not all bytes may be known.
        return
    for role, copy in (("winner", winner), ("loser", loser)):
        if copy is not None and all(w.data != data_of(copy) for w in writes if w.kind in _DATA):
            yield f"{reason}: nobody wrote the {role} {data_of(copy)!r}"
    if winner is None or loser is None:
        return
    won = Side(line["winner_side"])
    if reason in _OF_TWO_VERSIONS and owner not in (None, won):
        yield f"{reason}: side {won} won over the owner's {data_of(loser)!r}"
    is_last = all(
        _is_last(writes, side, copy) for side, copy in ((won, winner), (won.other, loser))
    )
    if is_last and (node is None or node.data != data_of(winner)):
        yield f"{reason}: {data_of(winner)!r} won over {data_of(loser)!r}, saw {node}"


def _is_last(writes: Sequence[Write], side: Side, copy: dict[str, Any]) -> bool:
    """Whether a version is what clients of its side wrote there last."""
    own = [write for write in writes if write.side is side and write.kind is not Kind.SET_ACL]
    if not own:
        return False
    last = own[-1]
    return last.acknowledged and (last.zxid, last.data) == (copy["mzxid"], data_of(copy))


def _from_nowhere(rel: str, node: Node, writes: Sequence[Write]) -> list[str]:
    has_data = any(w.kind in _DATA and w.data == node.data for w in writes)
    has_acl = any(w.kind in _ACL and w.acl == node.acl for w in writes)
    return [] if has_data and has_acl else [f"{rel}: nobody wrote {node}"]


def _may_replace(later: Write, write: Write) -> bool:
    """Whether one may have been applied after the other; of the same side, by order."""
    if later is write:
        return False
    return later.order > write.order


def _takes_back(delete: Write, writes: Sequence[Write], history: History, seen: Journal) -> bool:
    """Whether a delete removed what its own side alone had ever seen, and left its side as the
    other knew it: the other side's znode, of which it did not know, goes on."""
    side, other, last_of_all = delete.side, delete.side.other, delete
    own = [write for write in writes if write.side is side and write.order < delete.order]
    while delete.kind is Kind.DELETE:
        version = delete
        while version.kind is not Kind.CREATE:
            before = [w for w in own if w.kind in _DATA and w.zxid == version.took]
            if not before or (other, before[0].rel, before[0].data) in history.copied:
                # The engine's, or one that the other side had as well.
                return delete is not last_of_all and _is_newer(delete, writes, seen)
            version = before[0]
        last = [w for w in own if w.order < version.order]
        if not last:
            return True
        delete = last[-1]
    return True


def _is_being_deleted(write: Write, writes: Sequence[Write]) -> bool:
    """Whether the other side's last word is a delete: an ACL that is changed before it arrives goes
    with its znode, as no transaction can expect an ACL."""
    other = [w for w in writes if w.side is not write.side and w.sent < write.order]
    return bool(other) and other[-1].kind is Kind.DELETE


def _is_newer(delete: Write, writes: Sequence[Write], seen: Journal) -> bool:
    """Whether what stands after a delete of what both sides had is known to be something else."""
    is_new = any(
        w.kind is Kind.CREATE and w.side is not delete.side and w.order > delete.order
        for w in writes
    )
    return is_new or seen.has_delete(delete)


def _is_kept(write: Write, later: Sequence[Write], node: Node | None, journal: Journal) -> bool:
    """Data and ACL apart, as they are written."""
    if journal.has_window(write):
        return True
    if write.kind is Kind.DELETE:
        return node is None or bool(later) or journal.has_delete(write)
    is_data_kept = (
        write.kind not in _DATA
        or (node is not None and node.data == write.data)
        or any(w.kind is not Kind.SET_ACL for w in later)
        or journal.has_data(write)
    )
    is_acl_kept = (
        write.kind not in _ACL
        or (node is not None and node.acl == write.acl)
        or any(w.kind is not Kind.SET for w in later)
        or journal.has_acl(write)
    )
    return is_data_kept and is_acl_kept
