"""Every example of a cluster is deployed as it stands, and what it asks for is on the server."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from clients.mesos import OperatorClient
from components.monitoring import alerts
from components.monitoring.dashboards import DASHBOARDS
from components.monitoring.log_stack import BEAT, ELASTICSEARCH
from components.network.cni import known
from controllers.log_keeper.settings import LogKeeperSettings
from controllers.node_network.settings import NodeNetworkSettings
from probe.agent.settings import parse_settings
from stacks.errors import ResourceFailedError
from tests.kubernetes import definitions
from tests.kubernetes.conftest import NODES
from tests.kubernetes.stack import DIGEST, ClusterStack, is_ready
from tests.local.alone import leading_alone
from tests.providers.cluster.api import Cluster, Object

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "clusters"
# Some fifty objects by the real engine, and pods that it waits for.
_BOUND_S = 900
pytestmark = pytest.mark.timeout(_BOUND_S)
_POOL = "mesos-platform/pool"
OPERATOR = "monitoring.coreos.com/v1"
CERT_MANAGER, SNAPSHOTS = "cert-manager.io/v1", "snapshot.storage.k8s.io/v1"
LOGGING = {"replicas": 1, "elasticsearch": f"x@{DIGEST}", "filebeat": f"x@{DIGEST}"}
STUB_ZONE = ("coredns-custom", "kube-system")
CANARY = "canary-of-the-operator"
VAULT, EXTERNAL = "secrets.hashicorp.com/v1beta1", "external-secrets.io/v1"
_VAULT_STORE = {"operator": "vault", "store": "x", "path": "x"}


@pytest.fixture
def kinds(cluster: Cluster) -> Iterator[None]:
    """Kinds of the operators that the examples count on."""
    made = definitions.install(cluster)
    yield
    for each in made:
        cluster.delete(each)


@pytest.fixture
def stub_zone(cluster: Cluster) -> Iterator[None]:
    """What the stack leaves in a namespace that is not its own."""
    yield
    name, namespace = STUB_ZONE
    metadata = {"name": name, "namespace": namespace}
    cluster.delete({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


@pytest.fixture
def pools(cluster: Cluster) -> Iterator[dict[str, set[str]]]:
    """Nodes in two pools, by name."""
    nodes = cluster.list("v1", "Node")
    found: dict[str, set[str]] = {"batch": set(), "serving": set()}
    for index, node in enumerate(nodes):
        name = ("batch", "serving")[index % 2]
        _label(cluster, node, name)
        found[name].add(node["metadata"]["name"])
    yield found
    for node in nodes:
        _label(cluster, node, None)


def _label(cluster: Cluster, node: Object, value: str | None) -> None:
    of = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node["metadata"]["name"]}}
    cluster.patch(of, {"metadata": {"labels": {_POOL: value}}}, manager="test")


def use(
    stack: ClusterStack, name: str, services: Mapping[str, Any] | None = None, **kubernetes: Any
) -> Mapping[str, Any]:
    """Configure a stack by an example, in its own namespace; returns the cluster's part."""
    values = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())["config"]
    values["mesos-platform:kubernetes"] |= {"namespace": stack.namespace, **kubernetes}
    if services:
        values["mesos-platform:services"] = dict(services)
    stack.runner.config_file.write_text(yaml.safe_dump({"config": values}, sort_keys=False))
    return values["mesos-platform:cluster"]


def same_after(stack: ClusterStack) -> None:
    """Nothing is left to do, on the server too: it dropped no field that it does not know."""
    stack.runner.refresh()
    assert stack.runner.preview().changes == ()


def test_the_small_one_has_one_of_everything(stack: ClusterStack) -> None:
    use(stack, "small")

    stack.runner.up()

    for tier in ("zookeeper", "masters"):
        (pod,) = stack.pods(f"blue-{tier}")
        assert is_ready(pod)
    assert "PodDisruptionBudget blue-zookeeper" not in stack.names()
    same_after(stack)


