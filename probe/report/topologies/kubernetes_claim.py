"""A claim of a persistent volume of a Kubernetes cluster."""

from __future__ import annotations

from probe.report.schema import Topology, integer, ref, symbol, text, texts

TOPOLOGY = Topology(
    name="kubernetes_claim",
    label="Kubernetes volume claims",
    identity="cluster;namespace/name",
    columns=(
        symbol("cluster", "Cluster, as the settings name it."),
        ref("namespace", "kubernetes_namespace", "Its namespace."),
        ref("volume", "kubernetes_volume", "The volume that it has got."),
        text("name", "Name."),
        symbol("phase", "Pending, Bound or Lost."),
        symbol("class", "Storage class."),
        texts("access_modes", "How it may be mounted."),
        integer("requested_bytes", "Size that it asks for.", "B"),
        integer("capacity_bytes", "Size that it has got.", "B"),
        integer("created_ms", "When it was made.", "ms since 1970"),
        texts("labels", "Labels, `name=value`, secrets redacted."),
    ),
)
