"""Every pod gets the same hardening, by no component's own doing."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from components.base import HostTarget, Placing
from components.errors import ArgumentsError
from components.mesos.agents import AgentPool, MesosAgents, MesosAgentsArgs
from components.mesos.masters import MesosMasters, MesosMastersArgs
from components.mesos.sample import SampleFramework, SampleFrameworkArgs
from components.targets import migration
from components.targets.kubernetes import KubernetesTarget
from components.workload import Program
from components.zookeeper import ZooKeeperEnsemble, ZooKeeperEnsembleArgs
from stacks.local.settings import AgentSettings, MasterSettings, ZooKeeperSettings
from tests.components.conftest import Run

IMAGE = f"example.invalid/zookeeper@sha256:{'0' * 64}"
PROGRAM = Program(("python", "-m", "some.module"), IMAGE)


@pytest.fixture
def placing() -> Placing:
    target: HostTarget = KubernetesTarget(
        namespace="mesos",
        storage_class=None,
        volume_gib=1,
        node_networks=["10.0.0.0/16"],
        caretaker_program=PROGRAM,
    )
    return Placing(target)


def pod_of(spec: dict[str, Any]) -> dict[str, Any]:
    return spec["template"]["spec"]


def test_an_ensemble_becomes_a_stateful_set_with_stable_names(run: Run, placing: Placing) -> None:
    args = ZooKeeperEnsembleArgs(color="blue", program=PROGRAM)

    recorder = run(lambda: ZooKeeperEnsemble(args, placing))

    spec = recorder.named("blue-zookeeper", "StatefulSet").inputs["spec"]
    assert spec["replicas"] == 3
    assert recorder.named("blue-zookeeper", "Service").inputs["spec"]["clusterIP"] == "None"
    data = recorder.named("blue-zookeeper", "ConfigMap").inputs["data"]
    assert sorted(data) == [f"blue-zookeeper-{index}.json" for index in range(3)]
    assert "blue-zookeeper-1.blue-zookeeper.mesos.svc" in data["blue-zookeeper-0.json"]
    budget = recorder.named("blue-zookeeper", "PodDisruptionBudget").inputs["spec"]
    assert budget["maxUnavailable"] == 1


def test_pods_are_restricted_and_get_no_service_links(run: Run, placing: Placing) -> None:
    args = ZooKeeperEnsembleArgs(color="blue", program=PROGRAM)

    recorder = run(lambda: ZooKeeperEnsemble(args, placing))

    pod = pod_of(recorder.named("blue-zookeeper", "StatefulSet").inputs["spec"])
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    container = pod["containers"][0]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["command"][-1] == "/etc/mesos-platform/$(MEMBER).json"


def test_agents_are_the_nodes_and_wait_for_a_drain(run: Run, placing: Placing) -> None:
    args = MesosAgentsArgs(color="blue", program=PROGRAM, election_url="zk://h:1/mesos")

    recorder = run(lambda: MesosAgents(args, placing))

    spec = recorder.named("blue-agents", "DaemonSet").inputs["spec"]
    assert spec["updateStrategy"] == {"type": "OnDelete"}
    assert pod_of(spec)["hostNetwork"] is True
    assert pod_of(spec)["enableServiceLinks"] is False
    metadata = recorder.named("blue-agents", "DaemonSet").inputs["metadata"]
    assert metadata["namespace"] == "mesos-agents"
    volumes = {each["name"]: each for each in pod_of(spec)["volumes"]}
    mounts = {each["name"]: each for each in pod_of(spec)["containers"][0]["volumeMounts"]}
    # One path inside and outside, because containers are started by the node's own engine.
    assert volumes["state"]["hostPath"]["path"] == mounts["state"]["mountPath"]
    assert mounts["state"]["mountPropagation"] == "Bidirectional"
    # An empty list of secrets would mean all of them.
    assert "secrets" not in volumes


def test_agents_of_both_colours_stand_on_one_node_each_by_its_name(
    run: Run, placing: Placing
) -> None:
    ports: dict[str, int] = {}
    for_tasks: dict[str, tuple[int, int]] = {}
    for color in ("blue", "green"):
        args = MesosAgentsArgs(color=color, program=PROGRAM, election_url="zk://h:1/mesos")
        recorder = run(lambda args=args: MesosAgents(args, placing))
        container = pod_of(recorder.named(f"{color}-agents", "DaemonSet").inputs["spec"])[
            "containers"
        ][0]
        variables = {each["name"]: each["valueFrom"] for each in container["env"]}
        assert variables["POD_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}
        assert variables["NODE_NAME"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
        ports[color] = container["ports"][0]["containerPort"]
        assert container["readinessProbe"]["httpGet"]["port"] == ports[color]
        data = recorder.named(f"{color}-agents", "ConfigMap").inputs["data"]
        settings = AgentSettings.model_validate_json(data[f"{color}-agents-0.json"])
        assert settings.port == ports[color]
        for_tasks[color] = settings.resources.ports

    assert ports["blue"] != ports["green"]
    assert for_tasks["blue"][1] < for_tasks["green"][0]


def test_how_many_nodes_are_expected_changes_nothing_of_their_agents(
    run: Run, placing: Placing
) -> None:
    def declared(count: int) -> list[object]:
        pool = AgentPool(count=count)
        args = MesosAgentsArgs("blue", PROGRAM, "zk://h:1/mesos", pool, masters=("m:1",))
        recorder = run(lambda: MesosAgents(args, placing))
        caretaker = recorder.named("blue-agents-caretaker", "ConfigMap").inputs["data"]
        kinds = ("DaemonSet", "ConfigMap", "Service")
        return [caretaker, *(recorder.named("blue-agents", kind).inputs for kind in kinds)]

    assert declared(2) == declared(5)


def test_servers_serve_clients_of_other_pods(run: Run, placing: Placing) -> None:
    args = ZooKeeperEnsembleArgs(color="blue", program=PROGRAM)

    recorder = run(lambda: ZooKeeperEnsemble(args, placing))

    text = recorder.named("blue-zookeeper", "ConfigMap").inputs["data"]["blue-zookeeper-1.json"]
    assert ZooKeeperSettings.model_validate_json(text).client_host == "0.0.0.0"  # noqa: S104 - a pod's own


def test_what_stands_still_has_no_pods(run: Run, placing: Placing) -> None:
    args = SampleFrameworkArgs(program=PROGRAM, zookeeper_hosts=None)

    recorder = run(lambda: SampleFramework(args, placing))

    assert recorder.named("frameworks-sample", "StatefulSet").inputs["spec"]["replicas"] == 0


def test_masters_are_ready_when_their_registry_is_and_refuse_to_begin_anew(
    run: Run, placing: Placing
) -> None:
    args = MesosMastersArgs(
        color="blue", program=PROGRAM, zookeeper_hosts="h:1", replicas=5, bootstrapped=True
    )

    recorder = run(lambda: MesosMasters(args, placing))

    pod = pod_of(recorder.named("blue-masters", "StatefulSet").inputs["spec"])
    command = pod["containers"][0]["readinessProbe"]["exec"]["command"]
    assert command[:2] == ["sh", "-c"]
    assert "registrar_ready --config /etc/mesos-platform/${MEMBER}.json" in command[2]
    for text in recorder.named("blue-masters", "ConfigMap").inputs["data"].values():
        settings = MasterSettings.model_validate_json(text)
        assert settings.quorum == 3
        assert settings.log_auto_initialize is False


def test_an_account_may_restart_and_empty_members_and_nothing_else(
    run: Run, placing: Placing
) -> None:
    target = placing.target
    assert isinstance(target, KubernetesTarget)
    guest = migration.workload({"blue-masters": 1, "green-masters": 3})
    args = MesosMastersArgs(color="green", program=PROGRAM, zookeeper_hosts="h:1")

    def declare() -> None:
        target.declare_guest(guest, pulumi.ResourceOptions())
        MesosMasters(args, placing)

    recorder = run(declare)

    made = recorder.named("green-masters", "StatefulSet").inputs
    (claim,) = made["spec"]["volumeClaimTemplates"]
    # As the StatefulSet will call them.
    pods = [f"{made['metadata']['name']}-{i}" for i in range(int(made["spec"]["replicas"]))]
    claims = [f"{claim['metadata']['name']}-{pod}" for pod in pods]
    role = recorder.named("migration", "Role").inputs
    assert role["metadata"]["namespace"] == made["metadata"]["namespace"]
    may = {(resource, verb): rule for rule in role["rules"] for resource in rule["resources"]
           for verb in rule["verbs"]}  # fmt: skip
    assert may.keys() == {
        ("statefulsets", "get"), ("statefulsets", "patch"),
        ("pods", "get"), ("pods/eviction", "create"),
        ("persistentvolumeclaims", "get"), ("persistentvolumeclaims", "delete"),
    }  # fmt: skip
    assert may["pods/eviction", "create"]["resourceNames"] == ["blue-masters-0", *pods]
    assert may["persistentvolumeclaims", "delete"]["resourceNames"] == [
        "state-blue-masters-0",
        *claims,
    ]
    account = recorder.named("migration", "ServiceAccount").inputs
    assert account["automountServiceAccountToken"] is False


def test_a_pod_that_migrates_reaches_what_it_asks_and_nobody_reaches_it(
    run: Run, placing: Placing
) -> None:
    target = placing.target
    assert isinstance(target, KubernetesTarget)
    guest = migration.workload({"blue-masters": 1})

    recorder = run(lambda: target.declare_guest(guest, pulumi.ResourceOptions()))

    policy = recorder.named("migration", "NetworkPolicy").inputs
    assert policy["spec"]["podSelector"]["matchLabels"] == policy["metadata"]["labels"]
    assert policy["spec"]["ingress"] == []
    names, *flows, api = policy["spec"]["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert [port["port"] for port in api["ports"]] == [443, 6443]
    tiers = {
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for rule in flows
        for peer in rule["to"]
        if "podSelector" in peer
    }
    # What is looked at by the API server alone, and agents, which are their nodes, apart.
    assert tiers == {
        *("zookeeper", "masters", "frameworks", "clients", "engine", "exporter"),
        *("edge", "web-route", "discovery"),
    }


def test_another_file_is_another_pod(run: Run, placing: Placing) -> None:
    def annotations(heap_mb: int) -> dict[str, str]:
        args = ZooKeeperEnsembleArgs(color="blue", program=PROGRAM, heap_mb=heap_mb)
        recorder = run(lambda: ZooKeeperEnsemble(args, placing))
        spec = recorder.named("blue-zookeeper", "StatefulSet").inputs["spec"]
        return spec["template"]["metadata"]["annotations"]

    assert annotations(128) == annotations(128)
    assert annotations(128) != annotations(256)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("zookeeper:3.9", "pinned by its digest"),
        ("zookeeper@sha256:12", "pinned by its digest"),
        (f"docker.io/bitnami/zookeeper@sha256:{'0' * 64}", "somebody maintains"),
    ],
)
def test_an_image_that_may_change_is_refused(
    run: Run, placing: Placing, image: str, expected: str
) -> None:
    args = ZooKeeperEnsembleArgs(color="blue", program=Program(("python",), image))

    with pytest.raises(ArgumentsError, match=expected):
        run(lambda: ZooKeeperEnsemble(args, placing))


def test_a_workload_without_an_image_is_refused(run: Run, placing: Placing) -> None:
    args = ZooKeeperEnsembleArgs(color="blue", program=Program(("python",)))

    with pytest.raises(ArgumentsError, match="expected an image"):
        run(lambda: ZooKeeperEnsemble(args, placing))