def test_the_highly_available_one_is_spread_encrypted_and_copied(
    stack: ClusterStack, cluster: Cluster, kinds: None, stub_zone: None
) -> None:
    use(stack, "ha")

    stack.runner.up()

    assert len(stack.pods("blue-zookeeper")) == 5
    asked = stack.get(CERT_MANAGER, "Certificate", "blue-zookeeper")["spec"]
    assert asked["secretName"] == "blue-zookeeper-tls"
    assert len(asked["dnsNames"]) == 6
    for tier in ("zookeeper", "masters"):
        name = f"{stack.namespace}-blue-{tier}-caretaker"
        found = cluster.get(SNAPSHOTS, "VolumeSnapshotClass", name)
        assert found is not None
        assert found["driver"] == "csi.example.com"
    masters = stack.get("apps/v1", "StatefulSet", "blue-masters")
    assert masters["spec"]["updateStrategy"]["type"] == "OnDelete"
    text = stack.get("v1", "ConfigMap", "blue-masters")["data"]["blue-masters-0.json"]
    settings = json.loads(text)
    assert settings["flags"]["recovery_agent_removal_limit"] == "20%"
    assert "eu-central" in settings["flags"]["domain"]
    assert settings["zk_auth_file"].endswith("/zookeeper-mesos")
    text = stack.get("v1", "ConfigMap", "frameworks-marathon")["data"]["frameworks-marathon-0.json"]
    marathon = json.loads(text)
    assert marathon["flags"]["max_instances_per_offer"] == 20
    assert marathon["zk_auth_file"] == settings["zk_auth_file"]
    claim = "state-frameworks-marathon-backup-0"
    assert stack.get("v1", "PersistentVolumeClaim", claim)["status"]["phase"] == "Bound"
    script = stack.get("v1", "ConfigMap", "blue-zookeeper")["data"]["blue-zookeeper-0.sh"]
    assert "sslQuorum=true" in script
    assert "admin.serverAddress=127.0.0.1" in script
    assert_watched(stack)
    assert_probed(stack)
    assert_networks(stack)
    assert_names(stack)
    assert_edge(stack)
    assert_logs(stack)
    same_after(stack)
    generations = stack.generations()
    stack.runner.up()
    assert stack.generations() == generations


def assert_watched(stack: ClusterStack) -> None:
    """Whoever reads metrics is led to ports that Services have, and is told rules and pictures."""
    for tier, service in (("zookeeper", "blue-zookeeper"), ("exporter", "blue-masters-exporter")):
        found = stack.get(OPERATOR, "ServiceMonitor", f"rig-telemetry-{tier}")
        assert found["metadata"]["labels"] == {"release": "prometheus"}
        spec, served = found["spec"], stack.get("v1", "Service", service)
        assert spec["namespaceSelector"] == {"matchNames": [stack.namespace]}
        selector = spec["selector"]["matchLabels"]
        assert selector.items() <= served["metadata"]["labels"].items()
        (endpoint,) = spec["endpoints"]
        assert endpoint["port"] in {port["name"] for port in served["spec"]["ports"]}
    groups = stack.get(OPERATOR, "PrometheusRule", "rig-telemetry")["spec"]["groups"]
    assert {group["name"] for group in groups} == set(alerts.GROUPS)
    for dashboard in DASHBOARDS:
        kept = stack.get("v1", "ConfigMap", f"dashboard-{dashboard.uid}")
        assert kept["metadata"]["labels"] == {"grafana_dashboard": "1"}
        assert json.loads(kept["data"][f"{dashboard.uid}.json"])["title"] == dashboard.title
    routes = stack.pods("web-route")
    assert len(routes) == 2
    assert all(map(is_ready, routes))
    (exporter,) = stack.pods("blue-masters-exporter")
    assert is_ready(exporter)


def assert_probed(stack: ClusterStack) -> None:
    """The probe's agents stand on every node, in a namespace that says why; those that watch the
    cluster were admitted where only the restricted level is, and may do what they have to."""
    cluster, (watchers, nodes) = stack.cluster, stack.probe_namespaces
    levels: dict[str, str] = {}
    for name in (watchers, nodes):
        found = cluster.get("v1", "Namespace", name)
        assert found is not None, name
        metadata = found["metadata"]
        levels[name] = metadata["labels"]["pod-security.kubernetes.io/enforce"]
        is_told = "mesos-platform/why-privileged" in metadata["annotations"]
        assert is_told is (levels[name] == "privileged")
    assert levels == {watchers: "restricted", nodes: "privileged"}
    agents = cluster.list("v1", "Pod", nodes)
    assert len(agents) == NODES == len({pod["spec"]["nodeName"] for pod in agents})
    pods = cluster.list("v1", "Pod", watchers)
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    assert all(map(is_ready, [*agents, *pods]))

    text = cluster.get("v1", "ConfigMap", "probe-cluster", watchers)
    assert text is not None
    told = parse_settings(text["data"]["settings.json"].encode(), "")
    assert [(one.cluster, len(one.masters), len(one.zookeeper)) for one in told.mesos] == [
        ("blue", 3, 5),
        ("green", 3, 5),
    ]
    for address in (*told.mesos[0].masters, *told.mesos[0].zookeeper, *told.mesos[0].marathon):
        host, port = address.split(":")
        service = stack.get("v1", "Service", host.split(".")[1])
        assert int(port) in {one["port"] for one in service["spec"]["ports"]}
    account = f"system:serviceaccount:{watchers}:probe-cluster"
    leases, name = "coordination.k8s.io/leases", "probe-kubernetes"
    for of in ("pods", "nodes", "apps/deployments", "gateway.networking.k8s.io/httproutes"):
        assert may(stack, account, "list", of)
        assert may(stack, account, "watch", of)
        assert not may(stack, account, "delete", of)
    assert not may(stack, account, "list", "secrets")
    assert not may(stack, account, "list", "configmaps")
    assert may(stack, account, "patch", leases, watchers, name)
    assert not may(stack, account, "patch", leases, watchers, "another")
    assert not may(stack, account, "patch", leases, stack.namespace, name)
    # Agents are nobody to the API.
    assert not any("serviceAccountToken" in json.dumps(pod["spec"]) for pod in agents)


