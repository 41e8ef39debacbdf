"""A framework."""

from __future__ import annotations

from probe.report.schema import Topology, flag, text, texts

TOPOLOGY = Topology(
    name="mesos_framework",
    label="Mesos frameworks",
    identity="framework id",
    columns=(
        text("cluster", "Cluster, as the settings name it."),
        text("name", "Name."),
        texts("roles", "Roles."),
        flag("active", "It gets offers."),
        flag("connected", "It is connected."),
    ),
)
