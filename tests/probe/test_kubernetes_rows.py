"""What is told of Kubernetes objects: from documents as the API writes them, to columns."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from probe.agent import docker
from probe.agent.collectors.docker_values import facts
from probe.agent.kubernetes import routing_rows, rows
from probe.agent.kubernetes.election import Act, Seen, decide
from probe.agent.kubernetes.kinds import ENDPOINTS, KINDS, POD, SERVICE
from probe.agent.kubernetes.model import Node, Pod, Workload
from probe.agent.kubernetes.quantity import whole
from probe.agent.kubernetes.routing import EndpointSlice, Service
from probe.agent.kubernetes.rows import Scope
from probe.agent.kubernetes.tables import Endpoints
from probe.agent.redaction import REDACTED
from probe.report.schema import fits
from probe.report.topologies import TOPOLOGIES
from tests.probe.sites import site

SCOPE = Scope("blue")
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def read(model: type[Any], **document: Any) -> Any:
    """An object as it comes from the server, with more than is kept of it."""
    whole_one = {"apiVersion": "v1", "kind": "Any", "unknown": {"deep": [1]}, **document}
    return msgspec.json.decode(json.dumps(whole_one), type=model)


def meta(**more: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "namespace": "shop",
        "uid": "u-1",
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T00:00:01Z",
        "managedFields": [{"manager": "somebody"}],
        **more,
    }


def pod(**status: Any) -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "name": "web-1", "uid": "u-rs", "controller": True}
    found = read(
        Pod,
        metadata=meta(ownerReferences=[owner], labels={"app": "web", "db-password": "hunter22"}),
        spec={
            "nodeName": "node-1",
            "containers": [{"name": "app", "image": "img:1"}],
            "volumes": [
                {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "e"},
            ],
        },
        status={"phase": "Running", **status},
    )
    id_, values = rows.pod(found, SCOPE)
    assert id_ == "u-1"
    return values


def test_a_pod_names_what_it_belongs_to() -> None:
    values = pod(podIPs=[{"ip": "10.0.0.1"}, {"ip": "fd00::1"}])

    assert values["workload"] == "u-rs"
    assert values["node"] == "blue;node-1"
    assert values["namespace"] == "blue;shop"
    assert values["claims"] == ["blue;shop/data"]
    assert values["addresses"] == ["10.0.0.1", "fd00::1"]
    assert values["created_ms"] == 1767225601000
    assert values["ready"] is False
    assert values["problem"] is None


def test_ids_of_containers_are_those_that_their_runtime_gave() -> None:
    statuses: list[dict[str, Any]] = [
        {"name": "app", "containerID": "containerd://abc", "restartCount": 2, "state": RUNNING},
        {"name": "new", "containerID": "", "restartCount": 0, "state": {}},
    ]
    first = [{"name": "init", "containerID": "docker://def", "restartCount": 1}]
    values = pod(containerStatuses=statuses, initContainerStatuses=first)

    assert values["containers"] == ["abc", "def"]
    assert values["restarts"] == 3


PROBLEMS = {
    "it starts": ({"waiting": {"reason": "ContainerCreating"}}, None),
    "it crashes": ({"waiting": {"reason": "CrashLoopBackOff"}}, "CrashLoopBackOff"),
    "it has done its work": ({"terminated": {"reason": "Completed", "exitCode": 0}}, None),
    "it was killed": ({"terminated": {"reason": "OOMKilled", "exitCode": 137}}, "OOMKilled"),
    "it runs": (RUNNING, None),
}


@pytest.mark.parametrize(("state", "problem"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_pod_s_problem_is_why_it_is_not_as_it_should_be(
    state: dict[str, Any], problem: str | None
) -> None:
    assert pod(containerStatuses=[{"name": "app", "state": state}])["problem"] == problem
    assert pod(reason="Evicted", containerStatuses=[{"state": state}])["problem"] == "Evicted"


def test_secrets_in_labels_stay_here() -> None:
    assert pod()["labels"] == ["app=web", f"db-password={REDACTED}"]
    for name in ("db-password", "n" * 300 + "-password", "url"):
        # Neither is cut before it is judged.
        value = f"{'x' * 230} https://me:{'hunter22' * 5}@h/"
        assert "hunter22" not in str(Scope("c").pairs({name: value}))


def test_hostile_texts_are_made_fit() -> None:
    text = "\x1b[2J" + "x" * 100_000
    values = pod(reason=text, phase=text)

    assert len(str(values["problem"])) <= 256
    assert "\x1b" not in str(values["phase"])


def test_old_revisions_are_left_out() -> None:
    owner = {"kind": "Deployment", "name": "web", "uid": "u-d", "controller": True}
    old = read(
        Workload,
        metadata=meta(ownerReferences=[owner]),
        spec={"replicas": 0},
        status={"replicas": 0},
    )
    going = read(
        Workload,
        metadata=meta(ownerReferences=[owner]),
        spec={"replicas": 0},
        status={"replicas": 1},
    )
    alone = read(Workload, metadata=meta(), spec={"replicas": 0}, status={"replicas": 0})

    assert rows.workload("ReplicaSet", old, SCOPE) is None
    assert rows.workload("ReplicaSet", going, SCOPE) is not None
    assert rows.workload("ReplicaSet", alone, SCOPE) is not None


def test_a_node_s_host_is_what_its_kubelet_calls_it() -> None:
    status = {
        "addresses": [
            {"type": "InternalIP", "address": "10.0.0.5"},
            {"type": "Hostname", "address": "machine-5"},
        ],
        "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "DiskPressure", "status": "True"},
            {"type": "PIDPressure", "status": "Unknown"},
        ],
        "allocatable": {"cpu": "8", "pods": "110"},
    }
    labels = {"node-role.kubernetes.io/control-plane": ""}
    spec = {"unschedulable": True, "taints": [{"key": "a", "effect": "NoSchedule"}]}
    found = read(
        Node, metadata=meta(name="n5", namespace="", labels=labels), spec=spec, status=status
    )
    id_, values = rows.node(found, SCOPE)

    assert id_ == "blue;n5"
    assert values["host"] == "machine-5"
    assert values["ready"] is True
    assert values["problems"] == ["DiskPressure"]
    assert values["schedulable"] is False
    assert values["roles"] == ["control-plane"]
    assert values["taints"] == ["a:NoSchedule"]
    assert values["allocatable"] == ["cpu=8", "pods=110"]
    assert "namespace" not in values


QUANTITIES = {
    "10Gi": 10 << 30,
    "1.5Ki": 1536,
    "128974848": 128974848,
    "129e6": 129_000_000,
    "129M": 129_000_000,
    "100m": 1,
    "0": 0,
    ".5Mi": 1 << 19,
    "8Ei": None,
    "7Ei": 7 << 60,
    "": None,
    "1GiB": None,
    "e5": None,
    "9" * 100: None,
}


@pytest.mark.parametrize(("text", "value"), QUANTITIES.items())
def test_quantities_are_read_as_the_api_means_them(text: str, value: int | None) -> None:
    assert whole(text) == value


def test_every_column_that_a_kind_tells_is_one_of_its_topology() -> None:
    """Even of an object that says nothing but its name."""
    for kind in KINDS:
        if kind.tell is None:
            continue
        topology = TOPOLOGIES[kind.topology]
        is_wide = kind.name in {"Namespace", "Node", "PersistentVolume"}
        metadata = meta(namespace="") if is_wide else meta()
        row = kind.tell(read(kind.model, metadata=metadata), SCOPE)
        assert row is not None
        for name, value in row[1].items():
            column = topology.column(name)
            assert column is not None, (kind.name, name)
            assert fits(value, column.type), (kind.name, name, value)


def slice_(name: str, service: str, *uids: str, ready: bool | None = None) -> EndpointSlice:
    endpoints: list[dict[str, Any]] = [
        {
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": ready},
            "targetRef": {"kind": "Pod", "uid": uid},
        }
        for uid in uids
    ]
    labels = {"kubernetes.io/service-name": service}
    metadata = meta(name=name, uid=name, labels=labels)
    return read(EndpointSlice, metadata=metadata, endpoints=endpoints)


class Joined:
    """Pods and services of a site, and the endpoints between them."""

    def __init__(self) -> None:
        ledger = site().ledger
        self.pods, self.services = ledger[POD.topology], ledger[SERVICE.topology]
        self.endpoints = Endpoints(self.pods, self.services, SCOPE)

    def pod(self, uid: str) -> None:
        self.pods.put(uid, name=uid)
        self.endpoints.tell_pod(uid)

    def service(self, name: str) -> None:
        id_, values = routing_rows.service(read(Service, metadata=meta(name=name)), SCOPE)
        self.services.put(id_, **values)
        self.endpoints.tell_service(id_)


@pytest.mark.parametrize("first", ["rows", "slices"])
def test_endpoints_relate_pods_and_services_in_whatever_order_they_come(first: str) -> None:
    joined = Joined()

    def told() -> None:
        joined.pod("p1")
        joined.pod("p2")
        joined.service("a")

    if first == "rows":
        told()
    joined.endpoints.put(slice_("a-1", "a", "p1"))
    joined.endpoints.put(slice_("a-2", "a", "p2", ready=False))
    if first == "slices":
        told()

    assert joined.pods.get("p1", "services") == ["blue;shop/a"]
    assert joined.services.get("blue;shop/a", "endpoints") == 2
    assert joined.services.get("blue;shop/a", "endpoints_ready") == 1


def test_a_pod_leaves_a_service_with_its_slice() -> None:
    joined = Joined()
    for uid in ("p1", "p2"):
        joined.pod(uid)
    joined.service("a")
    joined.endpoints.put(slice_("a-1", "a", "p1", "p2"))
    joined.endpoints.put(slice_("a-1", "a", "p2"))
    assert joined.pods.get("p1", "services") == []
    assert joined.pods.get("p2", "services") == ["blue;shop/a"]

    joined.endpoints.begin()
    joined.endpoints.put(slice_("b-1", "b", "p2"))
    joined.endpoints.end()

    assert joined.pods.get("p2", "services") == ["blue;shop/b"]
    assert joined.services.get("blue;shop/a", "endpoints") is None
    joined.endpoints.clear()
    assert joined.pods.get("p2", "services") == []
    assert len(joined.endpoints) == 0


def test_endpoints_that_are_no_pods_are_told_by_their_addresses() -> None:
    joined = Joined()
    joined.service("a")
    found = slice_("a-1", "a")
    found.endpoints = read(
        EndpointSlice, metadata=meta(), endpoints=[{"addresses": ["192.0.2.1"]}]
    ).endpoints
    joined.endpoints.put(found)

    assert joined.services.get("blue;shop/a", "others") == ["192.0.2.1"]
    assert ENDPOINTS.tell is None


def seen(holder: str, at: float = 100.0) -> Seen:
    return Seen(holder, "7", 15.0, at)


DECISIONS = {
    "there is none": (None, 0.0, Act.CREATE),
    "it is ours": (seen("me"), 1000.0, Act.RENEW),
    "its holder lives": (seen("other"), 114.9, Act.WAIT),
    "its holder is silent": (seen("other"), 115.1, Act.TAKE),
    "it was given back": (seen(""), 100.0, Act.TAKE),
    "another life of ours holds it": (seen("me_1"), 101.0, Act.WAIT),
}


@pytest.mark.parametrize(("lease", "now", "act"), DECISIONS.values(), ids=DECISIONS.keys())
def test_a_lease_is_taken_only_when_nobody_keeps_it(
    lease: Seen | None, now: float, act: Act
) -> None:
    assert decide(lease, "me", now) is act


def test_a_container_of_docker_names_its_pod_as_the_api_server_does() -> None:
    document = {"Id": "abc", "Config": {"Labels": {"io.kubernetes.pod.uid": "u-1"}}}
    found = msgspec.json.decode(json.dumps(document), type=docker.Container)

    assert facts(found)["pod"] == "u-1"
    status = {"name": "app", "containerID": "docker://abc", "state": RUNNING}
    assert pod(containerStatuses=[status])["containers"] == [found.id]
