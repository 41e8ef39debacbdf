"""A service of a Kubernetes cluster."""

from __future__ import annotations

from probe.report.schema import Topology, Type, gauge, integer, ref, symbol, text, texts

TOPOLOGY = Topology(
    name="kubernetes_service",
    label="Kubernetes services",
    identity="cluster;namespace/name",
    columns=(
        symbol("cluster", "Cluster, as the settings name it."),
        ref("namespace", "kubernetes_namespace", "Its namespace."),
        text("name", "Name."),
        symbol("type", "ClusterIP, Headless, NodePort, LoadBalancer or ExternalName."),
        texts("addresses", "Its addresses inside of the cluster."),
        texts("external", "Addresses and names outside of it."),
        texts("ports", "Ports: `http 80/TCP`, `80:30080/TCP` with the port of the nodes."),
        texts("selector", "Labels of its pods, `name=value`."),
        gauge("endpoints", "Endpoints.", "", Type.INT),
        gauge("endpoints_ready", "Endpoints that serve.", "", Type.INT),
        texts("others", "Addresses of endpoints that are no pods."),
        integer("created_ms", "When it was made.", "ms since 1970"),
        texts("labels", "Labels, `name=value`, secrets redacted."),
    ),
)
