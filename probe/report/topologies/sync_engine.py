"""A sync engine: what keeps two ZooKeeper ensembles equal."""

from __future__ import annotations

from probe.report.schema import (
    Topology,
    Type,
    counter,
    flag,
    gauge,
    integer,
    ref,
    symbol,
    text,
    texts,
)

TOPOLOGY = Topology(
    name="sync_engine",
    label="Sync engines",
    identity="address:port of its interface",
    columns=(
        ref("ensemble_a", "zookeeper_ensemble", "Ensemble of its side a."),
        ref("ensemble_b", "zookeeper_ensemble", "Ensemble of its side b."),
        ref("process", "process", "Its process, where it runs here."),
        ref("pod", "kubernetes_pod", "Pod that its address names, where this probe watches pods."),
        symbol(
            "state",
            "starting, copying, live, degraded, stalled, fenced or stopped; unknown while it does "
            "not answer.",
        ),
        texts("reasons", "Why it is in that state."),
        text("problem", "Why it told nothing."),
        integer("epoch", "Epoch of the fence."),
        flag("connected_a", "It has a server of side a."),
        flag("connected_b", "It has a server of side b."),
        texts("subtrees", "Subtrees with the side that owns each: `clients=a`."),
        texts("projections", "Projected leaders: `masters=10.0.0.1:5050`; off ones are left out."),
        flag("audit_equal", "Both sides were equal at the last audit."),
        counter("applied_a_to_b", "Changes of side a that were applied to side b."),
        counter("applied_b_to_a", "Changes of side b that were applied to side a."),
        gauge("backlog_a_to_b", "Changed paths of side a that wait.", "", Type.INT),
        gauge("backlog_b_to_a", "Changed paths of side b that wait.", "", Type.INT),
        gauge("lag_a_to_b_ms", "Lag from a to b, 99th percentile of the last minute.", "ms"),
        gauge("lag_b_to_a_ms", "Lag from b to a, 99th percentile of the last minute.", "ms"),
        counter("conflicts", "Conflicts, settled ones too."),
        gauge("held", "Conflicts that wait for an operator.", "", Type.INT),
    ),
)
