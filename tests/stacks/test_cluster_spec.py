"""What a cluster cannot be is said under the key that asks for it, before anything is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.config import parse
from stacks.errors import ConfigError
from stacks.tenancy import secret_keys


def networks(**kinds: Any) -> dict[str, Any]:
    """A cluster with networks."""
    return {"networks": kinds}


EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples" / "clusters").glob("*.yaml"))
NAMES = ("zookeeper", "mesos", "platform", "networks")
IMAGES = {name: f"{name}@sha256:{'0' * 64}" for name in NAMES}
OF_WEB = {"id": "/a", "cmd": "x", "user": "web"}
KUBERNETES = {"node_networks": ["10.0.0.0/16"], "images": IMAGES}
LOGS = {"replicas": 1, "elasticsearch": IMAGES["mesos"], "filebeat": IMAGES["mesos"]}
TENANT = {"role": "dev", "principals": [{"name": "spark"}]}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_stack(path: Path) -> None:
    values: dict[str, Any] = yaml.safe_load(path.read_text())["config"]

    config = parse({key.partition(":")[2]: value for key, value in values.items()}, path.stem)

    assert config.kubernetes is not None


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ({"agents": {"pools": {"a": {}, "b": {}}}}, "cluster.agents: .* the same port"),
        ({"agents": {"count": 3, "pools": {"a": {}}}}, "of one kind or in pools, saw .* count"),
        ({"agents": {"attributes": {"color": "blue"}}}, "colour is no attribute"),
        ({"agents": {"isolation": {"cgroups": 1}}}, "control groups of a version that clusterd"),
        ({"agents": {"flags": {"isolatoin": "x"}}}, "did you mean 'isolation'"),
        ({"masters": {"flags": {"quorom": "1"}}}, "cluster.masters.flags: .* 'quorum'"),
        ({"masters": {"quorum_of": 1}}, "quorum_of is the larger size, at least 3, saw 1"),
        ({"engine": {"name": "mesos"}}, "expected a version of mesos such as 1.11.0"),
        ({"tenants": [{"role": "a b"}]}, "expected a role such as dev"),
        ({"tenants": [TENANT, {**TENANT, "role": "ops"}]}, "each principal once, saw spark"),
        ({"tenants": [{"role": "a", "guarantees": {"cpus": 99}}]}, "at most 16, .* saw 99"),
        ({"marathon": {"apps": [OF_WEB]}}, r"one of marathon.users \(root\), saw 'web'"),
        ({"marathon": {"users": []}}, "cluster.marathon.users"),
        ({"tenants": [{"role": "a", "weight": 2}]}, "roles a have a quota or a weight"),
        ({"tenants": [{**TENANT, "weights": 2}]}, "unknown key 'weights'; did you mean 'weight'"),
        (networks(bridge={"web": {}}), "unknown key 'bridge'; did you mean 'bridges'"),
        (networks(bridges={"web": {"subnett": "x"}}), "unknown key 'subnett'; did you mean"),
        (networks(bridges={"Web": {}}), "cluster.networks: expected a network's name"),
        (networks(bridges={"a": {}, "b": {}}), "networks a .* and b .* overlap"),
        (networks(bridges={"a": {"subnet": "10.0.3.0/24"}}), "overlaps the network of nodes"),
        (networks(overlays={"a": {"nodes": {0: "10.0.0.1", 1: "10.0.0.1"}}}), "one number a node"),
        (networks(overlays={"a": {"nodes": {}}}), "at least 1 item"),
        (networks(overlays={"a": {"nodes": {300: "10.0.0.1"}}}), "room for 256 nodes"),
        (
            {**networks(bridges={"a": {}}), "agents": {"isolation": {"profile": "posix"}}},
            "the profile cgroups or hardened",
        ),
    ],
)
def test_what_cannot_be_is_one_message(cluster: dict[str, Any], expected: str) -> None:
    values = {"target": "kubernetes", "kubernetes": KUBERNETES, "cluster": cluster}

    with pytest.raises(ConfigError, match=expected) as failure:
        parse(values, "any")

    # The heading, and one line of what is wrong.
    assert len(str(failure.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        (
            {"discovery": {"kind": ["mesos-dns", "consul"]}},
            "services.discovery.kind: Input should be 'mesos-dns' or 'consul'",
        ),
        ({"discovery": {"replicas": 1}}, "services.discovery: servers of names need an image"),
        (
            {"discovery": {"stub_zone": {"address": "10.96.0.53"}}},
            "services.discovery: stub_zone hands names on",
        ),
        (
            {"discovery": {"kind": "consul", "replicas": 2, "image": IMAGES["mesos"]}},
            "services.discovery: Consul's servers are a quorum",
        ),
        ({"discovery": {"zone": "cluster.local"}}, "services.discovery.zone: .* outside cluster"),
        ({"edge": {"replicas": 1}}, "services.edge.image: expected an image"),
        ({"logging": {"replicas": 1}}, "services.logging: logs need images of elasticsearch and"),
        ({"logging": {**LOGS, "replicas": 2}}, "services.logging: expected one server of Elastic"),
        ({"logging": {**LOGS, "version": "8.1.0"}}, "services.logging: .* 8.8.0 or newer"),
        ({"logging": {**LOGS, "days": 2}}, "services.logging: expected 1 ≤ warm_after_days < days"),
        ({"logging": {**LOGS, "operation": "opensearch"}}, "operation: Input should be 'eck' or"),
        ({"edge": {"replicas": 1, "image": "haproxy:2.6"}}, "services.edge.image: .* its digest"),
    ],
)
def test_what_cannot_stand_beside_is_one_message(services: dict[str, Any], expected: str) -> None:
    values = {"target": "kubernetes", "kubernetes": KUBERNETES, "services": services}

    with pytest.raises(ConfigError, match=expected) as failure:
        parse(values, "any")

    assert len(str(failure.value).splitlines()) == 2


def test_consul_needs_a_marathon_whose_apps_it_is_told_of() -> None:
    values = {
        "target": "kubernetes",
        "kubernetes": KUBERNETES,
        "cluster": {"marathon": {"instances": 0}},
        "services": {"discovery": {"kind": "consul", "replicas": 3, "image": IMAGES["mesos"]}},
    }

    with pytest.raises(ConfigError, match=r"services.discovery: Consul is told of Marathon's apps"):
        parse(values, "any")


@pytest.mark.parametrize(
    ("discovery", "is_known"),
    [
        ({"kind": "mesos-dns", "replicas": 2, "image": IMAGES["mesos"]}, True),
        ({"kind": "consul", "replicas": 3, "image": IMAGES["mesos"]}, False),
        ({"kind": "mesos-dns"}, False),
    ],
)
def test_masters_know_mesos_dns_where_it_is_and_its_secret_has_a_key(
    discovery: dict[str, Any], is_known: bool
) -> None:
    values = {
        "target": "kubernetes",
        "kubernetes": KUBERNETES,
        "services": {"discovery": discovery},
    }

    config = parse(values, "any")

    own = "principal-mesos-dns"
    assert (own in config.access.master_secrets) is is_known
    keys, node_keys = secret_keys(config)
    assert (own in keys, own in node_keys) == (is_known, False)


def test_networks_need_what_puts_them_on_nodes() -> None:
    images = {name: image for name, image in IMAGES.items() if name != "networks"}
    values = {
        "target": "kubernetes",
        "kubernetes": {**KUBERNETES, "images": images},
        "cluster": networks(bridges={"web": {}}),
    }

    with pytest.raises(ConfigError, match=r"kubernetes.images.networks: expected an image"):
        parse(values, "any")


@pytest.mark.parametrize(
    "cluster",
    [
        {"tenants": [TENANT]},
        {"agents": {"pools": {"a": {}}}},
        {"agents": {"isolation": {}}},
        networks(bridges={"web": {}}),
    ],
)
def test_one_machine_has_one_kind_of_agents_and_no_tenants(cluster: dict[str, Any]) -> None:
    values = {"target": "local", "local": {"port_base": 20_000}, "cluster": cluster}

    with pytest.raises(ConfigError, match="for target kubernetes"):
        parse(values, "any")
