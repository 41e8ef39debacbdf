"""The edge as it is declared: what its process is told, and who may reach it."""

from __future__ import annotations

import pytest

from components.base import HostTarget, Placing
from components.errors import ArgumentsError
from components.network.edge import HEALTH_PATH, EdgeProxy, EdgeProxyArgs
from components.targets.kubernetes import KubernetesTarget
from components.workload import Program
from controllers.edge import render
from controllers.edge.settings import EdgeSettings
from tests.components.conftest import Run

PROGRAM = Program(("python", "-m", "controllers.edge"), f"example.invalid/p@sha256:{'0' * 64}")
MARATHON = ("frameworks-marathon-0.frameworks-marathon.mesos.svc:8080",)


def on_kubernetes() -> Placing:
    target: HostTarget = KubernetesTarget(
        namespace="mesos", storage_class=None, volume_gib=1, node_networks=["10.0.0.0/16"]
    )
    return Placing(target)


def test_each_replica_reads_settings_that_the_controller_takes(run: Run) -> None:
    recorder = run(lambda: EdgeProxy(EdgeProxyArgs(PROGRAM, MARATHON), on_kubernetes()))

    files = recorder.named("edge-external", "ConfigMap").inputs["data"]
    assert sorted(files) == ["edge-external-0.json", "edge-external-1.json"]
    for text in files.values():
        settings = EdgeSettings.model_validate_json(text)
        assert settings.marathon == MARATHON
        assert settings.group == "external"
        # Sockets lie there; a longer path than 108 characters is none.
        assert len(str(settings.run_dir / "haproxy.sock")) < 100


def test_pods_end_after_what_they_serve(run: Run) -> None:
    recorder = run(lambda: EdgeProxy(EdgeProxyArgs(PROGRAM, MARATHON), on_kubernetes()))

    spec = recorder.named("edge-external", "StatefulSet").inputs["spec"]["template"]["spec"]
    settings = EdgeSettings.model_validate_json(
        recorder.named("edge-external", "ConfigMap").inputs["data"]["edge-external-0.json"]
    )
    assert spec["terminationGracePeriodSeconds"] > settings.lame_duck_s + settings.hard_stop_s
    assert spec["containers"][0]["readinessProbe"]["httpGet"]["path"] == HEALTH_PATH
    assert render.HEALTH_PATH == HEALTH_PATH


def test_visitors_reach_it_and_it_reaches_tasks_and_marathon_alone(run: Run) -> None:
    recorder = run(lambda: EdgeProxy(EdgeProxyArgs(PROGRAM, MARATHON), on_kubernetes()))

    spec = recorder.named("edge-external", "NetworkPolicy").inputs["spec"]
    incoming = {rule["ports"][0]["port"]: rule["from"] for rule in spec["ingress"]}
    assert incoming[10_080] == [
        {"namespaceSelector": {"matchLabels": {"mesos-platform/may-use-apps": "true"}}}
    ]
    assert set(incoming) == {9_090, 10_080}
    outgoing = [
        (port["port"], port.get("endPort")) for r in spec["egress"][1:] for port in r["ports"]
    ]
    assert sorted(outgoing, key=str) == [(31_000, 32_000), (8_080, None)]


def test_on_this_machine_there_is_room_for_one(run: Run, placing: Placing) -> None:
    program = Program(("python", "-m", "controllers.edge"))

    recorder = run(lambda: EdgeProxy(EdgeProxyArgs(program, ("127.0.0.1:1",), replicas=1), placing))

    # The process by which the local target runs it.
    assert recorder.names("Process") == ["edge-external-0"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"replicas": 0}, "at least one replica"),
        ({"marathon": ()}, "follows a Marathon"),
        ({"group": "a,b"}, "one group"),
    ],
)
def test_an_edge_that_serves_nobody_is_refused(given: dict[str, object], expected: str) -> None:
    with pytest.raises(ArgumentsError, match=expected):
        EdgeProxyArgs(**{"program": PROGRAM, "marathon": MARATHON, **given})  # pyright: ignore[reportArgumentType] - a table's values
