"""The engine's status, gathered from its parts."""

from __future__ import annotations

from itertools import islice

from sync_engine import consent
from sync_engine.direction import Direction, Side
from sync_engine.engine import Engine
from sync_engine.health import Facts, assess
from sync_engine.lag import quantile
from sync_engine.replicator import Replicator
from sync_engine.report import (
    DirectionStatus,
    EngineStatus,
    LagStatus,
    SideStatus,
    SubtreeStatus,
)
from sync_engine.settings import Conflict

_PATHS_SHOWN_MAX = 50


def gather(engine: Engine) -> EngineStatus:
    """The status now; no I/O."""
    facts = gather_facts(engine)
    state, reasons = assess(facts)
    workers = engine.replicators
    all_workers = engine.workers()
    unreadable = sorted(p for w in all_workers for p in w.subtree.counters.unreadable)
    return EngineStatus(
        state=state,
        reasons=reasons,
        waiting=consent.named(engine.held_reasons) if engine.held_reasons else None,
        limits=[limit for limit in facts.limits if limit in reasons],
        epoch=engine.fence.epoch,
        holder=engine.fence.holder,
        started_at=engine.started_at,
        directions={direction: _direction(engine, direction) for direction in Direction},
        subtrees={name: _subtree(engine, name, worker) for name, worker in workers.items()},
        projections={name: found.status() for name, found in engine.projectors.items()},
        conflicts=engine.conflicts.count,
        held=sum(len(w.subtree.shared.held.entries) for w in workers.values()),
        clock_skew_ms=engine.clocks.skew_ms(),
        skipped=sum(len(w.subtree.counters.skipped) for w in all_workers),
        skipped_paths=_skipped(engine),
        unreadable=unreadable[:_PATHS_SHOWN_MAX],
        last_audit=engine.last_audit,
        sessions={side: _side(engine, side) for side in Side},
    )


def gather_facts(engine: Engine) -> Facts:
    """What the state is made of."""
    away = {side: link.disconnected_s() for side, link in engine.links.items()}
    workers = engine.replicators
    return Facts(
        fenced=engine.fence.lost,
        stopped=engine.is_stopped,
        held=engine.held_reasons,
        started=engine.is_started,
        copying=sorted({w.subtree.name for w in engine.workers() if w.is_copying}),
        disconnected_s={side: seconds for side, seconds in away.items() if seconds is not None},
        stall_after_s=engine.rules.tuning.stall_after_s,
        stalled={name: w.stalled for name, w in workers.items() if w.stalled is not None},
        troubles=_troubles(engine),
        limits=_limits(engine),
        waiting=engine.waiting,
    )


def _troubles(engine: Engine) -> list[str]:
    found: list[str] = []
    for worker in engine.workers():
        name, counters = worker.subtree.name, worker.subtree.counters
        if counters.unreadable:
            found.append(f"subtree {name}: {len(counters.unreadable)} paths cannot be read")
        for rel, reason in list(counters.skipped.items())[:3]:
            found.append(f"subtree {name}: {worker.subtree.source_path(rel)} skipped: {reason}")
        if worker.last_failure is not None:
            found.append(f"subtree {name}: {worker.last_failure}")
    found += _conflict_troubles(engine)
    found += [
        f"subtree {name}: {unowned.reason}"
        for name, worker in engine.replicators.items()
        if (unowned := consent.why_unowned(worker)) is not None
    ]
    found += [p.trouble for p in engine.projectors.values() if p.trouble is not None]
    found += [copier.trouble for copier in engine.copiers.values() if copier.trouble is not None]
    found += [
        f"side {side.value} came back and has not shown yet that it is what it was"
        for side, link in engine.links.items()
        if engine.is_started and link.is_connected and link.lost.is_set()
    ]
    found += [
        probe.trouble
        for direction, probe in engine.probes.items()
        if probe.trouble is not None and engine.links[direction.source].proven.is_set()
    ]
    found += _watch_troubles(engine)
    if engine.last_audit is not None and not engine.last_audit.equal:
        found.append("the last audit found differences")
    return found


