"""The status in Prometheus' text format. Pure.

Names and what they count are in `METRICS`; a value is only ever taken from the status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sync_engine.report import DirectionStatus, EngineState, EngineStatus

METRICS: dict[str, tuple[str, str]] = {
    "zksync_state": ("gauge", "1 for the state the engine is in"),
    "zksync_epoch": ("gauge", "Epoch of the fence that this engine holds"),
    "zksync_backlog_znodes": ("gauge", "Paths known to have changed and not yet applied"),
    "zksync_applied_znodes_total": ("counter", "Changes applied to the other side"),
    "zksync_echoes_total": ("counter", "Changes that were the engine's own"),
    "zksync_lag_ms": ("histogram", "From a change to the acknowledgement that it was applied"),
    "zksync_conflicts_total": ("counter", "Conflicts recorded"),
    "zksync_held_conflicts": ("gauge", "Conflicts that wait for an operator"),
    "zksync_clock_skew_ms": ("gauge", "By how much side b's clock is ahead of side a's"),
    "zksync_skipped_znodes": ("gauge", "Paths that are not copied"),
    "zksync_unreadable_znodes": ("gauge", "Paths that the engine may not read"),
    "zksync_subtree_znodes": ("gauge", "Paths known to be equal on both sides"),
    "zksync_audit_equal": ("gauge", "1 if the last audit found both sides equal"),
    "zksync_side_connected": ("gauge", "1 if both lanes to a side have a server"),
    "zksync_side_watching": ("gauge", "1 if a side's watches stand, so that each change is told"),
}


def render(status: EngineStatus) -> str:
    """All metrics of a status."""
    lines: list[str] = []
    for name, (kind, text) in METRICS.items():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{suffix} {_number(value)}" for suffix, value in _values(name, status)]
    return "\n".join(lines) + "\n"


def _values(name: str, status: EngineStatus) -> Iterator[tuple[str, float]]:
    """Labels and value of each sample of a metric."""
    by_direction: dict[str, Callable[[DirectionStatus], float]] = {
        "zksync_backlog_znodes": lambda way: way.backlog,
        "zksync_applied_znodes_total": lambda way: way.applied,
        "zksync_echoes_total": lambda way: way.echoes,
    }
    plain: dict[str, float] = {
        "zksync_epoch": status.epoch,
        "zksync_conflicts_total": status.conflicts,
        "zksync_held_conflicts": status.held,
        "zksync_skipped_znodes": status.skipped,
        "zksync_unreadable_znodes": len(status.unreadable),
    }
    if status.clock_skew_ms is not None:
        plain["zksync_clock_skew_ms"] = status.clock_skew_ms
    if name in plain:
        yield "", plain[name]
    elif name in by_direction:
        for direction, way in status.directions.items():
            yield f'{{direction="{direction.value}"}}', by_direction[name](way)
    else:
        yield from _labelled(name, status)


def _labelled(name: str, status: EngineStatus) -> Iterator[tuple[str, float]]:
    match name:
        case "zksync_state":
            for state in EngineState:
                yield f'{{state="{state.value}"}}', float(status.state is state)
        case "zksync_lag_ms":
            yield from _histograms(status)
        case "zksync_subtree_znodes":
            for subtree, found in status.subtrees.items():
                yield f'{{subtree="{subtree}",owner="{found.owner.value}"}}', found.znodes
        case "zksync_audit_equal":
            if status.last_audit is not None:
                yield "", float(status.last_audit.equal)
        case "zksync_side_connected" | "zksync_side_watching":
            is_watching = name == "zksync_side_watching"
            for side, session in status.sessions.items():
                value = session.watching if is_watching else session.connected
                yield f'{{side="{side.value}"}}', float(value)
        case _:
            # Nobody knows the clocks yet.
            return


def _histograms(status: EngineStatus) -> Iterator[tuple[str, float]]:
    for direction, way in status.directions.items():
        label = f'direction="{direction.value}"'
        for bound, count in way.histogram.items():
            yield f'_bucket{{{label},le="{bound}"}}', count
        yield f"_count{{{label}}}", way.histogram.get("+Inf", 0)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
