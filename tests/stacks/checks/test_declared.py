"""What a stack declares of its cluster, by its configuration and its last outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stacks.agents import NodeAgents
from stacks.checks.declared import EdgeGroup, WantedEngine, declared
from stacks.checks.declared_objects import WantedObjects
from stacks.config import StackConfig, parse
from stacks.topology import Color, Position, Standing
from tests.stacks.checks.cases import GROUP, MASTERS


def test_what_a_stack_declares_follows_from_configuration_and_outputs() -> None:
    config = parse(
        {"target": "local", "local": {"port_base": 20_000}, "cluster": {"agents": {"cpus": 2}}}, "s"
    )
    outputs = {
        "run_dir": "/somewhere",
        "blue_zookeeper": "z:1,z:2,z:3",
        "blue_masters": list(MASTERS),
        "blue_agents": ["a:1", "a:2"],
        "marathon": ["w:1"],
        "frameworks": {"sample": "http://f:1"},
        "edge": {"addresses": ["e:1"], "admin": ["e:2"], "group": "external"},
    }

    found = declared(config, Standing(), outputs)

    assert found.groups == (GROUP,)
    assert found.profiles[0].resources["cpus"] == 2
    assert found.quota is None
    assert found.frameworks == ("http://f:1",)
    assert found.edge == EdgeGroup(("e:2",), "external", frozenset({1, 2}))
    assert str(found.credential_file) == "/somewhere/secrets/mesos-operator"
    assert found.leading == GROUP


def test_on_kubernetes_agents_are_told_by_what_they_have_alike() -> None:
    on_nodes = NodeAgents(5051, (31000, 31499), 3)
    config = parse({"target": "local", "local": {"port_base": 20_000}}, "s")

    (group,) = declared(config, Standing(), {"blue_agents": on_nodes.as_output()}).groups

    assert group.agents == on_nodes


def test_consul_is_asked_for_its_servers_as_it_knows_no_leader_of_mesos() -> None:
    config = parse({"target": "local", "local": {"port_base": 20_000}}, "s")
    told = {"addresses": ["d:1"], "zone": "names"}

    before = declared(config, Standing(), {"discovery": told}).names
    found = declared(config, Standing(), {"discovery": {**told, "kind": "consul"}}).names

    assert before is not None
    assert before.own == "leader.names"
    assert found is not None
    assert (found.own, found.of("web")) == ("consul.service.names", "web.service.names")


def test_on_kubernetes_the_operator_s_credential_is_where_pods_find_it() -> None:
    found = declared(
        parse({"target": "local", "local": {"port_base": 20_000}}, "s"),
        Standing(),
        {"secrets_dir": "/run/secrets/mesos-platform"},
    )

    assert str(found.credential_file) == "/run/secrets/mesos-platform/mesos-operator"


def test_behind_the_projection_the_target_s_masters_are_asked() -> None:
    config = parse({"target": "local", "local": {"port_base": 20_000}}, "s")
    outputs = {"blue_masters": ["m:1"], "green_masters": ["g:1"]}

    found = declared(config, Standing(position=Position.parse("2/moved")), outputs)

    assert found.leading is not None
    assert found.leading.color is Color.GREEN
    assert {group.color: group.leads for group in found.groups} == {
        Color.BLUE: False,
        Color.GREEN: True,
    }


def on_kubernetes(kubernetes: dict[str, Any], cluster: dict[str, Any], **more: Any) -> StackConfig:
    images = {name: f"{name}@sha256:{'0' * 64}" for name in ("zookeeper", "mesos", "platform")}
    needed = {"images": images, "node_networks": ["10.0.0.0/16"]}
    values = {"target": "kubernetes", "kubernetes": {**needed, **kubernetes}, "cluster": cluster}
    return parse({**values, **more}, "s")


def test_each_pool_has_its_number_of_agents() -> None:
    pools = {
        "a": {"count": 3, "selector": {"kind": "a"}},
        "b": {"count": 1, "cpus": 2, "selector": {"kind": "b"}},
    }
    config = on_kubernetes({}, {"agents": {"pools": pools}})

    found = declared(config, Standing(), {}).profiles

    assert [(one.pool, one.count, one.resources["cpus"]) for one in found] == [
        ("a", 3, 8.0),
        ("b", 1, 2.0),
    ]


@pytest.mark.parametrize(
    ("position", "projection", "fence"),
    [
        ("1", False, False),
        ("2/prepared", None, None),
        ("2/moved", True, None),
        ("3", True, True),
        ("5/prepared", True, True),
    ],
)
def test_where_the_target_s_leader_is_shown_follows_from_the_standing(
    position: str, projection: bool | None, fence: bool | None
) -> None:
    config = parse({"target": "local", "local": {"port_base": 20_000}}, "s")
    engine = {"url": "http://e:1", "token_file": "/t"}
    outputs = {"engine": engine, "blue_masters": ["m:1"], "green_masters": ["g:1"]}

    found = declared(config, Standing(position=Position.parse(position)), outputs).engine

    assert found == WantedEngine("http://e:1", Path("/t"), projection, fence, ("g:1",))


def test_exporters_ask_masters_of_their_colour_and_marathon_s_where_it_runs() -> None:
    config = parse({"target": "local", "local": {"port_base": 20_000}}, "s")
    outputs = {
        "blue_masters": ["m:1", "m:2"],
        "marathon": ["w:1"],
        "exporters": {"blue": "http://e:1/metrics", "marathon": "http://e:2/metrics"},
    }
    stands_still = Standing(position=Position.parse("2/prepared"))

    assert declared(config, Standing(), outputs).exporters == {
        "http://e:1/metrics": ("m:1", "m:2"),
        "http://e:2/metrics": ("w:1",),
    }
    assert list(declared(config, stands_still, outputs).exporters) == ["http://e:1/metrics"]


def test_on_kubernetes_copies_and_what_fills_secrets_are_looked_at_where_they_are_declared() -> (
    None
):
    plain = declared(on_kubernetes({}, {}), Standing(), {}).objects
    store = {"operator": "external-secrets", "store": "main", "path": "mesos"}
    wanted = on_kubernetes(
        {"snapshots": {"driver": "disk.csi.example", "every_h": 6}, "secret_store": store},
        {"marathon": {"instances": 1, "backup": {}}},
    )
    outputs = {"probe": {"namespace": "p", "agents_namespace": "p-nodes"}}
    with_target = declared(wanted, Standing(position=Position.parse("1")), outputs).objects

    assert plain == WantedObjects("mesos", "mesos-agents")
    assert with_target == WantedObjects(
        "mesos",
        "mesos-agents",
        copied=frozenset(
            {"blue-zookeeper", "blue-masters", "green-zookeeper", "frameworks-marathon-backup"}
        ),
        copies_every_s=6 * 3600,
        probe=("p", "p-nodes"),
        filled=True,
    )
    by_vault = on_kubernetes({"secret_store": {**store, "operator": "vault"}}, {})
    objects = declared(by_vault, Standing(), {}).objects
    assert objects is not None
    assert not objects.filled
    on_one_machine = parse({"target": "local", "local": {"port_base": 20_000}}, "s")
    assert declared(on_one_machine, Standing(), {}).objects is None


@pytest.mark.parametrize(
    ("operation", "foreign"), [("eck", {"logs", "shippers"}), ("plain", set[str]())]
)
def test_pods_that_an_operator_makes_are_not_held_to_what_this_stack_declares(
    operation: str, foreign: set[str]
) -> None:
    image = f"i@sha256:{'0' * 64}"
    logging = {
        "replicas": 1, "operation": operation, "elasticsearch": image, "filebeat": image,
    }  # fmt: skip
    config = on_kubernetes({}, {}, services={"logging": logging})

    found = declared(config, Standing(), {}).objects

    assert found is not None
    assert found.logs == ("logs", "log-keeper", "shippers")
    assert found.foreign == foreign
