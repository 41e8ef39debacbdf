"""An image that containers are made of."""

from __future__ import annotations

from probe.report.schema import Topology, integer, text, texts

TOPOLOGY = Topology(
    name="container_image",
    label="Container images",
    identity="the id that its runtime gave it",
    columns=(
        text("name", "Name with tag, the first one where there are several."),
        texts("tags", "All names."),
        integer("size_bytes", "Size.", "B"),
    ),
)
