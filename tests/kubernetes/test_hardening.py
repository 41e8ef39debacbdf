"""What the server admits, what pods may do, and who may reach whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from components.network.policies import (
    AGENTS,
    BROWSERS,
    FLOWS,
    GUESTS,
    LOG_OPERATOR,
    MONITORING,
    PROBE,
    READERS,
    RESOLVERS,
    VISITORS,
)
from components.targets import migration
from components.targets.network import (
    MAY_READ_LOGS,
    MAY_READ_METRICS,
    MAY_RUN_LOGS,
    MAY_USE_APPS,
    MAY_USE_WEB,
    MAY_USE_ZOOKEEPER,
    MAY_WATCH,
)
from components.targets.pods import labels as labels_of
from stacks.topology import Placement, Position, Standing
from tests.kubernetes.reachability import Peer, Port, is_selected, may_connect
from tests.kubernetes.stack import ClusterStack
from tests.kubernetes.test_examples import use
from tests.providers.cluster.api import Cluster, Object
from tests.providers.cluster.errors import RefusedError

_BOUND_S = 600
# Whom no restricted namespace admits, and how the namespace that does says why.
_RESTRICTED_NOT_FOR = {
    "blue-agents": "agents start other people's containers",
    "green-agents": "agents start other people's containers",
    "filebeat": "Filebeat reads logs",
    "probe-agent": "agents look at the node",
}
_ASK_THE_API = ("-caretaker", "probe-cluster")
_WHY = "mesos-platform/why-privileged"
_NAME = "kubernetes.io/metadata.name"
_TIER = "app.kubernetes.io/component"
OUTSIDE = {
    GUESTS: (MAY_USE_ZOOKEEPER, "true"),
    MONITORING: (MAY_READ_METRICS, "true"),
    VISITORS: (MAY_USE_APPS, "true"),
    BROWSERS: (MAY_USE_WEB, "true"),
    PROBE: (MAY_WATCH, "true"),
    RESOLVERS: (_NAME, "kube-system"),
    LOG_OPERATOR: (MAY_RUN_LOGS, "true"),
    READERS: (MAY_READ_LOGS, "true"),
}
_DEPTH_MAX = 20
_RESOURCES_MIN = 100


def with_both_colours(stack: ClusterStack) -> None:
    """A stack in the middle of a migration, so that everything there is exists."""
    use(stack, "migrating")
    groups = {"traffic": Placement.SOURCE}
    for position in (0, 1, 2):
        stack.runner.set_migration(Standing(position=Position(position), groups=groups))
        stack.runner.up()


def privileged_pod(namespace: str) -> Object:
    container = {
        "name": "any",
        "image": "example.invalid/any",
        "securityContext": {"privileged": True},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "intruder", "namespace": namespace},
        "spec": {"containers": [container]},
    }


@pytest.mark.timeout(_BOUND_S)
def test_pods_may_do_and_reach_what_is_declared(stack: ClusterStack, cluster: Cluster) -> None:
    with_both_colours(stack)
    state = stack.runner.deployment()
    namespaces = namespaces_of(state, cluster)
    assert len(namespaces) == 4
    pods = [pod for name in namespaces for pod in cluster.list("v1", "Pod", name)]
    workloads = {pod["metadata"]["labels"]["app.kubernetes.io/name"]: pod for pod in pods}
    assert {"blue-zookeeper", "green-masters", "blue-agents", "sync-engine"} <= set(workloads)
    assert {"green-masters-exporter", "web-route", "edge-external", "consul"} <= set(workloads)
    assert "registrator" in workloads
    assert {"logs", "logs-keeper", "filebeat"} <= set(workloads)
    assert {"probe-agent", "probe-cluster"} <= set(workloads)
    of_marathon = {f"frameworks-marathon-{each}" for each in ("backup", "exporter")}
    assert of_marathon <= set(workloads)
    # Masters call it back: that they alone may is among what is compared below.
    (real,) = workloads["frameworks-marathon"]["spec"]["containers"]
    assert real["image"].startswith("registry.invalid/marathon@")
    assert {port["name"] for port in real["ports"]} == {"marathon", "libprocess"}
    for name, pod in workloads.items():
        assert_hardened(name, pod["spec"], everything=name not in _RESTRICTED_NOT_FOR)
    assert_shallow(state)
    assert_admission(namespaces, pods, cluster)
    policies = cluster.list("networking.k8s.io/v1", "NetworkPolicy")
    assert_reachable(namespaces, pods, policies)


def namespaces_of(state: Mapping[str, Any], cluster: Cluster) -> dict[str, Object]:
    """Those that the stack has made, by name, as they are on the server."""
    names = [
        one["inputs"]["metadata"]["name"]
        for one in state["resources"]
        if one["type"] == "kubernetes:core/v1:Namespace"
    ]
    found = {name: cluster.get("v1", "Namespace", name) for name in names}
    return {name: each for name, each in found.items() if each is not None}


def assert_shallow(state: Mapping[str, Any]) -> None:
    """The longest chain of parents and dependencies is short: what registers resources takes more
    than linear time in it, and so does whoever waits for an update."""
    above = {
        one["urn"]: {*one.get("dependencies", ()), one.get("parent")} - {None}
        for one in state["resources"]
    }
    depths: dict[str, int] = {}

    def depth(urn: str) -> int:
        if urn not in depths:
            depths[urn] = 1 + max((depth(each) for each in above[urn]), default=0)
        return depths[urn]

    assert len(above) > _RESOURCES_MIN
    assert max(map(depth, above)) < _DEPTH_MAX


def assert_admission(
    namespaces: Mapping[str, Object], pods: list[Object], cluster: Cluster
) -> None:
    """The server admits nothing beyond the level; where there is none, the namespace says why of
    each who lies in it."""
    for name, namespace in namespaces.items():
        metadata = namespace["metadata"]
        if metadata["labels"]["pod-security.kubernetes.io/enforce"] == "restricted":
            with pytest.raises(RefusedError, match='violates PodSecurity "restricted'):
                cluster.create(privileged_pod(name))
            continue
        here = {
            pod["metadata"]["labels"]["app.kubernetes.io/name"]
            for pod in pods
            if pod["metadata"]["namespace"] == name
        }
        assert here <= _RESTRICTED_NOT_FOR.keys()
        for workload in here:
            assert _RESTRICTED_NOT_FOR[workload] in metadata["annotations"][_WHY]


def assert_hardened(name: str, spec: dict[str, Any], *, everything: bool) -> None:
    assert spec["enableServiceLinks"] is False
    # Who looks after pods uses the API, and who watches the cluster, and nobody else does.
    assert spec["automountServiceAccountToken"] is name.endswith(_ASK_THE_API)
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (_,) = spec["containers"]
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        if everything:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["resources"]["limits"]["memory"]
    secrets = [v["secret"] for v in spec["volumes"] if "secret" in v]
    assert all(secret["items"] for secret in secrets)
    if everything:
        assert spec["securityContext"]["runAsNonRoot"] is True


def assert_reachable(
    namespaces: Mapping[str, Object], pods: list[Object], policies: list[Object]
) -> None:
    """No pod is unselected, and who reaches whom is what the list of flows says."""
    peers = {pod["metadata"]["name"]: peer_of(namespaces, pod) for pod in pods}
    for name, (label, value) in OUTSIDE.items():
        peers[f"a-{name}"] = outsider(name, {label: value})
    peers["a-stranger"] = outsider("stranger", {})
    beside = next(peer for peer in peers.values() if peer.labels.get(_TIER) == "masters")
    peers["who-migrates"] = replace(beside, labels=labels_of(migration.workload({})))
    ours = {pod["metadata"]["name"] for pod in pods} | {"who-migrates"}
    for name in ours:
        for direction in ("Ingress", "Egress"):
            assert is_selected(peers[name], policies, direction)
    (api,) = (rule for rule in policy_of("migration", policies)["egress"] if is_of_api(rule))
    assert [port["port"] for port in api["ports"]] == [443, 6443]

    wrong = [
        f"{source} to {target['metadata']['name']}:{port['name']}"
        for source, peer in peers.items()
        for target in pods
        for port in target["spec"]["containers"][0].get("ports", ())
        if is_covered(peer, target)
        and may_connect(peer, peers[target["metadata"]["name"]], port_of(port), policies)
        != is_declared(peer, target, port["name"])
    ]
    assert wrong == []


def policy_of(name: str, policies: list[Object]) -> Object:
    (found,) = (each["spec"] for each in policies if each["metadata"]["name"] == name)
    return found


def is_of_api(rule: Object) -> bool:
    return all("ipBlock" in peer for peer in rule.get("to", ())) and {
        port["port"] for port in rule["ports"]
    } == {443, 6443}


def port_of(port: Object) -> Port:
    return Port(port["containerPort"], port.get("protocol", "TCP"))


def is_covered(source: Peer, target: Object) -> bool:
    """Whether policies of the stack are asked at all: not where both ends are somebody else's, or
    use their node's network, which is for a firewall to protect."""
    is_ours = "app.kubernetes.io/part-of" in source.labels
    leaves_by_policy = is_ours and not source.on_node_network
    arrives_by_policy = not target["spec"].get("hostNetwork")
    return leaves_by_policy or arrives_by_policy


