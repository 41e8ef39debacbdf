"""Engines with one bug each, to see that the checker finds it.

Each is a small change to a part of the real engine, of a kind that a mistake could make.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from sync_engine import checkpoint, context, transaction
from sync_engine import decide as decide_module
from sync_engine.applier import Applier
from sync_engine.base import Base
from sync_engine.conflicts import ConflictJournal
from sync_engine.context import Subtree
from sync_engine.decide import Action, Decision, View
from sync_engine.direction import Side
from sync_engine.engine import Engine
from sync_engine.fence import Fence
from sync_engine.owners_side import OwnersSide
from sync_engine.replicator import Replicator
from sync_engine.rows import Row
from sync_engine.slots import Slot
from sync_engine.strategy import Choice, Policy
from sync_engine.transaction import Work
from sync_engine.wire import ANY_VERSION, Delete, MultiResult, Op, SetData
from sync_engine.znode import WORLD_ALL, Acl, Znode
from tests.robustness.history.writers import Plan

_EVERY = 4


@dataclass(frozen=True)
class Bug:
    """A bug, a run that brings it out, and a word that the checker must say."""

    name: str
    install: Callable[[], contextlib.AbstractContextManager[Any]]
    plan: Plan
    says: str


def _part(of: object, name: str) -> Any:
    """What nobody but a bug may touch."""
    return getattr(of, name)


def _every(count: int) -> Callable[[], bool]:
    """True once in `count` calls."""
    calls = 0

    def is_due() -> bool:
        nonlocal calls
        calls += 1
        return calls % count == 0

    return is_due


_unheard_tasks: set[asyncio.Task[Any]] = set()


def _unheard(write: Coroutine[Any, Any, object]) -> None:
    """Send something, whatever becomes of it."""

    def end(task: asyncio.Task[Any]) -> None:
        _unheard_tasks.discard(task)
        if not task.cancelled():
            task.exception()

    task = asyncio.get_running_loop().create_task(write)
    _unheard_tasks.add(task)
    task.add_done_callback(end)


def lost_event() -> contextlib.AbstractContextManager[Any]:
    """Some events are never heard."""
    real, is_due = _part(Engine, "_on_event"), _every(2)

    def on_event(self: Engine, side: Side, event: Any) -> None:
        if not is_due():
            real(self, side, event)

    return patch.object(Engine, "_on_event", on_event)


def ignored_gap() -> contextlib.AbstractContextManager[Any]:
    """What happened while the watch had no connection is never looked for."""

    def request(self: Replicator) -> None:
        del self

    return patch.object(Replicator, "request_comparison", request)


def doubled_write() -> contextlib.AbstractContextManager[Any]:
    """What was copied already is written again when it is looked at again."""
    real = context.decide

    def decide(
        source: View | None, target: View | None, row: Row | None, **options: Any
    ) -> Decision:
        decision = real(source, target, row, **options)
        is_same = decision.action in (Action.NOTHING, Action.MERGE)
        if is_same and source is not None and target is not None:
            return Decision(Action.UPDATE, data=True)
        return decision

    return patch.object(context, "decide", decide)


def skipped_acl() -> contextlib.AbstractContextManager[Any]:
    """Changes of an ACL are noted and not written."""

    async def apply_acls(self: Applier, works: Sequence[Work], outcome: Any) -> None:
        del self, outcome
        for work in works:
            assert work.target is not None
            work.note_acl(work.target.stamp.aversion + 1)

    return patch.object(Applier, "_apply_acls", apply_acls)


def wide_acl() -> contextlib.AbstractContextManager[Any]:
    """New znodes are open to everybody."""

    def target_acl(acl: tuple[Acl, ...], *, fenced: bool) -> tuple[Acl, ...]:
        del fenced
        return acl[:1]

    return patch.object(transaction, "target_acl", target_acl)


def stale_read() -> contextlib.AbstractContextManager[Any]:
    """What is read after an event may be older than the event: no barrier, no sync, no retry."""

    async def barrier(self: Fence, side: Side) -> int:
        del self, side
        return 0

    async def read(self: OwnersSide, rels: list[str], upto: int, **how: bool) -> list[Znode | None]:
        del upto, how
        subtree: Subtree = _part(self, "_subtree")
        return await subtree.source.reader.read_many([subtree.source_path(rel) for rel in rels])

    patches = contextlib.ExitStack()
    patches.enter_context(patch.object(Fence, "barrier", barrier))
    patches.enter_context(patch.object(OwnersSide, "read", read))
    return patches


def mistaken_delete() -> contextlib.AbstractContextManager[Any]:
    """A znode that cannot be read once is taken for deleted."""
    real, is_due = _part(OwnersSide, "read"), _every(_EVERY)

    async def read(self: OwnersSide, rels: list[str], upto: int, **how: bool) -> list[Znode | None]:
        nodes = await real(self, rels, upto, **how)
        is_leaf = nodes[-1] is not None and not nodes[-1].stat.num_children
        return [*nodes[:-1], None] if is_leaf and is_due() else nodes

    return patch.object(OwnersSide, "read", read)


def wrong_winner() -> contextlib.AbstractContextManager[Any]:
    """The side that does not own wins."""
    real = context.decide

    def decide(
        source: View | None, target: View | None, row: Row | None, **options: Any
    ) -> Decision:
        decision = real(source, target, row, **options)
        if decision.conflict == "changed-by-other" and decision.action is Action.UPDATE:
            return Decision(Action.MERGE)
        return decision

    return patch.object(context, "decide", decide)


def wrong_winner_both_ways() -> contextlib.AbstractContextManager[Any]:
    """Where both sides are copied, the side that is not the owner wins, on both sides alike."""

    def choose(policy: Policy, *_: int, **__: object) -> Choice:
        return Choice(policy.owner.other, "owner")

    return patch.object(decide_module, "choose", choose)


def invented_winner() -> contextlib.AbstractContextManager[Any]:
    """The journal names a winner that nobody wrote; the sides get the right one."""
    real = ConflictJournal.record

    def record(self: ConflictJournal, *, winner: Znode | None, **rest: Any) -> None:
        real(self, winner=None if winner is None else replace(winner, data=b"invented"), **rest)

    return patch.object(ConflictJournal, "record", record)


def silent_conflict() -> contextlib.AbstractContextManager[Any]:
    """What is overwritten is not journalled."""

    def record(self: Applier, works: Sequence[Work]) -> None:
        del self, works

    return patch.object(Applier, "_record_conflicts", record)


def exchanged_journal() -> contextlib.AbstractContextManager[Any]:
    """The journal keeps the winner's bytes in place of the loser's."""
    real = ConflictJournal.record

    def record(
        self: ConflictJournal, *, winner: Znode | None, loser: Znode | None, **rest: Any
    ) -> None:
        real(self, winner=loser, loser=winner, **rest)

    return patch.object(ConflictJournal, "record", record)


def echo_loop() -> contextlib.AbstractContextManager[Any]:
    """What was copied is written back to where it came from."""
    real = _part(Applier, "_tell")

    def tell(self: Applier, works: Sequence[Work]) -> None:
        real(self, works)
        subtree: Subtree = _part(self, "_subtree")
        for work in works:
            if work.decision.action is Action.UPDATE and work.source and not subtree.is_internal:
                path, data = subtree.source_path(work.rel), work.source.data
                version = work.source.stat.version
                _unheard(subtree.source.writer.set_data(path, data, version))

    return patch.object(Applier, "_tell", tell)


def stale_engine() -> contextlib.AbstractContextManager[Any]:
    """Nothing asks who holds the epoch."""

    async def transact(
        self: Fence, side: Side, ops: Sequence[Op], *, lane: Any = None
    ) -> MultiResult:
        writer = lane or _part(self, "_links")[side].writer
        return await writer.multi(ops)

    return patch.object(Fence, "transact", transact)


def forgotten_row() -> contextlib.AbstractContextManager[Any]:
    """Some rows are not brought up after a write."""
    real, is_due = Base.put, _every(_EVERY)

    def put(self: Base, changes: Mapping[str, Row | None], slot: Any = None) -> None:
        known = {rel: row for rel, row in changes.items() if row is None or rel not in self.rows}
        real(self, known if is_due() else changes, slot)

    return patch.object(Base, "put", put)


_is_settling: ContextVar[bool] = ContextVar("is_settling", default=False)


@contextlib.contextmanager
def forgotten_slot() -> Generator[None]:
    """A transaction whose answer was lost is taken for one that was not applied."""
    real_settle, real_repairs = _part(Applier, "_settle"), checkpoint.repairs

    async def settle(self: Applier, slot: Slot, first: set[str]) -> Any:
        # Several may settle at once, each in a task of its own.
        _is_settling.set(True)
        try:
            await real_settle(self, slot, first)
        finally:
            _is_settling.set(False)

    def repairs(*given: Any) -> dict[str, Row | None]:
        return {} if _is_settling.get() else real_repairs(*given)

    with patch.object(Applier, "_settle", settle), patch.object(checkpoint, "repairs", repairs):
        yield


def blind_write() -> contextlib.AbstractContextManager[Any]:
    """Writes expect no version."""
    real = transaction.operation

    def operation(work: Work, path: str, **options: Any) -> Op:
        match real(work, path, **options):
            case SetData(path, data):
                return SetData(path, data, ANY_VERSION)
            case Delete(path):
                return Delete(path, ANY_VERSION)
            case op:
                return op

    return patch.object(transaction, "operation", operation)


def stray_write() -> contextlib.AbstractContextManager[Any]:
    """The engine leaves something beside its subtree."""
    real = _part(Applier, "_tell")

    def tell(self: Applier, works: Sequence[Work]) -> None:
        real(self, works)
        if works:
            subtree: Subtree = _part(self, "_subtree")
            _unheard(subtree.target.writer.create("/stray", b"", WORLD_ALL))

    return patch.object(Applier, "_tell", tell)


_QUIET = Plan(1, foreign=0, troubles=3)
_CONFLICTS = Plan(1, foreign=2, troubles=0, lives=1)
_BOTH = replace(_CONFLICTS, both=True)
_WIDE = Plan(1, foreign=0, troubles=0, lives=1, paths=200)
_HOT_LOSSES = Plan(1, foreign=0, troubles=20, lives=1, writes=60)
_LOSSES = Plan(1, foreign=0, troubles=20, lives=1, writes=60, paths=200)
# Most of what they do is to create, and a created znode that was not seen has no row by which a
# sweep would find it.
_LAGGING = Plan(1, foreign=0, troubles=0, lives=1, paths=400, lag_s=0.3)
BUGS = (
    Bug("lost event", lost_event, _WIDE, "the sides differ"),
    Bug("ignored gap", ignored_gap, _LOSSES, "the sides differ"),
    Bug("doubled write", doubled_write, _QUIET, "was written before"),
    Bug("skipped ACL", skipped_acl, _QUIET, "the sides differ"),
    Bug("wide ACL", wide_acl, _QUIET, "the sides differ"),
    Bug("stale read", stale_read, _LAGGING, "the sides differ"),
    Bug("mistaken delete", mistaken_delete, _WIDE, "the sides differ"),
    Bug("wrong winner", wrong_winner, _CONFLICTS, "the sides differ"),
    Bug("wrong winner, both ways", wrong_winner_both_ways, _BOTH, "won over the owner's"),
    Bug("invented winner", invented_winner, _BOTH, "nobody wrote the winner"),
    Bug("silent conflict", silent_conflict, _CONFLICTS, "is nowhere"),
    Bug("exchanged journal", exchanged_journal, _CONFLICTS, "is nowhere"),
    Bug("echo loop", echo_loop, _QUIET, "is the owner's to write"),
    Bug("stale engine", stale_engine, replace(_QUIET, overtakes=True), "was taken over"),
    Bug("forgotten row", forgotten_row, _QUIET, "of which nobody wrote the other side"),
    Bug(
        "forgotten slot",
        forgotten_slot,
        replace(_LOSSES, paths=3),
        "of which nobody wrote the other side",
    ),
    Bug("blind write", blind_write, _QUIET, "expects no version"),
    Bug("stray write", stray_write, _QUIET, "lies outside the rules"),
)
