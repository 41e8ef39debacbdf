"""Whether every acknowledged write is where it must be. Pure.

A write of the owner is there on both sides, or a later write of an owner has replaced it. A write
of the other side is there too, or replaced by a later one of that side, or in the journal: with its
bytes, and with what won. Data and ACL are looked at apart, because they are written apart.

Four exceptions, which no engine can help. A znode that was deleted and created again inside one
window of reading and writing is journalled without its bytes; and not at all, if it was deleted in
that window and the engine died, or lost the connection, before the answer told it. An ACL that is
changed inside the window of a delete goes with its znode: no transaction can expect an ACL. And a
lost base no longer knows what was deleted: a delete on the other side before that moment is undone
without a word.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from sync_engine.direction import Roots, Side
from sync_engine.znode import Acl
from tests.robustness.history.acknowledged import AclSet, History, Kind, Node, Nodes, Write

_DATA = frozenset({Kind.CREATE, Kind.SET})
_ACL = frozenset({Kind.CREATE, Kind.SET_ACL})
_WINDOW = "created-again-by-other"
_UNDELETED = ("deleted-by-other", "deleted-above-new-children")
_SHOWN_MAX = 5
# What a write cannot have found, as a set where there is no znode.
_IMPOSSIBLE = Node(b"impossible", frozenset())


class Journal:
    """The journal of conflicts, by path of the loser's side."""

    def __init__(self, lines: Iterable[dict[str, Any]], roots: Roots) -> None:
        self.lines = list(lines)
        self._roots = roots

    def has_data(self, write: Write) -> bool:
        """Whether a write's bytes are there, under its zxid."""
        return any(
            loser["mzxid"] == write.zxid and data_of(loser) == write.data
            for loser in self._losers(write)
        )

    def has_acl(self, write: Write) -> bool:
        """Whether a write's ACL is there."""
        return any(_acl(loser) == write.acl for loser in self._losers(write))

    def has_delete(self, write: Write) -> bool:
        """Whether a delete is there, with the znode that won over it."""
        path = self._roots.path(write.side.other, write.rel)
        return any(
            line["reason"] in _UNDELETED
            and line["loser_side"] == write.side
            and line["winner"] is not None
            and line["winner"]["path"] == path
            for line in self.lines
        )

    def has_window(self, write: Write) -> bool:
        """Whether a znode was seen to have been created again unnoticed."""
        other = self._roots.path(write.side.other, write.rel)
        own = self._roots.path(write.side, write.rel)
        return any(
            line["reason"] == _WINDOW
            and line["loser_side"] == write.side
            and (
                (line["winner"] and line["winner"]["path"] == other)
                or (line["loser"] and line["loser"]["path"] == own)
            )
            for line in self.lines
        )

    def has_loser(self, path: str, node: Node) -> bool:
        """Whether a znode's data is there, whoever wrote it."""
        return any(
            line["loser"] is not None
            and line["loser"]["path"] == path
            and data_of(line["loser"]) == node.data
            for line in self.lines
        )

    def wrong_winners(self) -> list[str]:
        """Lines whose winner is not the other side's znode of the same path."""
        found: list[str] = []
        for line in self.lines:
            winner, loser, side = line["winner"], line["loser"], Side(line["loser_side"])
            if Side(line["winner_side"]) is side:
                found.append(f"{line['reason']}: both sides are {side}")
            elif winner is not None and loser is not None:
                one = self._roots.rel(side.other, winner["path"])
                if one is None or one != self._roots.rel(side, loser["path"]):
                    found.append(f"{line['reason']}: {winner['path']} won over {loser['path']}")
        return found

    def settled(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """Lines that name a winner, with the relative path."""
        for line in self.lines:
            side = Side(line["loser_side"])
            ends = ((side.other, line["winner"]), (side, line["loser"]))
            rels = [self._roots.rel(at, copy["path"]) for at, copy in ends if copy is not None]
            if not line.get("held") and rels and rels[0] is not None:
                yield rels[0], line

    def _losers(self, write: Write) -> Iterable[dict[str, Any]]:
        path = self._roots.path(write.side, write.rel)
        for line in self.lines:
            loser = line["loser"]
            if loser is not None and line["loser_side"] == write.side and loser["path"] == path:
                yield loser


def data_of(copy: dict[str, Any]) -> bytes | None:
    """The bytes of a version in the journal."""
    return None if copy["data"] is None else base64.b64decode(copy["data"])


def _acl(loser: dict[str, Any]) -> AclSet:
    return frozenset(Acl(*entry) for entry in loser["acl"])


def problems(history: History, a: Nodes, b: Nodes, journal: Journal) -> list[str]:
    """Everything that does not hold; empty when all of it does."""
    found = differences(a, b)
    found += journal.wrong_winners()
    paths: dict[str, list[Write]] = {}
    for write in sorted(history.writes, key=lambda w: w.order):
        paths.setdefault(write.rel, []).append(write)
    for rel, writes in paths.items():
        owned = [write for write in writes if write.owned]
        found += _lost_of_owner(rel, owned, a.get(rel))
        for index, write in enumerate(writes):
            if not write.owned and write.acknowledged:
                later = [w for w in writes[index + 1 :] if w.side is write.side]
                earlier = [w for w in writes[:index] if w.side is write.side and not w.owned]
                if write.kind is not Kind.DELETE:
                    found += _lost_of_other(write, later, owned, journal, history)
                elif journal.has_delete(write) or journal.has_window(write):
                    continue
                elif not _is_delete_kept(write, earlier, later, owned, history):
                    found.append(_lost(write))
    foreign = [*history.standing, *(write for write in history.writes if not write.owned)]
    if journal.lines and not foreign and not history.lost_base:
        found.append(f"{len(journal.lines)} conflicts, of which nobody wrote the other side")
    return found


def differences(a: Nodes, b: Nodes) -> list[str]:
    """Paths that are not equal on both sides."""
    rels = sorted(rel for rel in a.keys() | b.keys() if a.get(rel) != b.get(rel))
    shown = [f"{rel or '/'}: {a.get(rel)} on a, {b.get(rel)} on b" for rel in rels[:_SHOWN_MAX]]
    return [f"the sides differ in {len(rels)} paths", *shown] if rels else []


def _lost_of_owner(rel: str, owned: Sequence[Write], node: Node | None) -> list[str]:
    """The last write of the owners is what must be there."""
    if not owned:
        return [] if node is None else [f"{rel}: nobody who owns it wrote {node}"]
    if not all(write.acknowledged for write in owned):
        nodes = possible(owned)
        return [] if node in nodes else [f"{rel}: expected one of {nodes}, saw {node}"]
    if owned[-1].kind is Kind.DELETE:
        return [] if node is None else [f"{rel}: {owned[-1]} was undone, saw {node}"]
    data = next((w for w in reversed(owned) if w.kind in _DATA), None)
    acl = next((w for w in reversed(owned) if w.kind in _ACL), None)
    if node is None:
        return [f"{rel}: {owned[-1]} was lost with its znode"]
    found: list[str] = []
    if data is not None and data.data != node.data:
        found.append(f"{rel}: {data} was lost, saw {node.data!r}")
    if acl is not None and acl.acl != node.acl:
        found.append(f"{rel}: {acl} was lost, saw {node.acl}")
    return found


def possible(writes: Sequence[Write]) -> list[Node | None]:
    """What a path may hold after these writes, of which the last ones may not have been applied."""
    found: list[Node | None] = [None]
    for write in writes:
        after = [node for before in found if (node := _after(before, write)) is not _IMPOSSIBLE]
        found = list(dict.fromkeys(after if write.acknowledged else [*found, *after]))
    return found


def _after(before: Node | None, write: Write) -> Node | None:
    if (before is None) != (write.kind is Kind.CREATE):
        return _IMPOSSIBLE
    match write.kind:
        case Kind.CREATE:
            return Node(write.data, write.acl)
        case Kind.SET:
            assert before is not None
            return Node(write.data, before.acl)
        case Kind.SET_ACL:
            assert before is not None
            return Node(before.data, write.acl)
        case Kind.DELETE:
            return None


def _lost_of_other(
    write: Write,
    later: Sequence[Write],
    owned: Sequence[Write],
    journal: Journal,
    history: History,
) -> list[str]:
    is_again = any(
        w.kind is Kind.DELETE and (w.side, w.rel) == (write.side, write.rel)
        for w in history.writes
        if w.order <= write.order and not w.owned
    )
    if journal.has_window(write) or (is_again and _is_unheard(write, later, history)):
        return []
    replaced = {w.kind for w in later}
    found: list[str] = []
    if write.kind in _DATA and not replaced & {Kind.SET, Kind.CREATE, Kind.DELETE}:
        known = any(w.data == write.data for w in owned if w.kind in _DATA)
        if not known and not journal.has_data(write):
            found.append(_lost(write))
    if write.kind in _ACL and not replaced & {Kind.SET_ACL, Kind.CREATE, Kind.DELETE}:
        known = any(w.acl == write.acl for w in owned if w.kind in _ACL)
        is_going = write.kind is Kind.SET_ACL and _is_being_deleted(write, owned, history)
        known = known or is_going
        if not known and not journal.has_acl(write):
            found.append(_lost(write))
    return found


def _is_delete_kept(
    write: Write,
    earlier: Sequence[Write],
    later: Sequence[Write],
    owned: Sequence[Write],
    history: History,
) -> bool:
    """Whether a delete that is not journalled needs no journal."""
    if any(w.kind is Kind.CREATE for w in later):
        return True
    if any(order > write.order for order in history.lost_base):
        return True
    if _is_being_deleted(write, owned, history):
        # What the engine was about to do as well.
        return True
    # Whoever deletes what this side has created takes it back; nobody else's is lost.
    if earlier and earlier[-1].kind is not Kind.DELETE and Kind.CREATE in {w.kind for w in earlier}:
        return True
    # Gone on the owner's side too, then or later: both sides agreed at some moment.
    before = [w for w in owned if w.order < write.order]
    was_gone = not before or before[-1].kind is Kind.DELETE
    return was_gone or any(w.kind is Kind.DELETE for w in owned if w.order > write.order)


def _is_being_deleted(write: Write, owned: Sequence[Write], history: History) -> bool:
    """Whether the owner has deleted the znode, and the engine may not have done so yet."""
    rest = max((order for order in history.rests if order < write.order), default=0)
    return any(w.kind is Kind.DELETE and rest < w.order and w.sent < write.order for w in owned)


def _is_unheard(write: Write, later: Sequence[Write], history: History) -> bool:
    """Whether the next thing that became of a write is a delete that nobody heard of."""
    until = min((w.order for w in later), default=None)
    return any(
        order > write.order and (until is None or order < until)
        for order in history.unheard.get((write.side, write.rel), ())
    )


def _lost(write: Write) -> str:
    return f"{write.rel}: {write} is nowhere"
