"""A framework."""

from __future__ import annotations

from probe.report.schema import Topology, flag, ref, text, texts

TOPOLOGY = Topology(
    name="mesos_framework",
    label="Mesos frameworks",
    identity="framework id",
    columns=(
        text("cluster", "Cluster whose leader it is subscribed with."),
        ref("master", "mesos_master", "That leader."),
        text("name", "Name."),
        texts("roles", "Roles."),
        ref("process", "process", "The process behind its web address, where it runs here."),
        text("web_url", "Its web address, as it gave it."),
        flag("active", "It gets offers."),
        flag("connected", "It is connected."),
    ),
)
