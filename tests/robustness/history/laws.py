"""What no transaction of an engine may be, whatever the order of faults. Pure.

For ensembles in memory, whose logs hold every transaction with who sent it and what it replaced.
Values are unique in a run, so that writing one twice shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sync_engine import documents
from sync_engine.direction import Roots, Side
from sync_engine.globs import Selection
from sync_engine.wire import ANY_VERSION, Check, Delete, SetData
from sync_engine.znode import is_within
from tests.sync_engine.memory.ensemble import Txn
from tests.sync_engine.memory.tree import Create, EndSession, Op, SetAcl

_PAD, _GUARD = "zksync-pad", "zksync-delete-"


def _is_passing(path: str) -> bool:
    """Whether a path exists inside a transaction alone."""
    name = path.rpartition("/")[2]
    return name == _PAD or name.startswith(_GUARD)


def is_engine(who: str) -> bool:
    """Whether a name is an engine's: `e<n>`."""
    return who[:1] == "e" and who[1:].isdigit()


@dataclass(slots=True)
class _Reader:
    """Goes through both logs in the order in which they were written."""

    name: str
    roots: Roots
    selections: Mapping[str, Selection]
    both: bool = False
    found: list[str] = field(default_factory=list[str])
    owner: Side = Side.A
    term: int = 0
    holders: dict[Side, int] = field(default_factory=dict[Side, int])
    created: set[tuple[Side, int]] = field(default_factory=set[tuple[Side, int]])
    written: dict[tuple[Side, str], set[bytes | None]] = field(
        default_factory=dict[tuple[Side, str], set[bytes | None]]
    )

    def read(self, side: Side, txn: Txn) -> None:
        by_engine = is_engine(txn.who)
        for op in txn.ops:
            if isinstance(op, EndSession):
                for happened in txn.happened:
                    self.written.pop((side, happened.path), None)
            if isinstance(op, Check | EndSession):
                continue
            if by_engine:
                self._engine(side, txn, op)
            else:
                self.written.pop((side, op.path), None)
                if isinstance(op, Create):
                    self.created.add((side, txn.zxid))
        if by_engine:
            self._whole(side, txn)

    def _engine(self, side: Side, txn: Txn, op: Create | SetData | Delete | SetAcl) -> None:
        if is_within(op.path, documents.ROOT):
            self._document(side, txn, op)
            return
        rel = self.roots.rel(side, op.path)
        if rel is None:
            is_above = is_within(self.roots.root(side), op.path)
            if not (is_above and isinstance(op, Create) and side is not self.owner):
                self._say(side, txn, op, "lies outside the rules")
            return
        if isinstance(op, SetAcl):
            # What was fenced and is left out since then is let go of with the rest.
            if not any(selection.covers(rel) for selection in self.selections.values()):
                self._say(side, txn, op, "is left out by the rules")
            self._acl(side, txn, op)
        elif not _is_passing(op.path):
            if not self.selections[txn.who].covers(rel):
                self._say(side, txn, op, "is left out by the rules")
            self._data(side, txn, op)

    def _document(self, side: Side, txn: Txn, op: Op) -> None:
        """Learn from the engine's own znodes who owns and who holds the epoch."""
        if not isinstance(op, SetData):
            return
        if op.path == documents.subtree_path(self.name):
            self._own(op)
        elif op.path == documents.EPOCH:
            self.holders[side] = max(self.holders.get(side, 0), int(txn.who[1:]))

    def _acl(self, side: Side, txn: Txn, op: SetAcl) -> None:
        copy = txn.before[op.path]
        if op.aversion == ANY_VERSION:
            self._say(side, txn, op, "expects no aversion")
        if copy is None or (side, copy.stat.czxid) in self.created:
            # Created again by a client, at the aversion that was expected.
            return
        if int(txn.who[1:]) < self.holders.get(side, 0):
            # The one write that no fence covers: its aversion is all that holds it back.
            return
        if set(copy.acl) == set(op.acl):
            self._say(side, txn, op, "writes what was there")

    def _data(self, side: Side, txn: Txn, op: Create | SetData | Delete) -> None:
        if side is self.owner and not self.both:
            self._say(side, txn, op, "is the owner's to write")
        if isinstance(op, SetData | Delete) and op.version == ANY_VERSION:
            self._say(side, txn, op, "expects no version")
        is_proof = isinstance(op, SetData) and any(
            isinstance(other, Delete) and other.path == op.path for other in txn.ops
        )
        if isinstance(op, Create | SetData) and not is_proof:
            known = self.written.setdefault((side, op.path), set())
            if op.data in known:
                self._say(side, txn, op, "was written before")
            known.add(op.data)

    def _own(self, op: SetData) -> None:
        doc = json.loads(op.data or b"{}")
        if doc["term"] > self.term:
            self.term, self.owner = doc["term"], Side(doc["owner"])
            # Each owner may say again what the one before said.
            self.written.clear()

    def _whole(self, side: Side, txn: Txn) -> None:
        root = self.roots.root(side)
        data = [
            op
            for op in txn.ops
            if isinstance(op, Create | SetData | Delete) and is_within(op.path, root)
        ]
        if not data:
            return
        if int(txn.who[1:]) < self.holders.get(side, 0):
            self._say(side, txn, data[0], "comes from an engine that was taken over")
        first = txn.ops[0]
        if not (isinstance(first, Check) and first.path == documents.EPOCH):
            self._say(side, txn, data[0], "checks no epoch")
        slots = [
            op for op in txn.ops if isinstance(op, SetData) and op.path.startswith(documents.SLOTS)
        ]
        if len(slots) != 1 and not data[0].path.endswith(f"/{_PAD}"):
            self._say(side, txn, data[0], f"stands with {len(slots)} slots")

    def _say(self, side: Side, txn: Txn, op: Op, what: str) -> None:
        self.found.append(f"{txn.who} on side {side} at {txn.at_s:.3f}: {op} {what}")


def broken(
    name: str,
    roots: Roots,
    logs: Mapping[Side, Sequence[Txn]],
    selections: Mapping[str, Selection],
    *,
    both: bool = False,
) -> list[str]:
    """Transactions that break a law; `selections`: what each engine takes for its own; `both`:
    whether both sides' writes are copied.
    """
    reader = _Reader(name, roots, selections, both)
    in_order: Iterable[tuple[Side, Txn]] = sorted(
        ((side, txn) for side, log in logs.items() for txn in log), key=lambda e: e[1].order
    )
    for side, txn in in_order:
        reader.read(side, txn)
    return reader.found
