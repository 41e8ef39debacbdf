"""A Marathon app."""

from __future__ import annotations

from probe.report.schema import Topology, Type, gauge, integer, text

TOPOLOGY = Topology(
    name="marathon_app",
    label="Marathon apps",
    identity="Marathon address;app id",
    columns=(
        text("name", "App id."),
        text("marathon", "address:port that told it."),
        integer("instances", "Instances asked for."),
        gauge("running", "Running tasks.", "", Type.INT),
        gauge("healthy", "Healthy tasks.", "", Type.INT),
        gauge("staged", "Staged tasks.", "", Type.INT),
        text("version", "Version of its definition."),
    ),
)
