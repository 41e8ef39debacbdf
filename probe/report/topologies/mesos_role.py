"""A Mesos role: whom resources are shared out to."""

from __future__ import annotations

from probe.report.schema import Topology, gauge, text, texts

TOPOLOGY = Topology(
    name="mesos_role",
    label="Mesos roles",
    identity="cluster;role",
    columns=(
        text("cluster", "Cluster, as the settings name it."),
        text("name", "Name."),
        gauge("weight", "Weight; 1 where none was set.", ""),
        texts("frameworks", "Ids of frameworks that subscribe with it."),
        texts("allocated", "Allocated resources, `name=quantity`."),
        texts("quota_limits", "Limits of its quota, `name=quantity`."),
        texts("quota_guarantees", "Guarantees of its quota, `name=quantity`."),
    ),
)
