"""How long things may take, and how good numbers must be: values for one machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """Times in seconds unless the name says otherwise."""

    guard_s: float = 60.0
    """Guards are looked at again until they hold or this has passed: a server that was just
    restarted needs a moment, and nothing is lost by waiting."""
    copy_s: float = 180.0
    """First copy of the source's ensemble."""
    audit_s: float = 60.0
    """A full comparison under traffic."""
    soak_s: float = 4.0
    """For so long the lag must stay below `lag_p99_ms`, in one go."""
    soak_window_s: float = 120.0
    """Within this time such a stretch must be found."""
    lag_p99_ms: float = 50.0
    """99 of 100 changes must reach the other side within this time."""
    flip_s: float = 60.0
    """A change of owner, its writers standing still."""
    masters_s: float = 90.0
    """Masters elect a leader and recover their registry; includes two sessions that expire."""
    agents_s: float = 90.0
    """Every agent registers with the other side's leader."""
    frameworks_s: float = 120.0
    """A framework subscribes and has all of its tasks, as healthy as it was; Marathon also waits
    for the session of one that died."""
    batch_s: float = 120.0
    """One batch of tasks is up elsewhere and ended here."""
    batch_size: int = 4
    """Tasks that move at the same time."""
    canary_s: float = 30.0
    """A short task runs on a new agent."""
    drain_s: float = 60.0
    """An agent without tasks is drained."""
    quiet_s: float = 5.0
    """For so long no session but the engine's may be open on the ensemble that goes; minutes
    where clients reconnect seldom."""
    sessions_s: float = 120.0
    """Within this time it must have become so quiet."""
    epoch_margin: int = 100
    """A fresh ensemble's epoch lies so far above the source's; each election there takes one."""
    failover_timeout_s: float = 3600.0
    """Frameworks must be waited for longer than this."""
    clock_skew_s: float = 5.0
    """Clocks of masters and agents may differ so much from this machine's; servers tell them in
    whole seconds. Certificates, timeouts and whoever reads logs depend on them."""