def _watch_troubles(engine: Engine) -> list[str]:
    """Sides whose watches do not stand; a new connection sets them within moments, as a rule."""
    if not engine.is_started:
        return []
    return [
        f"side {side.value} tells no changes ({link.watch.trouble or 'watches are being set'}): "
        f"they are found by scans, at most {engine.rules.tuning.scan_interval_s:g} s apart"
        for side, link in engine.links.items()
        if link.watch.supports_persistent and not link.watch.stands
    ]


def _limits(engine: Engine) -> list[str]:
    return [
        f"side {side.value} has no persistent watches: changes are found by scans alone, at most "
        f"{engine.rules.tuning.scan_interval_s:g} s apart"
        for side, link in engine.links.items()
        if not link.watch.supports_persistent
    ]


def _conflict_troubles(engine: Engine) -> list[str]:
    found: list[str] = []
    skew_ms, bound_ms = engine.clocks.skew_ms(), engine.rules.tuning.clock_skew_ms_max
    for name, worker in engine.replicators.items():
        subtree = worker.subtree
        held = len(subtree.shared.held.entries)
        if held:
            found.append(f"subtree {name}: {held} conflicts wait to be resolved")
        is_by_time = subtree.policy.on_conflict is Conflict.LATEST
        if is_by_time and skew_ms is not None and abs(skew_ms) > bound_ms:
            found.append(
                f"subtree {name}: the owner wins conflicts in place of the latest, because the "
                f"clocks differ by {abs(skew_ms):.0f} ms, more than {bound_ms:.0f} ms"
            )
    return found


def _direction(engine: Engine, direction: Direction) -> DirectionStatus:
    meters = engine.meters[direction]
    workers = [w for w in engine.workers() if w.subtree.direction is direction]
    return DirectionStatus(
        backlog=sum(w.backlog for w in workers),
        applied=meters.rate.total,
        applied_per_s=meters.rate.per_s(),
        echoes=sum(w.subtree.counters.echoes for w in workers),
        lag=_lag(engine, direction),
        histogram=meters.lag.histogram(),
        zxid_heard=engine.watermarks[direction].heard,
        zxid_applied=engine.watermarks[direction].reach(
            [worker.oldest_pending() for worker in workers],
            is_told=engine.links[direction.source].tells_changes,
        ),
    )


def _skipped(engine: Engine) -> dict[str, str]:
    found = {
        w.subtree.source_path(rel): reason
        for w in engine.workers()
        for rel, reason in islice(w.subtree.counters.skipped.items(), _PATHS_SHOWN_MAX)
    }
    return dict(islice(found.items(), _PATHS_SHOWN_MAX))


def _lag(engine: Engine, direction: Direction) -> LagStatus:
    window = engine.meters[direction].lag.window()
    probe = engine.probes.get(direction)
    waiting = None if probe is None else probe.oldest_ms()
    if waiting is not None and (not window or waiting > window[-1]):
        window.append(waiting)
    if not window:
        return LagStatus()
    return LagStatus(
        p50_ms=quantile(window, 0.5),
        p99_ms=quantile(window, 0.99),
        max_ms=window[-1],
        samples=len(window),
    )


def _subtree(engine: Engine, name: str, worker: Replicator) -> SubtreeStatus:
    doc = worker.subtree.doc
    return SubtreeStatus(
        owner=doc.owner,
        znodes=len(worker.subtree.base),
        fenced_a=doc.fenced_a,
        fenced_b=doc.fenced_b,
        flipping=engine.is_flipping(name),
        stalled=worker.stalled,
        waiting=consent.waiting(worker),
        both_ways=worker.subtree.policy.both,
        held=len(worker.subtree.shared.held.entries),
        kept=len(worker.subtree.base.kept),
        unowned=len(worker.subtree.base.unowned),
        compared=worker.subtree.counters.compared,
    )


def _side(engine: Engine, side: Side) -> SideStatus:
    link = engine.links[side]
    ids = link.session_ids()
    ids += [p.session_id for p in engine.projectors.values() if p.target is side and p.session_id]
    return SideStatus(
        connected=link.is_connected,
        watching=link.tells_changes,
        persistent_watches=link.watch.supports_persistent,
        session_ids=[format_session(i) for i in ids],
    )


def format_session(session_id: int) -> str:
    """A session's id as ZooKeeper writes it: unsigned, hexadecimal."""
    return f"0x{session_id & 0xFFFF_FFFF_FFFF_FFFF:x}"
