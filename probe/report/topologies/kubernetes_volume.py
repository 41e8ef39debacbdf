"""A persistent volume of a Kubernetes cluster."""

from __future__ import annotations

from probe.report.schema import Topology, integer, ref, symbol, text, texts

TOPOLOGY = Topology(
    name="kubernetes_volume",
    label="Kubernetes volumes",
    identity="cluster;name",
    columns=(
        symbol("cluster", "Cluster, as the settings name it."),
        ref("claim", "kubernetes_claim", "The claim that has it."),
        text("name", "Name."),
        symbol("phase", "Pending, Available, Bound, Released or Failed."),
        symbol("class", "Storage class."),
        symbol("driver", "Driver, of a volume of the container storage interface."),
        symbol("reclaim", "What becomes of it without its claim: Retain, Delete or Recycle."),
        texts("access_modes", "How it may be mounted."),
        integer("capacity_bytes", "Size.", "B"),
        integer("created_ms", "When it was made.", "ms since 1970"),
    ),
)
