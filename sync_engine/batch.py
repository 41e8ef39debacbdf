"""One transaction: its operations, and what each of them is for.

In this order: the checkpoint slot, guards and proofs of deletes (`identity.py`), then what the
works are about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sync_engine import documents, identity, transaction, wire
from sync_engine.context import Subtree
from sync_engine.transaction import Work
from sync_engine.wire import Check, Op, SetData
from sync_engine.znode import Stat

_HEAD_BYTES = 8


def frame_bytes(ops: Sequence[Op]) -> int:
    """Size of a fenced transaction's request; encodes all of it."""
    check = Check(documents.EPOCH, 0)
    return len(wire.multi_body([check, *ops])) + _HEAD_BYTES


class Batch:
    """The transaction of some works; `guards` are parents by relative path, and their counts."""

    def __init__(
        self, subtree: Subtree, note: SetData, works: Sequence[Work], guards: Mapping[str, int]
    ) -> None:
        self.ops: list[Op] = [note]
        self._parts: list[Work | str | None] = [None]
        for above, creates in guards.items():
            path, acl = subtree.target_path(above), subtree.target.own_acl
            for op in identity.operations(path, creates, acl):
                self._add(op, above)
        for work in works:
            if transaction.needs_proof(work):
                self._add(transaction.proof(work, subtree.target_path(work.rel)), work)
        self._first = len(self.ops)
        fenced = subtree.target_is_fenced
        for work in works:
            path, kind = subtree.target_path(work.rel), subtree.kind(work.rel)
            self._add(transaction.operation(work, path, fenced=fenced, kind=kind), work)

    def _add(self, op: Op, what: Work | str) -> None:
        self.ops.append(op)
        self._parts.append(what)

    @property
    def frame_bytes(self) -> int:
        """Size of the request, the fence's check included; encodes all of it."""
        return frame_bytes(self.ops)

    def part(self, index: int) -> Work | str | None:
        """What an operation is for: a work, the parent whose guard it is, None for the slot."""
        return self._parts[index]

    def is_proof(self, index: int) -> bool:
        """Whether an operation that belongs to a work only shows which znode a delete removes."""
        return index < self._first

    def identities(self, stats: Sequence[Stat | None]) -> Iterator[tuple[Work, int]]:
        """The czxid of each znode whose Stat a transaction's answer tells."""
        for part, stat in zip(self._parts, stats, strict=True):
            if isinstance(part, Work) and stat is not None:
                yield part, stat.czxid
