"""Whether every acknowledged write is where it must be, where both sides' writes are copied. Pure.

There is no owner: a write is there on both sides, or a later write to its path, of either side, has
replaced it, or the journal has it. What is there at the end was written by somebody.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.robustness.history.acknowledged import History, Kind, Node, Nodes, Write
from tests.robustness.history.checker import Journal, differences

_DATA = frozenset({Kind.CREATE, Kind.SET})
_ACL = frozenset({Kind.CREATE, Kind.SET_ACL})


def problems(history: History, a: Nodes, b: Nodes, journal: Journal) -> list[str]:
    """Everything that does not hold; empty when all of it does."""
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
            if write.acknowledged and not _is_kept(write, later, node, journal):
                found.append(f"{rel}: {write} is nowhere, saw {node}")
    return found


def _from_nowhere(rel: str, node: Node, writes: Sequence[Write]) -> list[str]:
    has_data = any(w.kind in _DATA and w.data == node.data for w in writes)
    has_acl = any(w.kind in _ACL and w.acl == node.acl for w in writes)
    return [] if has_data and has_acl else [f"{rel}: nobody wrote {node}"]


def _may_replace(later: Write, write: Write) -> bool:
    """Whether one may have been applied after the other; of the same side, by order."""
    if later is write:
        return False
    return later.order > write.order


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
