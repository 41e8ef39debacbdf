"""What others may ask of a running engine; each request is one method.

Nothing is kept here: the parts belong to the engine, and so do their tasks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from sync_engine import consent, resolving
from sync_engine.audit import Auditor
from sync_engine.base import BaseStore
from sync_engine.conflicts import ConflictJournal
from sync_engine.direction import Side
from sync_engine.election import Projector
from sync_engine.ephemerals import EphemeralCopier
from sync_engine.errors import EngineBusyError, EngineRefusedError
from sync_engine.fence import Fence
from sync_engine.fencing import check_no_ephemerals
from sync_engine.flip import Flip
from sync_engine.link import Link
from sync_engine.padding import pad
from sync_engine.pair import OwnershipStore
from sync_engine.regular_audit import RegularAudits
from sync_engine.replicator import Replicator
from sync_engine.report import (
    AuditReport,
    ConflictPage,
    FlipReport,
    HeldConflict,
    HeldReport,
    PadReport,
    ProjectionKind,
    ProjectionStatus,
)
from sync_engine.settings import Rules

_PATHS_SHOWN_MAX = 5


class Requests:
    """The engine as its callers see it."""

    rules: Rules
    links: Mapping[Side, Link]
    fence: Fence
    owners: OwnershipStore
    store: BaseStore
    conflicts: ConflictJournal
    replicators: dict[str, Replicator]
    """The worker of each subtree; where both sides are copied, that of its owner's side."""
    twins: dict[str, Replicator]
    """The workers of the other way."""
    projectors: dict[str, Projector]
    copiers: dict[str, EphemeralCopier]
    """The workers of subtrees whose ephemerals are copied."""
    last_audit: AuditReport | None
    is_started: bool
    held_reasons: tuple[str, ...]
    """Why the start waits for an operator."""
    start_confirmed: asyncio.Event
    waiting: str | None

    def __init__(self) -> None:
        self._flips: dict[str, asyncio.Lock] = {}
        self.audits = RegularAudits(
            self.rules.tuning.audit_interval_s, self._audit_regularly, self._is_quiet
        )
        self._start_word: str | None = None

    def workers(self) -> list[Replicator]:
        """All workers of clients' subtrees."""
        return [*self.replicators.values(), *self.twins.values()]

    async def audit(self, timeout_s: float) -> AuditReport:
        """Compare both sides in full, while clients go on.

        Raises:
            EngineBusyError: it did not finish in time, or the engine is not up.
        """
        self.check_up()
        auditor = Auditor(self.replicators, self.rules.tuning)
        try:
            with self.audits.giving_way():
                async with asyncio.timeout(timeout_s):
                    report = await auditor.run()
        except TimeoutError:
            left = ", ".join(auditor.in_flight[:_PATHS_SHOWN_MAX])
            saw = f"{len(auditor.in_flight)} paths change, as {left}" if left else "it go on"
            msg = f"expected an audit within {timeout_s:g} s, saw {saw}: give it more time"
            raise EngineBusyError(msg) from None
        self.last_audit = report
        return report

    async def _audit_regularly(self) -> AuditReport:
        report = await Auditor(self._going(), self.rules.tuning, rests=True).run()
        self.last_audit = report
        return report

    def _going(self) -> dict[str, Replicator]:
        """The workers that do not wait for an operator: of the others an audit would tell nothing
        that nobody knows."""
        return {name: each for name, each in self.replicators.items() if each.stalled is None}

    def _is_quiet(self) -> bool:
        """Whether a regular audit may begin: there is something to look at, and no first copy is
        under way."""
        is_copying = any(worker.is_copying and not worker.stalled for worker in self.workers())
        return not is_copying and bool(self._going())

    async def flip(self, name: str, to: Side, timeout_s: float) -> FlipReport:
        """Make a side the owner of a subtree; its writers stand still. May be called again.

        Raises:
            EngineRefusedError: what must hold does not.
            EngineBusyError: not in time, or another flip is under way.
        """
        self.check_up()
        replicator = self.replicator(name)
        self._check_turns(name)
        lock = self._flips.setdefault(name, asyncio.Lock())
        if lock.locked():
            msg = f"expected no flip of {name} under way, saw one: wait for it"
            raise EngineBusyError(msg)
        async with lock:
            with self.audits.giving_way():
                return await Flip(replicator, self.owners, self.session_ids).run(to, timeout_s)

    def _check_turns(self, name: str) -> None:
        way = next(rule.direction for rule in self.rules.subtrees if rule.name == name)
        if way is not None:
            msg = (
                f"expected a subtree whose direction follows its owner, saw {name} go {way.value} "
                "by the rules: take the direction out of them"
            )
            raise EngineRefusedError(msg, type="DirectionFixed")

    def is_flipping(self, name: str) -> bool:
        """Whether a flip of the subtree is under way."""
        return name in self._flips and self._flips[name].locked()

    async def project(self, name: str, kind: ProjectionKind, timeout_s: float) -> ProjectionStatus:
        """Show, show otherwise or hide a leader. May be called again.

        Raises:
            EngineRefusedError: no such projection, or no number is free.
            EngineBusyError: not in time.
        """
        self.check_up()
        return await self.projector(name).set_kind(kind, timeout_s)

    async def fence_election(self, name: str, *, fenced: bool) -> ProjectionStatus:
        """Let nobody but the engine create in a projection's election path, or everybody again."""
        self.check_up()
        return await self.projector(name).set_fence(fenced=fenced)

    def projector(self, name: str) -> Projector:
        """The worker of a projection.

        Raises:
            EngineRefusedError: no such projection.
        """
        found = self.projectors.get(name)
        if found is None:
            known = ", ".join(sorted(self.projectors)) or "none"
            msg = f"expected one of the projections ({known}), saw {name!r}: correct the name"
            raise EngineRefusedError(msg, type="UnknownProjection")
        return found

    def session_ids(self) -> list[int]:
        """The engine's own sessions on both sides."""
        own = [p.session_id for p in (*self.projectors.values(), *self.copiers.values())]
        return [id_ for link in self.links.values() for id_ in link.session_ids()] + own

    def confirm(self, name: str | None, seen: str | None = None) -> None:
        """Let happen one thing that a subtree waits for; None: what the start waits for.

        `seen` names it, as the status does. Without it, it is the first that waits; if nothing
        does, nothing happens.

        Raises:
            EngineRefusedError: no such subtree, the start waits for nothing, or what was seen is
                not what waits.
        """
        if name is None and self.held_reasons:
            shown = consent.chosen([consent.named(self.held_reasons)], seen)
            self._start_word = None if shown is None else shown.seen
            self.start_confirmed.set()
            return
        if name is None:
            msg = "expected a start that waits, saw none: name the subtree"
            raise EngineRefusedError(msg, type="NothingWaits")
        self.check_up()
        worker = self.replicator(name)
        shown = consent.chosen(consent.waiting(worker), seen)
        if shown is None:
            return
        if shown == consent.why_stalled(worker):
            worker.go_on()
        else:
            worker.delete_unowned()
        if worker.subtree.shared.may_be_sequential:
            self.store.note(f"sequential:{name}", "yes")

    def take_word(self, reasons: Sequence[str]) -> bool:
        """Whether an operator's word for the start is about these reasons; it counts once."""
        was_given = self.start_confirmed.is_set()
        self.start_confirmed.clear()
        return was_given and consent.named(reasons).seen == self._start_word

    def held(self) -> HeldReport:
        """The conflicts that wait for an operator."""
        self.check_up()
        return HeldReport(
            conflicts=[
                resolving.describe(worker.subtree, entry)
                for worker in self.replicators.values()
                for entry in worker.subtree.shared.held.entries.values()
            ]
        )

    async def show_held(self, id_: int) -> HeldConflict:
        """One of them, with both versions as they are now.

        Raises:
            EngineRefusedError: no such conflict waits.
        """
        self.check_up()
        worker, entry = resolving.find(self.replicators.values(), id_)
        return await resolving.show(worker, entry)

    async def resolve(self, id_: int, choice: resolving.Choice) -> HeldReport:
        """Let a side win; returns what still waits.

        Raises:
            EngineRefusedError: no such conflict waits, or its versions are not those in `seen`.
            EngineBusyError: not in time.
        """
        self.check_up()
        worker, entry = resolving.find(self.replicators.values(), id_)
        twin = self.twins.get(worker.subtree.name)
        await resolving.resolve(worker, twin, entry, choice)
        return self.held()

    async def conflict_page(self, after: int, limit: int) -> ConflictPage:
        """Recorded conflicts with ids above `after`, oldest first."""
        return await resolving.page(self.conflicts, after, limit)

    async def pad(self, name: str, timeout_s: float) -> PadReport:
        """Move the other side's sequence counters on to where the owner's stand; never under a live
        election, whose members know each other by these numbers.

        Raises:
            EngineRefusedError: no such subtree, both its sides are copied, or a client has an
                ephemeral in it.
            EngineBusyError: not in time.
        """
        self.check_up()
        worker = self.replicator(name)
        subtree = worker.subtree
        if subtree.policy.both:
            msg = f"expected a subtree with one direction, saw {name} go both ways: nothing to pad"
            raise EngineRefusedError(msg, type="BothWays")
        began, side = time.monotonic(), subtree.owner.other
        try:
            async with asyncio.timeout(timeout_s), worker.lock:
                await check_no_ephemerals(subtree, self.session_ids())
                padded = await pad(subtree, side)
        except TimeoutError:
            msg = f"expected the padding to end within {timeout_s:g} s: call it again, it goes on"
            raise EngineBusyError(msg) from None
        return PadReport(subtree=name, side=side, padded=padded, seconds=time.monotonic() - began)

    def replicator(self, name: str) -> Replicator:
        """The worker of a subtree.

        Raises:
            EngineRefusedError: no such subtree.
        """
        found = self.replicators.get(name)
        if found is None:
            known = ", ".join(sorted(self.replicators)) or "none"
            msg = f"expected one of the subtrees ({known}), saw {name!r}: correct the name"
            raise EngineRefusedError(msg, type="UnknownSubtree")
        return found

    def check_up(self) -> None:
        """Raise unless requests can be served.

        Raises:
            EngineBusyError: the engine is starting.
        """
        self.fence.check_held()
        if not self.is_started:
            waits = "; ".join(self.held_reasons) or self.waiting
            msg = f"expected a started engine, saw it wait for {waits}: try again"
            raise EngineBusyError(msg)
