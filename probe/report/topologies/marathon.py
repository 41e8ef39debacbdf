"""A Marathon instance."""

from __future__ import annotations

from probe.report.schema import Topology, flag, ref, symbol, text

TOPOLOGY = Topology(
    name="marathon",
    label="Marathons",
    identity="address:port",
    columns=(
        text("cluster", "Cluster, as the settings name it."),
        flag("leading", "It leads: the only one of its instances that schedules."),
        flag("answers", "It answers."),
        ref("framework", "mesos_framework", "The framework that it is."),
        ref("process", "process", "Its process, where it runs here."),
        ref("pod", "kubernetes_pod", "Pod that its address names, where this probe watches pods."),
        symbol("version", "Version."),
    ),
)
