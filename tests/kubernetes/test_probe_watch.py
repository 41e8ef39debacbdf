"""What a probe tells of a cluster, beside a real API server, controllers and kwok's nodes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

import pytest

from probe.agent.collector import State
from tests.kubernetes.conftest import NODES
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.probing import (
    CLUSTER,
    Watched,
    namespace,
    service,
    settings_of,
    template,
    watching,
    workload,
)
from tests.providers.cluster.api import Cluster, Object
from tests.providers.cluster.errors import UnknownKindError
from tests.waiting import until

_BOUND_S = 300


@pytest.fixture
def place(cluster: Cluster) -> Iterator[str]:
    with namespace(cluster) as name:
        yield name


@pytest.fixture
async def watched(plane: ControlPlane, place: str) -> AsyncGenerator[Watched]:
    async with watching(settings_of(plane)) as found:
        yield found


@pytest.mark.timeout(_BOUND_S)
async def test_pods_are_told_with_what_keeps_them_and_where_they_are(
    watched: Watched, cluster: Cluster, place: str
) -> None:
    cluster.create(workload("Deployment", "web", place, replicas=3))
    deployment = await watched.told("workload", kind="Deployment", name="web", ready=3)
    revision = await watched.told("workload", owner=deployment["id"])

    pods = await until(lambda: watched.rows("pod", workload=revision["id"], ready=True)[2:], "3")
    pods = watched.rows("pod", workload=revision["id"])
    nodes = {row["id"]: row for row in watched.rows("node")}
    live = cluster.list("v1", "Pod", place)

    assert deployment["namespace"] == f"{CLUSTER};{place}"
    assert deployment["images"] == ["example.invalid/app:1"]
    assert {pod["id"] for pod in pods} == {pod["metadata"]["uid"] for pod in live}
    assert {pod["name"] for pod in pods} == {pod["metadata"]["name"] for pod in live}
    assert all(pod["node"] in nodes for pod in pods)
    assert all(pod["phase"] == "Running" and pod["addresses"] for pod in pods)
    assert all("app=web" in pod["labels"] for pod in pods)
    assert len(nodes) == NODES
    assert all(node["ready"] and node["schedulable"] for node in nodes.values())
    assert {node["zone"] for node in nodes.values()} == {"a", "b", "c"}
    await until(lambda: watched.news.count, "news")


@pytest.mark.timeout(_BOUND_S)
async def test_every_kind_of_workload_is_told(
    watched: Watched, cluster: Cluster, place: str
) -> None:
    cluster.create(workload("DaemonSet", "each", place))
    job: Object = {"template": template("once", restartPolicy="Never"), "completions": 2}
    metadata = {"name": "once", "namespace": place}
    cluster.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job})
    del job["template"]["metadata"]
    nightly = {"schedule": "0 3 * * *", "suspend": True, "jobTemplate": {"spec": job}}
    metadata = {"name": "nightly", "namespace": place}
    cluster.create(
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": nightly}
    )

    each = await watched.told("workload", kind="DaemonSet", name="each", ready=NODES)
    once = await watched.told("workload", kind="Job", name="once", succeeded=2)
    late = await watched.told("workload", kind="CronJob", name="nightly", paused=True)

    assert each["desired"] == each["updated"] == NODES
    assert once["desired"] == 2
    ended = watched.rows("pod", workload=once["id"])
    assert {pod["phase"] for pod in ended} == {"Succeeded"}
    assert late["schedule"] == "0 3 * * *"
    assert late["active"] == 0


@pytest.mark.timeout(_BOUND_S)
async def test_services_lead_to_pods_and_ingresses_to_services(
    watched: Watched, cluster: Cluster, place: str
) -> None:
    cluster.create(service("web", place, type="NodePort"))
    cluster.create(service("quiet", place, clusterIP="None"))
    cluster.create(ingress("front", place, "web"))
    cluster.create(workload("Deployment", "web", place, replicas=2))

    web = await watched.told("service", name="web", endpoints=2, endpoints_ready=2)
    await until(lambda: len(watched.rows("pod", services=[web["id"]])) == 2, "pods name it")
    quiet = await watched.told("service", name="quiet")
    front = await watched.told("ingress", name="front")

    assert web["id"] == f"{CLUSTER};{place}/web"
    assert web["type"] == "NodePort"
    assert web["addresses"]
    assert web["ports"][0].startswith("http 80:3")
    assert web["selector"] == ["app=web"]
    assert quiet["type"] == "Headless"
    assert front["services"] == [web["id"]]
    assert front["routes"] == ["shop.example/cart web"]
    assert front["tls_hosts"] == ["shop.example"]

    cluster.delete(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": place}}
    )
    await watched.gone("service", name="web")
    await until(lambda: not watched.rows("pod", services=[web["id"]]), "pods name it no more")


def ingress(name: str, place: str, service_name: str) -> Object:
    backend = {"service": {"name": service_name, "port": {"number": 80}}}
    path = {"path": "/cart", "pathType": "Prefix", "backend": backend}
    rule = {"host": "shop.example", "http": {"paths": [path]}}
    spec = {"rules": [rule], "tls": [{"hosts": ["shop.example"], "secretName": "none"}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": place},
        "spec": spec,
    }


@pytest.mark.timeout(_BOUND_S)
async def test_volumes_are_told_with_the_claims_and_pods_that_have_them(
    watched: Watched, cluster: Cluster, place: str
) -> None:
    wanted = {"resources": {"requests": {"storage": "2Gi"}}, "accessModes": ["ReadWriteOnce"]}
    claims = [{"metadata": {"name": "data"}, "spec": wanted}]
    cluster.create(
        workload(
            *("StatefulSet", "db", place), serviceName="db", replicas=1, volumeClaimTemplates=claims
        )
    )

    claim = await watched.told("claim", name="data-db-0", phase="Bound")
    volume = await watched.told("volume", claim=claim["id"])
    store = await watched.told("workload", kind="StatefulSet", name="db", ready=1)
    pod = await watched.told("pod", workload=store["id"])

    assert claim["volume"] == volume["id"]
    assert claim["requested_bytes"] == volume["capacity_bytes"] == 2 << 30
    assert pod["claims"] == [claim["id"]]


@pytest.mark.timeout(_BOUND_S)
async def test_what_is_removed_leaves_nothing_behind(
    watched: Watched, cluster: Cluster, place: str
) -> None:
    objects = [
        workload("Deployment", "web", place, replicas=2),
        service("web", place),
        ingress("front", place, "web"),
    ]
    for one in objects:
        cluster.create(one)
    await watched.told("service", name="web", endpoints_ready=2)

    for one in objects:
        cluster.delete(one)

    for topology in ("workload", "pod", "service", "ingress"):
        await watched.gone(topology, namespace=f"{CLUSTER};{place}")
    assert watched.rows("namespace", name=place)


@pytest.mark.timeout(_BOUND_S)
async def test_a_node_s_own_probe_sees_its_node_and_its_pods_alone(
    plane: ControlPlane, cluster: Cluster, place: str
) -> None:
    cluster.create(workload("DaemonSet", "each", place))
    await until(lambda: len(cluster.list("v1", "Pod", place)) == NODES, "pods")

    async with watching(settings_of(plane, node="node-3")) as watched:
        await watched.told("pod", namespace=f"{CLUSTER};{place}")
        (node,) = watched.rows("node")
        capability = watched.collector.capability()

        assert {pod["node"] for pod in watched.rows("pod")} == {node["id"]}
        assert node["name"] == node["host"] == "node-3"
        assert capability.state is State.FULL
        assert "node-3" in capability.mode


@pytest.mark.timeout(_BOUND_S)
async def test_gateways_are_told_where_somebody_has_installed_them(
    plane: ControlPlane, cluster: Cluster, place: str
) -> None:
    async with watching(settings_of(plane)) as watched:
        # Nobody misses what nobody has installed.
        assert watched.collector.capability().state is State.FULL
    for plural, kind in (("gateways", "Gateway"), ("httproutes", "HTTPRoute")):
        cluster.apply(definition(plural, kind))
    gateway = {"gatewayClassName": "any", "listeners": [{"port": 443, "protocol": "HTTPS"}]}
    await until(lambda: created(cluster, "Gateway", place, gateway), "the kind is served")
    rules = [{"backendRefs": [{"name": "web", "port": 80}], "matches": [{"path": {"value": "/a"}}]}]
    spec = {"parentRefs": [{"name": "any"}], "hostnames": ["shop.example"], "rules": rules}
    await until(lambda: created(cluster, "HTTPRoute", place, spec), "the kind is served")

    async with watching(settings_of(plane)) as watched:
        door = await watched.told("gateway", name="any")
        route = await watched.told("ingress", kind="HTTPRoute")

        assert door["listeners"] == ["HTTPS:443"]
        assert door["programmed"] is False
        assert route["gateways"] == [door["id"]]
        assert route["services"] == [f"{CLUSTER};{place}/web"]
        assert route["routes"] == ["shop.example/a web"]


def definition(plural: str, kind: str) -> Object:
    group = "gateway.networking.k8s.io"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": anything},
    }
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            # Without it, only the project that owns the group may define kinds of it.
            "annotations": {"api-approved.kubernetes.io": "unapproved, a test's own"},
        },
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def created(cluster: Cluster, kind: str, place: str, spec: Object) -> bool:
    api_version = "gateway.networking.k8s.io/v1"
    try:
        cluster.namespaced(api_version, kind)
    except UnknownKindError:
        return False
    metadata = {"name": "any", "namespace": place}
    cluster.create({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
    return True
