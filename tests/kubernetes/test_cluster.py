"""A whole cluster by the real engine on a real API server: made, changed, mended and removed."""

from __future__ import annotations

import pytest

from stacks.steps import Op
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.stack import DIGEST, ClusterStack, is_ready
from tests.providers.cluster.api import Object

TIERS = ("blue-zookeeper", "blue-masters")
STATEFUL_SET = ("apps/v1", "StatefulSet")
# Six updates of the real engine, each waits for pods: 60 s on an idle machine.
_BOUND_S = 900


def changes(stack: ClusterStack) -> set[tuple[Op, str, str]]:
    """Operation, kind and name of each step of a preview."""
    found = stack.runner.preview().changes
    return {(step.op, step.type.rpartition(":")[2], step.name) for step in found}


def zone_of(stack: ClusterStack, pod: Object) -> str:
    node = stack.cluster.get("v1", "Node", pod["spec"]["nodeName"])
    assert node is not None
    return node["metadata"]["labels"]["topology.kubernetes.io/zone"]


@pytest.mark.timeout(_BOUND_S)
def test_a_cluster_is_made_as_it_was_previewed(stack: ClusterStack, plane: ControlPlane) -> None:
    previewed = changes(stack)
    assert {op for op, _, _ in previewed} == {Op.CREATE}
    assert stack.cluster.get("v1", "Namespace", stack.namespace) is None

    stack.runner.up()

    made = {f"{kind} {name}" for _, kind, name in previewed}
    assert {name for name in stack.names() if not name.startswith("Persistent")} <= made | {
        "NetworkPolicy deny-all"
    }
    for tier in TIERS:
        spread_over(stack, tier)
    on_every_node(stack)
    assert stack.runner.preview().changes == ()
    before, writes = stack.versions(), plane.writes()
    assert any("blue-zookeeper" in each for each in writes)
    stack.runner.up()
    # An update without a change makes no call that writes.
    assert plane.writes() == writes
    assert stack.versions() == before


def spread_over(stack: ClusterStack, tier: str) -> None:
    """A tier of three servers stands as it must."""
    members = stack.pods(tier)
    assert [pod["metadata"]["name"] for pod in members] == [f"{tier}-{i}" for i in range(3)]
    assert all(map(is_ready, members))
    assert len({pod["spec"]["nodeName"] for pod in members}) == 3
    assert len({zone_of(stack, pod) for pod in members}) == 3
    for pod in members:
        container = pod["spec"]["containers"][0]
        assert container["image"].endswith(f"@{DIGEST}")
        assert pod["spec"]["enableServiceLinks"] is False
        claim = stack.get("v1", "PersistentVolumeClaim", f"state-{pod['metadata']['name']}")
        assert claim["status"]["phase"] == "Bound"
    kept = stack.get(*STATEFUL_SET, tier)["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert kept == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    budget = stack.get("policy/v1", "PodDisruptionBudget", tier)
    assert budget["spec"]["maxUnavailable"] == 1
    assert stack.get("v1", "Service", tier)["spec"]["clusterIP"] == "None"
    assert stack.get("v1", "Service", f"{tier}-client")["spec"]["clusterIP"] != "None"


def on_every_node(stack: ClusterStack) -> None:
    """Agents stand on each node, in a namespace of their own."""
    agents = stack.get("apps/v1", "DaemonSet", "blue-agents")
    assert agents["metadata"]["namespace"] == stack.agents_namespace
    assert agents["spec"]["updateStrategy"]["type"] == "OnDelete"
    nodes = {node["metadata"]["name"] for node in stack.cluster.list("v1", "Node")}
    assert {pod["spec"]["nodeName"] for pod in stack.pods("blue-agents")} == nodes


@pytest.mark.timeout(_BOUND_S)
def test_a_cluster_is_changed_mended_and_removed(stack: ClusterStack) -> None:
    stack.runner.up()
    agents = {pod["metadata"]["uid"] for pod in stack.pods("blue-agents")}

    change_a_server(stack)
    change_by_hand(stack)

    stack.configure(cluster={"zookeeper": {"heap_mb": 256}, "agents": {"mem_mb": 4096}})
    stack.runner.up()
    # Their tasks would die with them: whoever replaces agents drains them first.
    assert {pod["metadata"]["uid"] for pod in stack.pods("blue-agents")} == agents

    stack.runner.destroy()
    for namespace in (stack.namespace, stack.agents_namespace):
        assert stack.cluster.get("v1", "Namespace", namespace) is None
    assert stack.runner.actual() is None


def change_a_server(stack: ClusterStack) -> None:
    """Another configuration of the ensemble rolls its servers, and nothing else."""
    old = stack.get(*STATEFUL_SET, "blue-zookeeper")["status"]["updateRevision"]
    masters = stack.get(*STATEFUL_SET, "blue-masters")["status"]["updateRevision"]

    stack.configure(cluster={"zookeeper": {"heap_mb": 256}})

    assert changes(stack) == {
        (Op.UPDATE, "ConfigMap", "blue-zookeeper"),
        (Op.UPDATE, "StatefulSet", "blue-zookeeper"),
    }
    stack.runner.up()
    status = stack.get(*STATEFUL_SET, "blue-zookeeper")["status"]
    assert status["updateRevision"] == status["currentRevision"] != old
    assert status["readyReplicas"] == 3
    limits = [p["spec"]["containers"][0]["resources"]["limits"] for p in stack.pods(TIERS[0])]
    assert limits == [{"memory": "512Mi"}] * 3
    assert stack.get(*STATEFUL_SET, "blue-masters")["status"]["updateRevision"] == masters


def change_by_hand(stack: ClusterStack) -> None:
    """A refresh tells what somebody changed, the preview how it is mended, the update mends it."""
    ensemble = stack.get(*STATEFUL_SET, "blue-zookeeper")
    stack.cluster.patch(ensemble, {"spec": {"replicas": 1}}, manager="kubectl-edit")
    stack.cluster.delete(stack.get("policy/v1", "PodDisruptionBudget", "blue-masters"))

    assert stack.runner.preview().changes == ()
    stack.runner.refresh()

    found = stack.runner.preview().changes
    assert {(step.op, step.type.rpartition(":")[2], step.name, step.keys) for step in found} == {
        (Op.UPDATE, "StatefulSet", "blue-zookeeper", ("spec",)),
        (Op.CREATE, "PodDisruptionBudget", "blue-masters", ()),
    }
    stack.runner.up()
    assert stack.get(*STATEFUL_SET, "blue-zookeeper")["status"]["readyReplicas"] == 3
    assert stack.get("policy/v1", "PodDisruptionBudget", "blue-masters")
    assert stack.runner.preview().changes == ()
