"""What leads HTTP requests to services of a Kubernetes cluster."""

from __future__ import annotations

from probe.report.schema import Topology, integer, ref, symbol, text, texts

TOPOLOGY = Topology(
    name="kubernetes_ingress",
    label="Kubernetes ingresses",
    identity="cluster;kind;namespace/name",
    columns=(
        symbol("cluster", "Cluster, as the settings name it."),
        ref("namespace", "kubernetes_namespace", "Its namespace."),
        symbol("kind", "Ingress or HTTPRoute."),
        text("name", "Name."),
        symbol("class", "Class of an ingress: who serves it."),
        texts("gateways", "Gateways that a route belongs to: nodes of `kubernetes_gateway`."),
        texts("services", "Services that it leads to: nodes of `kubernetes_service`."),
        texts("hosts", "Names of hosts that it serves."),
        texts("routes", "What goes where: `host/path service`."),
        texts("addresses", "Where it is reached."),
        texts("tls_hosts", "Hosts with a certificate."),
        integer("created_ms", "When it was made.", "ms since 1970"),
        texts("labels", "Labels, `name=value`, secrets redacted."),
    ),
)
