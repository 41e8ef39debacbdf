"""How fast, how much at once, how patient: the engine's bounds, each with its reason. No I/O."""

from __future__ import annotations

from pydantic import Field

from sync_engine.rules import RuleModel


class Tuning(RuleModel):
    """How fast, how much at once, how patient. Every default holds for a two-core machine."""

    session_timeout_s: float = Field(default=10.0, ge=0.2, le=120)
    """Life of the engine's sessions without a sign of life; the ensemble may cut it. 10 s is what
    Mesos uses, so the engine's own ephemerals last as long as a master's."""
    batch_bytes_max: int = Field(default=512 * 1024, ge=4096, le=1_000_000)
    """Bytes of one transaction. Half of jute.maxbuffer's default: a frame above that is answered
    with a lost connection. A server keeps its last 500 transactions in memory, so a copy may take
    up to 500 times this of its heap: lower it for servers with little."""
    batch_ops_max: int = Field(default=500, ge=1, le=10_000)
    """Operations of one transaction. More gained nothing when measured, and lets others wait."""
    request_bytes_max: int = Field(default=0xFFFFF, ge=65_536)
    """Largest request; jute.maxbuffer of the servers."""
    in_flight_max: int = Field(default=500, ge=1, le=900)
    """Requests sent and not answered on one connection. Half of the servers' own limit."""
    scan_interval_s: float = Field(default=30.0, ge=0.2)
    """Pause between scans for changes of ACLs, which fire no watch."""
    delete_share_max: float = Field(default=0.5, ge=0, le=1)
    """Share of a subtree that may vanish in one rescan, or within a minute, before an operator
    must confirm: an ensemble that was restarted empty looks like one whose clients deleted
    everything."""
    delete_count_free: int = Field(default=20, ge=0)
    """Deletes that need no confirmation, whatever their share: small trees come and go."""
    marker_interval_ms: int = Field(default=500, ge=10, le=60_000)
    """Pause between marker writes, by which lag is measured while clients are quiet. Each is a
    transaction on both sides: with 250 they took half of what an idle engine uses."""
    lag_bound_s: float = Field(default=5.0, gt=0)
    """Age after which a difference counts as one, and not as a copy under way."""
    audit_interval_s: float = Field(default=6 * 3600.0, ge=0)
    """Pause between the audits that the engine makes by itself; 0: none. Nothing else finds what a
    client wrote on the side that does not own a subtree. Each reads both sides in full."""
    stall_after_s: float = Field(default=3.0, gt=0)
    """Time for which a side has not answered, after which the state is `stalled`. A change of
    leader takes about half a second."""
    backlog_max: int = Field(default=100_000, ge=1)
    """Paths that may wait in a direction; beyond it the engine rescans in place of remembering."""
    fan_out_timeout_s: float = Field(default=10.0, gt=0)
    """Time within which the servers of an ensemble must answer questions about themselves."""
    clock_skew_ms_max: float = Field(default=500.0, ge=0)
    """Difference of both ensembles' clocks beyond which `latest` believes no time and the owner
    wins. Half a second is what NTP keeps on a bad day."""
    merge_timeout_s: float = Field(default=2.0, gt=0, le=60)
    """Time that a merge hook has for one path; replication of the subtree waits for it."""
    conflict_bytes_max: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    """Room for the journal of conflicts, which holds both versions of each; the older half goes
    when it is full."""
