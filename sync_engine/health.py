"""From facts to one state with reasons. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sync_engine.direction import Side
from sync_engine.report import EngineState
from sync_engine.tuning import Tuning


@dataclass(frozen=True, slots=True)
class Facts:
    """What the state is made of."""

    fenced: str | None = None
    stopped: bool = False
    held: Sequence[str] = ()
    """Why the start waits for an operator."""
    started: bool = False
    copying: Sequence[str] = ()
    """Subtrees whose first comparison is under way."""
    disconnected_s: Mapping[Side, float] = field(default_factory=dict[Side, float])
    stall_after_s: float = Tuning().stall_after_s
    """How long a side may be away: an outage, and no change of leader."""
    stalled: Mapping[str, str] = field(default_factory=dict[str, str])
    """Why a subtree waits for an operator."""
    troubles: Sequence[str] = ()
    """What does not stop replication but needs a look."""
    limits: Sequence[str] = ()
    """What cannot be promised, though nothing is wrong."""
    waiting: str | None = None
    """What the start waits for."""


def assess(facts: Facts) -> tuple[EngineState, list[str]]:
    """The state, and the reasons for it, worst first."""
    away = [
        f"side {side.value} has not answered for {seconds:.1f} s"
        for side, seconds in sorted(facts.disconnected_s.items())
    ]
    stalls = [f"subtree {name}: {why}" for name, why in sorted(facts.stalled.items())]
    reasons = [*stalls, *away, *facts.troubles, *facts.limits]
    if facts.fenced is not None:
        return EngineState.FENCED, [facts.fenced]
    if facts.held and not facts.stopped:
        return EngineState.STALLED, [*facts.held, *reasons]
    if facts.stopped or not facts.started:
        waiting = [facts.waiting, *reasons] if facts.waiting else reasons
        return (EngineState.STOPPED, []) if facts.stopped else (EngineState.STARTING, waiting)
    long_away = any(s >= facts.stall_after_s for s in facts.disconnected_s.values())
    if stalls or long_away:
        return EngineState.STALLED, reasons
    if facts.copying:
        return EngineState.COPYING, [f"first comparison of {', '.join(facts.copying)}", *reasons]
    return (EngineState.DEGRADED if reasons else EngineState.LIVE), reasons
