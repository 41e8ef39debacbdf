"""The engine: puts the parts together, starts them, and knows how they are.

Start: connect both sides, make sure they are two, take the fence, read who owns what, repair each
base from the checkpoint slots; then one replicator a subtree. Everything that runs is a task of one
group: the first failure that trying again does not change ends the engine, and the reason is its
exit.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeGuard

import structlog

from sync_engine import documents, slots
from sync_engine.base import Base, BaseStore
from sync_engine.clock import Clocks
from sync_engine.conflicts import ConflictJournal
from sync_engine.context import Applied, Shared, Subtree
from sync_engine.direction import Direction, Roots, Side
from sync_engine.documents import Ownership
from sync_engine.election import Projector
from sync_engine.ephemerals import EphemeralCopier
from sync_engine.errors import StateError, SyncError, WentBackError
from sync_engine.fence import Fence
from sync_engine.globs import EVERYTHING
from sync_engine.held import HeldPaths
from sync_engine.lag import LagMeter, RateMeter
from sync_engine.link import Link
from sync_engine.marker import MarkerProbe
from sync_engine.merge import MergeRunner, find_hook
from sync_engine.opening import come_to_pair
from sync_engine.pair import OwnershipStore
from sync_engine.replicator import Replicator, now
from sync_engine.report import AuditReport
from sync_engine.requests import Requests
from sync_engine.sentry import Sentry
from sync_engine.settings import Ephemerals, Rules, SubtreeRule
from sync_engine.strategy import Policy
from sync_engine.sweep import run_scans, run_sweep
from sync_engine.unheard import Overwritten
from sync_engine.watch import WatchEvent
from sync_engine.watermark import Watermark
from sync_engine.znode import PERSISTENT, is_within

_log = structlog.get_logger()
_START_PAUSE_S = 0.5


class Meters:
    """What one direction is measured by."""

    def __init__(self) -> None:
        self.lag = LagMeter(time.monotonic)
        self.rate = RateMeter(time.monotonic)


class Engine(Requests):
    """One engine process."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        super().__init__()
        self.started_at = time.time()
        self.is_stopped = False
        self.last_audit: AuditReport | None = None
        self.start_confirmed = asyncio.Event()
        self.meters = {direction: Meters() for direction in Direction}
        self.clocks = Clocks(time.monotonic)
        self.mergers = {
            rule.name: MergeRunner(
                rule.merge_hook, find_hook(rule.merge_hook), timeout_s=rules.tuning.merge_timeout_s
            )
            for rule in rules.subtrees
            if rule.merge_hook is not None
        }
        self.store = BaseStore(rules.state_dir / "base.sqlite")
        try:
            self.conflicts = ConflictJournal(
                rules.state_dir / "conflicts.jsonl", bytes_max=rules.tuning.conflict_bytes_max
            )
        except StateError:
            self.store.close()
            raise
        self._begin()

    def _begin(self) -> None:
        """All that is made anew when a side went back: sessions remember what they have seen."""
        rules = self.rules
        self.is_started = False
        self.waiting = "both sides to answer"
        self.held_reasons: tuple[str, ...] = ()
        self.replicators: dict[str, Replicator] = {}
        self.twins: dict[str, Replicator] = {}
        self.probes: dict[Direction, MarkerProbe] = {}
        self.watermarks = {direction: Watermark() for direction in Direction}
        self.links = {
            side: Link(
                side, rules.sides[side], rules.tuning, on_event=self._on_event, on_gap=self._on_gap
            )
            for side in Side
        }
        holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.fence = Fence(self.links, holder)
        self.owners = OwnershipStore(self.links, self.fence)
        self.projectors = {
            rule.name: Projector(rule, self.links, self.fence, rules.state_dir)
            for rule in rules.projections
        }
        self.copiers: dict[str, EphemeralCopier] = {}
        self._running: set[str] = set()
        self._markers: dict[Direction, Replicator] = {}
        # Workers of clients' subtrees and of markers: whoever may care about an event.
        self._listeners: list[Replicator] = []
        self._sentry = Sentry(self.links, self.probes, self.fence, self.store)
        self._tasks: asyncio.TaskGroup | None = None

    # Life

    async def run(self) -> None:
        """Start and work until cancelled.

        Raises:
            FencedError: a newer engine has taken over.
            SyncError: what trying again does not change.
        """
        try:
            while not await self._run_once():
                await self._close_sessions()
                self._begin()
        finally:
            try:
                await self._close_sessions()
            finally:
                self.store.close()
                self.is_stopped = True
                _log.info("engine.stopped")

    async def _run_once(self) -> bool:
        """Work until the end; False where a side went back, and all must begin anew."""
        try:
            # A task of its own: a group that fails takes a cancellation's place, and in Python 3.11
            # leaves one of its own on its task's account.
            await asyncio.create_task(self._work(), name="engine")
        except BaseExceptionGroup as group:
            error, own = _first(group), asyncio.current_task()
            is_cancelled = own is not None and own.cancelling() > 0
            if isinstance(error, WentBackError) and not is_cancelled:
                _log.error("engine.begins_anew", reason=str(error))
                return False
            raise error from None
        return True

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._main())

    async def settle(self, bound_s: float) -> None:
        """Let transactions under way end, so that an orderly stop leaves nothing to look up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(bound_s), AsyncExitStack() as locks:
                # Not the twins': they share their locks.
                for replicator in (*self.replicators.values(), *self._markers.values()):
                    await locks.enter_async_context(replicator.lock)

    async def _main(self) -> None:
        attaching = [projector.attach() for projector in self.projectors.values()]
        await asyncio.gather(*attaching, *(link.start() for link in self.links.values()))
        while True:
            try:
                await self._start()
                break
            except SyncError as error:
                if not error.retryable:
                    raise
                self.waiting = str(error)
                _log.warning("engine.start_waits", reason=str(error))
                await asyncio.sleep(_START_PAUSE_S)
        for work in (self._follow_fence(), self._sentry.run(), self.audits.run()):
            self._spawn(work)
        self.is_started = True
        self.waiting = None
        _log.info("engine.started", epoch=self.fence.epoch, subtrees=sorted(self.replicators))

    async def _start(self) -> None:
        self.waiting = "the fence and the state in both ensembles"
        await come_to_pair(self.links, self.store, self.fence, self.rules, asker=self)
        for rule in self.rules.subtrees:
            if rule.name not in self.replicators:
                await self._add_subtree(rule)
        for direction in Direction:
            if direction not in self._markers:
                await self._add_marker(direction)
        for name, projector in self.projectors.items():
            if name not in self._running:
                await projector.start()
                self._running.add(name)
                self._spawn(projector.run())

    async def _follow_fence(self) -> None:
        await self.fence.was_lost.wait()
        self.fence.check_held()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._tasks is not None
        return self._tasks.create_task(work)

    async def _close_sessions(self) -> None:
        if self.is_started:
            with suppress(StateError):
                # What ends the engine is told already, a full disk perhaps; this is for the next
                # start's comfort.
                self._sentry.note()
        for owner in (*self.projectors.values(), *self.copiers.values()):
            await owner.close()
        for link in self.links.values():
            with suppress(SyncError):
                await link.close()

    # Parts

    async def _add_subtree(self, rule: SubtreeRule) -> None:
        name, roots = rule.name, Roots(rule.path_a, rule.path_b)
        doc = await self.owners.load(name, Ownership(owner=rule.owner))
        if rule.direction is not None and doc.owner is not rule.owner:
            # Where the direction is fixed, so is the owner.
            doc = doc.owned_by(rule.owner)
            await self.owners.save(name, doc, first=rule.owner)
        subtree = await self._subtree(name, roots, doc, rule)
        workers = [Replicator(subtree)]
        if rule.goes_both_ways:
            mirrored = subtree.mirrored(subtree.policy)
            workers.append(Replicator(mirrored, twin=workers[0]))
        for worker in workers:
            source = worker.subtree.owner
            await self.links[source].follow(roots.root(source))
        self.replicators[name] = workers[0]
        if rule.goes_both_ways:
            self.twins[name] = workers[1]
        if rule.ephemerals is Ephemerals.OWN:
            self.copiers[name] = EphemeralCopier(workers[0], self.rules.state_dir)
            self._spawn(self.copiers[name].run())
        self._listeners += workers
        for worker in workers:
            self._spawn(worker.run())
            self._spawn(run_sweep(worker))

    async def _add_marker(self, direction: Direction) -> None:
        path = documents.marker_path(direction)
        await slots.ensure(self.links[direction.source], path)
        subtree = await self._subtree(
            f"marker-{direction.value}", Roots(path, path), Ownership(owner=direction.source)
        )
        replicator = Replicator(subtree)
        await self.links[direction.source].follow(path)
        probe = MarkerProbe(
            self.links[direction.source],
            self.fence,
            self.meters[direction].lag,
            self.rules.tuning.marker_interval_ms,
            self.clocks,
        )
        self._markers[direction] = replicator
        self._listeners.append(replicator)
        self.probes[direction] = probe
        self._spawn(replicator.run())
        self._spawn(probe.run())
        self._spawn(run_scans(replicator, self.workers))

    async def _subtree(
        self, name: str, roots: Roots, doc: Ownership, rule: SubtreeRule | None = None
    ) -> Subtree:
        selection = EVERYTHING if rule is None else rule.selection
        base = Base(self.store, name, roots)
        found = await slots.load(name, self.links, base, Overwritten(self.conflicts, name, roots))
        base.narrow(selection)
        shared = Shared(
            HeldPaths(self.store, name, selection),
            self.clocks.skew_ms,
            self.mergers.get(name),
            may_be_sequential=self.store.meta(f"sequential:{name}") == "yes",
        )
        return Subtree(
            name=name,
            roots=roots,
            doc=doc,
            base=base,
            slots=found,
            links=self.links,
            fence=self.fence,
            conflicts=self.conflicts,
            tuning=self.rules.tuning,
            on_applied=self._on_applied,
            policy=Policy(doc.owner) if rule is None else self.rules.policy(rule),
            shared=shared,
            kind=(lambda _: PERSISTENT) if rule is None else rule.kind,
            selection=selection,
        )

    # Events

    def _on_event(self, side: Side, event: WatchEvent) -> None:
        heard_at, path = now(), event.path
        if event.zxid is not None:
            direction = Direction.leaving(side)
            is_alone = path == documents.marker_path(direction)
            self.watermarks[direction].hear(event.zxid, is_alone=is_alone)
        for replicator in self._listeners:
            subtree = replicator.subtree
            rel = subtree.roots.rel(side, path)
            if rel is not None and subtree.owner is side and subtree.covers(rel):
                replicator.notify(rel, heard_at, zxid=event.zxid)
        for copier in self.copiers.values():
            if copier.source is side:
                copier.notify(path)
        for projector in self.projectors.values():
            if is_within(path, projector.rule.path(side)):
                projector.wake()

    def _on_gap(self, side: Side) -> None:
        _log.warning("watch.gap", side=side)
        for replicator in self._listeners:
            if replicator.subtree.owner is side:
                replicator.request_comparison()
        for copier in self.copiers.values():
            copier.request_comparison()
        for projector in self.projectors.values():
            projector.wake()

    def _on_applied(self, subtree: Subtree, applied: Sequence[Applied]) -> None:
        direction = subtree.direction
        meters = self.meters[direction]
        if subtree.is_internal:
            for stamp, _ in applied:
                self.probes[direction].note_applied(stamp)
            return
        meters.rate.add(len(applied))
        done_at = now()
        for _, heard_at in applied:
            if heard_at is not None:
                meters.lag.record((done_at - heard_at) * 1000)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of a group; the engine has one reason to end."""
    first = group.exceptions[0]
    return _first(first) if _is_group(first) else first


def _is_group(error: BaseException) -> TypeGuard[BaseExceptionGroup[BaseException]]:
    return isinstance(error, BaseExceptionGroup)
