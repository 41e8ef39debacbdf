"""A ZooKeeper server."""

from __future__ import annotations

from probe.report.schema import Topology, Type, gauge, ref, symbol, text

TOPOLOGY = Topology(
    name="zookeeper_server",
    label="ZooKeeper servers",
    identity="address:port",
    columns=(
        text("cluster", "Ensemble, as the settings name it: a colour."),
        symbol(
            "state", "leader, follower, observer or standalone; unknown while it does not answer."
        ),
        symbol("version", "Version."),
        text("problem", "Why it told nothing."),
        ref("process", "process", "Its process, where it runs here."),
        ref("pod", "kubernetes_pod", "Pod that its address names, where this probe watches pods."),
        gauge("znodes", "Znodes.", "", Type.INT),
        gauge("watches", "Watches.", "", Type.INT),
        gauge("connections", "Client connections.", "", Type.INT),
        gauge("latency_ms", "Average latency of requests.", "ms"),
        gauge("outstanding", "Requests that wait.", "", Type.INT),
        text("zxid", "Last transaction id."),
    ),
)
