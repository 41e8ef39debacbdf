"""The status in Prometheus' text format. Pure.

Names and what they count are in `METRICS`; a value is only ever taken from the status.
"""

from __future__ import annotations

from collections.abc import Iterator

from sync_engine.report import EngineState, EngineStatus

METRICS: dict[str, tuple[str, str]] = {
    "zksync_state": ("gauge", "1 for the state the engine is in"),
    "zksync_epoch": ("gauge", "Epoch of the fence that this engine holds"),
    "zksync_backlog_znodes": ("gauge", "Paths known to have changed and not yet applied"),
    "zksync_applied_znodes_total": ("counter", "Changes applied to the other side"),
    "zksync_echoes_total": ("counter", "Changes that were the engine's own"),
    "zksync_lag_ms": ("histogram", "From a change to the acknowledgement that it was applied"),
    "zksync_conflicts_total": ("counter", "Conflicts recorded"),
    "zksync_skipped_znodes": ("gauge", "Paths that are not copied"),
    "zksync_unreadable_znodes": ("gauge", "Paths that the engine may not read"),
    "zksync_subtree_znodes": ("gauge", "Paths known to be equal on both sides"),
    "zksync_audit_equal": ("gauge", "1 if the last audit found both sides equal"),
    "zksync_side_connected": ("gauge", "1 if both lanes to a side have a server"),
}


def render(status: EngineStatus) -> str:
    """All metrics of a status."""
    lines: list[str] = []
    for name, (kind, text) in METRICS.items():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{suffix} {value:g}" for suffix, value in _values(name, status)]
    return "\n".join(lines) + "\n"


def _values(name: str, status: EngineStatus) -> Iterator[tuple[str, float]]:
    ways = status.directions.items()
    match name:
        case "zksync_state":
            for state in EngineState:
                yield f'{{state="{state.value}"}}', float(status.state is state)
        case "zksync_epoch":
            yield "", status.epoch
        case "zksync_backlog_znodes":
            for way, found in ways:
                yield f'{{direction="{way.value}"}}', found.backlog
        case "zksync_applied_znodes_total":
            for way, found in ways:
                yield f'{{direction="{way.value}"}}', found.applied
        case "zksync_echoes_total":
            for way, found in ways:
                yield f'{{direction="{way.value}"}}', found.echoes
        case "zksync_lag_ms":
            for way, found in ways:
                for bound, count in found.histogram.items():
                    yield f'_bucket{{direction="{way.value}",le="{bound}"}}', count
                count = found.histogram.get("+Inf", 0)
                yield f'_count{{direction="{way.value}"}}', count
        case "zksync_conflicts_total":
            yield "", status.conflicts
        case "zksync_skipped_znodes":
            yield "", status.skipped
        case "zksync_unreadable_znodes":
            yield "", len(status.unreadable)
        case "zksync_subtree_znodes":
            for subtree, found in status.subtrees.items():
                yield f'{{subtree="{subtree}",owner="{found.owner.value}"}}', found.znodes
        case "zksync_audit_equal":
            if status.last_audit is not None:
                yield "", float(status.last_audit.equal)
        case _:
            for side, found in status.sessions.items():
                yield f'{{side="{side.value}"}}', float(found.connected)
