"""A node of a Kubernetes cluster."""

from __future__ import annotations

from probe.report.schema import Topology, flag, integer, ref, symbol, text, texts

TOPOLOGY = Topology(
    name="kubernetes_node",
    label="Kubernetes nodes",
    identity="cluster;name",
    columns=(
        symbol("cluster", "Cluster, as the settings name it."),
        ref("host", "host", "The machine, by the host name that its kubelet tells."),
        text("name", "Name."),
        flag("ready", "Its kubelet says that it can run pods."),
        flag("schedulable", "Pods may be given to it: it is not cordoned."),
        texts("problems", "Conditions that should not be: MemoryPressure, DiskPressure."),
        texts("roles", "Roles, by its labels."),
        texts("addresses", "Its addresses."),
        texts("taints", "Taints, `key=value:effect`."),
        texts("allocatable", "What pods may be given, `name=quantity`."),
        symbol("zone", "Zone, by its label."),
        symbol("kubelet", "Version of its kubelet."),
        symbol("runtime", "Container runtime with its version: `containerd://1.7.1`."),
        symbol("os", "Operating system."),
        symbol("kernel", "Release of the kernel."),
        integer("created_ms", "When it joined.", "ms since 1970"),
        texts("labels", "Labels, `name=value`, secrets redacted."),
    ),
)
