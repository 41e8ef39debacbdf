"""A ZooKeeper ensemble: servers that form one quorum."""

from __future__ import annotations

from probe.report.schema import Topology, Type, flag, gauge, integer, ref, text

TOPOLOGY = Topology(
    name="zookeeper_ensemble",
    label="ZooKeeper ensembles",
    identity="name of its cluster: a colour",
    columns=(
        text("cluster", "Cluster, as the settings name it."),
        ref("leader", "zookeeper_server", "The server that leads, or stands alone."),
        integer("servers", "Servers that the settings name."),
        gauge("serving", "Servers that serve.", "", Type.INT),
        flag("quorum", "More than half of the servers serve."),
    ),
)