def may(  # noqa: PLR0917 - as the API names them
    stack: ClusterStack, user: str, verb: str, of: str, namespace: str = "", name: str = ""
) -> bool:
    """What the API server's own authoriser says; `of` is `group/resource`."""
    group, _, resource = of.rpartition("/")
    asked = {"verb": verb, "group": group, "resource": resource}
    asked |= {"namespace": namespace, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {"name": ""},
        "spec": {"user": user, "resourceAttributes": asked},
    }
    return stack.cluster.create(review)["status"]["allowed"]


def assert_networks(stack: ClusterStack) -> None:
    """Agents wait for their node's networks, whose names they are told."""
    files = stack.get("v1", "ConfigMap", "blue-agents")["data"]
    settings = json.loads(files["blue-agents-0.json"])
    assert known(settings["flags"]) == {"web", "mesos"}
    (pod, *_) = stack.pods("blue-agents")
    put = pod["spec"]["initContainers"][-1]
    assert (put["name"], put["restartPolicy"]) == ("networks", "Always")
    assert put["image"].startswith("registry.invalid/networks@")
    read = NodeNetworkSettings.model_validate_json(files["networks.json"])
    assert read.overlays[0].number("10.0.0.12") == 1


def assert_names(stack: ClusterStack) -> None:
    """The cluster's own name servers are told where the zone's are, by both protocols."""
    service = stack.get("v1", "Service", "frameworks-mesos-dns-client")["spec"]
    asked = {(port["protocol"], port["port"]) for port in service["ports"]}
    assert asked == {("UDP", 8053), ("TCP", 8053)}
    assert "principal-mesos-dns" in json.dumps([p["spec"] for p in stack.pods("blue-masters")])
    assert "principal-mesos-dns" in json.dumps(stack.pods("frameworks-mesos-dns")[0]["spec"])
    found = stack.cluster.get("v1", "ConfigMap", *STUB_ZONE)
    assert found is not None
    assert f"forward . {service['clusterIP']}:8053 {{" in found["data"]["mesos.server"]


def assert_logs(stack: ClusterStack) -> None:
    """Elastic's operator is told servers and who reads on nodes, and its server drops no field."""
    spec = stack.get(*ELASTICSEARCH, "logs")["spec"]
    (nodes,) = spec["nodeSets"]
    assert (spec["version"], nodes["count"]) == ("9.5.2", 3)
    # Pods that the operator makes are those of the policy.
    labels = nodes["podTemplate"]["metadata"]["labels"]
    policy = stack.get("networking.k8s.io/v1", "NetworkPolicy", "logs")["spec"]
    assert policy["podSelector"]["matchLabels"] == labels
    beat = stack.get(*BEAT, "filebeat")
    assert beat["metadata"]["namespace"] == stack.agents_namespace
    assert beat["spec"]["elasticsearchRef"] == {"name": "logs", "namespace": stack.namespace}
    inputs = beat["spec"]["config"]["filebeat.inputs"]
    masters = f"/var/log/pods/{stack.namespace}_blue-masters-*_*/masters/*.log"
    assert masters in inputs[0]["paths"]
    text = stack.get("v1", "ConfigMap", "logs-keeper")["data"]["logs-keeper-0.json"]
    told = LogKeeperSettings.model_validate_json(text)
    assert told.url == f"https://logs-es-http.{stack.namespace}.svc:9200"
    assert is_ready(*stack.pods("logs-keeper"))


def assert_edge(stack: ClusterStack) -> None:
    """Two proxies behind one Service, one of which may be away."""
    assert all(map(is_ready, stack.pods("edge-external")))
    assert stack.get("policy/v1", "PodDisruptionBudget", "edge-external")["spec"]["maxUnavailable"]
    service = stack.get("v1", "Service", "edge-external-client")["spec"]
    assert [port["port"] for port in service["ports"]] == [10080]
    text = stack.get("v1", "ConfigMap", "edge-external")["data"]["edge-external-0.json"]
    assert len(json.loads(text)["marathon"]) == 2