def peer_of(namespaces: Mapping[str, Object], pod: Object) -> Peer:
    on_node = bool(pod["spec"].get("hostNetwork"))
    namespace = pod["metadata"]["namespace"]
    return Peer(
        namespace=namespace,
        namespace_labels=namespaces[namespace]["metadata"]["labels"],
        labels=pod["metadata"]["labels"],
        address="10.0.0.7" if on_node else "10.244.0.7",
        on_node_network=on_node,
    )


def outsider(name: str, namespace_labels: dict[str, str]) -> Peer:
    return Peer(name, namespace_labels, {}, "10.244.9.9")


def is_declared(source: Peer, target: Object, role: str) -> bool:
    """What the list of flows says. Who uses its node's network is its node, to policies, and so is
    an agent: what agents may, each of them may."""
    labels = target["metadata"]["labels"]
    tier = AGENTS if source.on_node_network else source.labels.get(_TIER)
    for flow in FLOWS:
        if flow.target != labels[_TIER] or flow.role != role:
            continue
        if flow.source in OUTSIDE:
            name, value = OUTSIDE[flow.source]
            matches = source.namespace_labels.get(name) == value
        else:
            matches = tier == flow.source
            color = source.labels.get("mesos-platform/color")
            if flow.within_color and color != labels.get("mesos-platform/color"):
                matches = False
        if matches:
            return True
    return False
