"""A namespace of a Kubernetes cluster."""

from __future__ import annotations

from probe.report.schema import Topology, integer, symbol, text, texts

TOPOLOGY = Topology(
    name="kubernetes_namespace",
    label="Kubernetes namespaces",
    identity="cluster;name",
    columns=(
        symbol("cluster", "Cluster, as the settings name it."),
        text("name", "Name."),
        symbol("phase", "Active or Terminating."),
        integer("created_ms", "When it was made.", "ms since 1970"),
        texts("labels", "Labels, `name=value`, secrets redacted."),
    ),
)
