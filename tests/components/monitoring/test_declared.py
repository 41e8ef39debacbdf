"""Exporter and telemetry as they are declared."""

from __future__ import annotations

import json

import pulumi
import pytest

from components.base import HostTarget, Placing
from components.errors import ArgumentsError
from components.monitoring.exporter import MesosExporter, MesosExporterArgs
from components.monitoring.telemetry import SCRAPED, Telemetry, TelemetryArgs
from components.targets.kubernetes import KubernetesTarget
from components.workload import Program
from controllers.exporter.settings import ExporterSettings
from stacks.steps import Op, Step
from stacks.topology import Color, Tier
from tests.components.conftest import Run, run

__all__ = ["run"]

PROGRAM = Program(("python", "-m", "controllers.exporter"), f"example.invalid/p@sha256:{'0' * 64}")


def placing() -> Placing:
    target: HostTarget = KubernetesTarget(
        namespace="mesos", storage_class=None, volume_gib=1, node_networks=["10.0.0.0/16"]
    )
    return Placing(target)


def test_the_exporter_reads_settings_that_it_takes(run: Run) -> None:
    args = MesosExporterArgs("blue", PROGRAM, ("m-0:5050", "m-1:5050", "m-2:5050"))

    recorder = run(lambda: MesosExporter(args, placing()))

    data = recorder.named("blue-masters-exporter", "ConfigMap").inputs["data"]
    settings = ExporterSettings.model_validate_json(data["blue-masters-exporter-0.json"])
    assert (settings.masters, settings.color, settings.listen_port) == (args.masters, "blue", 9105)
    spec = recorder.named("blue-masters-exporter", "NetworkPolicy").inputs["spec"]
    assert {port["port"] for rule in spec["ingress"] for port in rule["ports"]} == {9105}


def test_the_exporter_of_marathon_has_no_colour(run: Run) -> None:
    args = MesosExporterArgs(None, PROGRAM, marathon=("a:8080", "b:8080"))

    recorder = run(lambda: MesosExporter(args, placing()))

    name = "frameworks-marathon-exporter"
    data = recorder.named(name, "ConfigMap").inputs["data"]
    settings = ExporterSettings.model_validate_json(data[f"{name}-0.json"])
    assert (settings.masters, settings.marathon, settings.color) == ((), args.marathon, "")


@pytest.mark.parametrize(
    ("name", "color", "part"),
    [
        ("green-masters-exporter", Color.GREEN, Tier.MASTERS),
        ("frameworks-marathon-exporter", None, Tier.FRAMEWORKS),
    ],
)
def test_contracts_of_a_migration_count_an_exporter_among_those_that_it_asks(
    name: str, color: Color | None, part: Tier
) -> None:
    step = Step(Op.CREATE, "", "", name)

    assert (step.color, step.part) == (color, part)


def test_an_exporter_that_asks_nobody_is_refused() -> None:
    with pytest.raises(ArgumentsError, match="saw none of blue"):
        MesosExporterArgs("blue", PROGRAM, ())
    with pytest.raises(ArgumentsError, match="Marathon, saw none"):
        MesosExporterArgs(None, PROGRAM, masters=("m:5050",))


def test_every_tier_with_metrics_is_scraped_by_a_port_of_its_service(run: Run) -> None:
    args = TelemetryArgs("mesos", {"release": "p"})

    recorder = run(lambda: Telemetry("t", args, pulumi.ResourceOptions()))

    monitors = recorder.names("ServiceMonitor")
    assert monitors == sorted(f"t-{tier}" for tier in SCRAPED)
    for tier, role in SCRAPED.items():
        inputs = recorder.named(f"t-{tier}", "ServiceMonitor").inputs
        assert inputs["metadata"]["labels"] == {"release": "p"}
        (endpoint,) = inputs["spec"]["endpoints"]
        assert (endpoint["port"], endpoint["interval"]) == (str(role), "15s")
    rule = recorder.named("t", "PrometheusRule").inputs["spec"]
    assert {group["name"] for group in rule["groups"]} >= {"mesos-masters", "edge"}
    data = recorder.named("t-mesos-cluster", "ConfigMap").inputs["data"]
    assert json.loads(data["mesos-cluster.json"])["title"] == "Mesos: cluster"


def test_scrapes_too_far_apart_for_the_alerts_are_refused() -> None:
    with pytest.raises(ArgumentsError, match="5 to 60 seconds"):
        TelemetryArgs("mesos", interval_s=300)
