"""A Mesos agent."""

from __future__ import annotations

from probe.report.schema import Topology, flag, ref, symbol, text, texts

TOPOLOGY = Topology(
    name="mesos_agent",
    label="Mesos agents",
    identity="agent id",
    columns=(
        text("cluster", "Cluster whose settings name its address; else that of its leader."),
        ref("master", "mesos_master", "The leader that it is registered with."),
        ref("process", "process", "Its process, where it runs here."),
        text("hostname", "Host name."),
        text("address", "address:port."),
        symbol("version", "Version."),
        flag("active", "It is offered."),
        symbol("drain", "How far a drain is."),
        texts("attributes", "Attributes, `name=value`."),
        texts("resources", "Resources, `name=quantity`."),
        texts("allocated", "Allocated resources."),
    ),
)
