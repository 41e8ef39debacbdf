"""A Mesos master."""

from __future__ import annotations

from probe.report.schema import Topology, flag, ref, symbol, text

TOPOLOGY = Topology(
    name="mesos_master",
    label="Mesos masters",
    identity="address:port",
    columns=(
        text("cluster", "Cluster, as the settings name it: a colour."),
        flag("leading", "It leads."),
        flag("answers", "It answers: a leader, or one that stands by."),
        ref("follows", "mesos_master", "The leader that it names, its own or another cluster's."),
        symbol("version", "Version."),
        ref("process", "process", "Its process, where it runs here."),
        ref("pod", "kubernetes_pod", "Pod that its address names, where this probe watches pods."),
        text("id", "Id of its term, of the leader."),
    ),
)
