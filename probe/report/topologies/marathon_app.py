"""A Marathon app."""

from __future__ import annotations

from probe.report.schema import Topology, Type, gauge, integer, ref, text

TOPOLOGY = Topology(
    name="marathon_app",
    label="Marathon apps",
    identity="Marathon address;app id",
    columns=(
        text("name", "App id."),
        text("cluster", "Cluster whose leader Marathon is subscribed with."),
        ref("framework", "mesos_framework", "The framework that Marathon is."),
        ref("marathon", "marathon", "The instance that leads."),
        integer("instances", "Instances asked for."),
        gauge("running", "Running tasks.", "", Type.INT),
        gauge("healthy", "Healthy tasks.", "", Type.INT),
        gauge("staged", "Staged tasks.", "", Type.INT),
        text("version", "Version of its definition."),
    ),
)