async def test_the_shared_one_has_pools_tenants_and_secrets_by_reference(
    stack: ClusterStack, kinds: None, pools: dict[str, set[str]], tmp_path: Path
) -> None:
    credential = tmp_path / "operator"
    credential.write_text(f"operator:{CANARY}")
    credential.chmod(0o600)
    asked = {"credential_file": credential, "authenticate_http_frameworks": True}
    async with leading_alone(tmp_path, **asked) as alone:
        operator = {"masters": [alone.address], "credential_file": str(credential)}
        declared = use(stack, "multi-tenant", operator=operator)
        await asyncio.to_thread(stack.runner.up)

        async with OperatorClient([alone.address], credential) as client:
            quota = {one.role: dict(one.limits) for one in await client.quota()}
            weights = await client.weights()
        await asyncio.to_thread(same_after, stack)

    assert quota == {tenant["role"]: tenant["limits"] for tenant in declared["tenants"]}
    assert weights == {"analytics": 2.0}
    for pool, nodes in pools.items():
        assert {pod["spec"]["nodeName"] for pod in stack.pods(f"blue-agents-{pool}")} == nodes
    assert_secrets(stack)
    assert_told_nowhere(stack, CANARY)
    text = stack.get("v1", "ConfigMap", "blue-masters")["data"]["blue-masters-0.json"]
    acls = json.loads(text)["acls"]
    assert acls["permissive"] is False
    roles = [rule.get("roles") for rule in acls["register_frameworks"]]
    assert {"values": ["analytics", "analytics/%"]} in roles


def assert_secrets(stack: ClusterStack) -> None:
    """Each namespace is given the keys that its pods use, and nothing holds a value."""
    cluster = stack.cluster
    platform = cluster.get(VAULT, "VaultStaticSecret", "mesos-platform", stack.namespace)
    agents = cluster.get(VAULT, "VaultStaticSecret", "mesos-platform", stack.agents_namespace)
    assert platform is not None
    assert agents is not None
    wanted = agents["spec"]["destination"]["transformation"]["includes"]
    assert wanted == ["^principal\\-agent$", "^zookeeper\\-mesos$"]
    keys = platform["spec"]["destination"]["transformation"]["includes"]
    assert "^principal\\-spark$" in keys
    mounted = {
        item["key"]
        for name in ("blue-masters", "blue-zookeeper")
        for pod in stack.pods(name)
        for volume in pod["spec"]["volumes"]
        for item in volume.get("secret", {}).get("items", ())
    }
    assert {f"^{key.replace('-', chr(92) + '-')}$" for key in mounted} <= set(keys)


def assert_told_nowhere(stack: ClusterStack, secret: str) -> None:
    """What the update itself used is in no state (outputs are a part of it) and no object."""
    state = json.dumps(stack.runner.deployment())
    assert "credential_file" in state
    told = {"state": state, "objects": json.dumps(stack.objects())}
    encoded = base64.b64encode(f"operator:{secret}".encode()).decode()
    for one in (secret, encoded):
        assert [where for where, text in told.items() if one in text] == []


def test_external_secrets_are_asked_for_the_same_keys(stack: ClusterStack, kinds: None) -> None:
    store = {"operator": "external-secrets", "store": "company", "path": "mesos"}
    use(stack, "small", secret_store=store, zookeeper_acl=True)

    stack.runner.up()

    found = stack.cluster.get(EXTERNAL, "ExternalSecret", "mesos-platform", stack.namespace)
    assert found is not None
    assert found["spec"]["secretStoreRef"] == {"name": "company", "kind": "ClusterSecretStore"}
    keys = [each["secretKey"] for each in found["spec"]["data"]]
    assert keys == [
        *("engine-token", "mesos-operator", "principal-agent", "principal-marathon"),
        *("principal-sample", "zookeeper-mesos", "zookeeper-super"),
    ]
    same_after(stack)


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"tls": {"issuer": {"name": "company"}}}, "Certificate of cert-manager.io/v1"),
        ({"snapshots": {"driver": "x"}}, "VolumeSnapshotClass of snapshot.storage.k8s.io/v1"),
        ({"secret_store": _VAULT_STORE}, f"VaultStaticSecret of {VAULT}"),
        ({"services": {"logging": LOGGING}}, "Elasticsearch of elasticsearch.k8s.elastic.co/v1"),
        # Whichever of them the engine comes to first.
        ({"services": {"metrics": {"objects": True}}}, "(ServiceMonitor|PrometheusRule) of monit"),
    ],
)
def test_a_kind_that_the_server_does_not_know_is_told_before_anything_is_made(
    stack: ClusterStack, more: dict[str, Any], kind: str
) -> None:
    use(stack, "small", **more)

    with pytest.raises(ResourceFailedError, match=kind) as failure:
        stack.runner.preview()
    assert "install its definition first" in str(failure.value)

    assert stack.cluster.get("v1", "Namespace", stack.namespace) is None
