"""Where requests come into a Kubernetes cluster."""

from __future__ import annotations

from probe.report.schema import Topology, flag, integer, ref, symbol, text, texts

TOPOLOGY = Topology(
    name="kubernetes_gateway",
    label="Kubernetes gateways",
    identity="cluster;namespace/name",
    columns=(
        symbol("cluster", "Cluster, as the settings name it."),
        ref("namespace", "kubernetes_namespace", "Its namespace."),
        text("name", "Name."),
        symbol("class", "Class: who serves it."),
        flag("programmed", "Whoever serves it has taken it."),
        texts("listeners", "Where it listens: `HTTPS:443 *.example.org`."),
        texts("addresses", "Where it is reached."),
        integer("created_ms", "When it was made.", "ms since 1970"),
        texts("labels", "Labels, `name=value`, secrets redacted."),
    ),
)
