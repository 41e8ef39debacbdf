"""Stack configuration: what is read, and what each mistake gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.workload import Program
from stacks import config_file
from stacks.config import NAMESPACE, StackConfig, TargetKind, parse
from stacks.errors import ConfigError
from stacks.program import programs_of
from stacks.topology import LINE, Color, Placement, Position, Standing

CHECKOUT = Path(__file__).resolve().parents[2]
DIGEST = f"sha256:{'0' * 64}"
IMAGES = {name: f"{name}@{DIGEST}" for name in ("zookeeper", "mesos", "platform")}
KUBERNETES: dict[str, Any] = {"images": IMAGES, "node_networks": ["10.0.0.0/16"]}
LOCAL: dict[str, Any] = {"target": "local", "local": {"port_base": 20_000}}


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as refused:
        parse(values, "local")
    return str(refused.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({**LOCAL, "services": {"metrics": {"objects": True}}}, "only on target kubernetes"),
        (
            {**LOCAL, "services": {"web_route": {"replicas": 1, "image": IMAGES["platform"]}}},
            "only on target kubernetes",
        ),
        (
            {
                "target": "kubernetes",
                "kubernetes": KUBERNETES,
                "services": {"web_route": {"replicas": 1}},
            },
            "expected an image of HAProxy",
        ),
    ],
)
def test_services_that_cannot_stand_there_are_refused(
    values: dict[str, Any], expected: str
) -> None:
    assert expected in refusal(values)


def test_nested_values_may_be_json_text_as_pulumi_hands_them_over() -> None:
    config = parse({"target": "local", "local": '{"port_base": 20000}'}, "local")

    assert config.local is not None
    assert config.local.port_base == 20_000
    assert config.target is TargetKind.LOCAL
    assert config.cluster.masters.replicas == 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {**LOCAL, "services": {"probe": {"apps": ["http://app:4040"]}}},
            "services.probe: only on target kubernetes",
        ),
        (
            {"services": {"probe": {"apps": ["app:4040"]}}},
            "mesos-platform:services.probe.apps.0: expected an app as http://host:port",
        ),
        (
            {
                "cluster": {"marathon": {"instances": 0}},
                "services": {"probe": {"watch": ["marathon"]}},
            },
            "services.probe.watch: marathon is watched where there is an instance",
        ),
        (
            {"services": {"probe": {"watch": ["agents"]}}},
            "Input should be 'zookeeper', 'mesos' or 'marathon'",
        ),
        (
            {"targett": "local"},
            "mesos-platform:targett: unknown key 'targett'; did you mean 'target'?",
        ),
        (
            {"cluster": {"zookeper": {}}},
            "mesos-platform:cluster.zookeper: unknown key 'zookeper'; did you mean 'zookeeper'?",
        ),
        (
            {"cluster": {"masters": {"replica": 3}}},
            (
                "mesos-platform:cluster.masters.replica: unknown key 'replica'; "
                "did you mean 'replicas'?"
            ),
        ),
        (
            {"migration": {"positoin": 1}},
            "mesos-platform:migration.positoin: unknown key 'positoin'; did you mean 'position'?",
        ),
        ({"migration": {"position": 7}}, "a phase is a number from 0 to 6, not 7"),
        ({"migration": {"position": "2/removed"}}, "expected a position"),
        ({"migration": {"target": "blue"}}, "source and target are both blue"),
        ({"migration": {"source": "red"}}, "Input should be 'blue' or 'green', saw 'red'"),
        (
            {"migration": {"position": 1, "client_groups": {"traffic": "target"}}},
            "client group 'traffic' is target at position 1",
        ),
        ({"migration": {"client_groups": {"Not A Name": "source"}}}, "a client group is named by"),
        ({"local": {"port_base": 60_000}}, "mesos-platform:local.port_base"),
        ({"cluster": {"masters": {"replicas": "three"}}}, "saw 'three'"),
        ({"cluster": {"zookeeper": {"replicas": 2}}}, "an odd number of members (1, 3, 5), saw 2"),
        (
            {"cluster": {"masters": {"replicas": 4}}},
            "masters.replicas: a quorum has an odd",
        ),
        ({"cluster": {"zookeeper": {"replicas": 5}}}, "one machine has room for 3, saw 5"),
        ({"cluster": {"zookeeper": {"voters": 3}}}, "an ensemble on one machine keeps its size"),
        ({"cluster": {"zookeeper": {"voters": 5}}}, "expected 3 to 3 (replicas) voters, saw 5"),
        (
            {"cluster": {"marathon": {"instances": 4}}},
            "cluster.marathon.instances: one machine has room for 3, saw 4",
        ),
        (
            {"cluster": {"marathon": {"apps": [{"id": "/a", "cmd": "x", "instance": 2}]}}},
            (
                "cluster.marathon.apps: expected a definition of /a that Marathon takes, saw "
                "instance: no such field of Marathon"
            ),
        ),
        (
            {
                "cluster": {
                    "marathon": {"apps": [{"id": "a", "cmd": "x"}, {"id": "/a", "cmd": "y"}]}
                }
            },
            "an app is declared once, saw /a more often",
        ),
        (
            {"cluster": {"marathon": {"instances": 0, "apps": [{"id": "/a", "cmd": "x"}]}}},
            "cluster.marathon: apps need an instance of Marathon",
        ),
        ({"cluster": {"masters": {"replicas": 7}}}, "one machine has room for 5, saw 7"),
        ({"cluster": {"agents": {"count": 9}}}, "cluster.agents.count: one machine has room for 5"),
        (
            {"cluster": {"agents": {"cpus": float("inf")}}},
            "agents.cpus: Input should be a f",
        ),
        (
            {"migration": {"client_groups": {f"g{n}": "source" for n in range(10)}}},
            "migration.client_groups: one machine has room for 9, saw 10",
        ),
        ({"local": {"port_base": 20_000, "run_dir": "."}}, "a run_dir is a folder below .local/"),
        ({"local": {"port_base": 20_000, "run_dir": ".local"}}, "saw '.local'"),
        ({"local": {"port_base": 20_000, "run_dir": "/srv"}}, "saw '/srv'"),
        ({"local": {"port_base": 20_000, "run_dir": ".local/../a"}}, "without '..'"),
        ({"local": {"port_base": 20_000, "run_dir": "build"}}, "saw 'build'"),
    ],
)
def test_a_mistake_names_the_key_and_what_it_may_be(values: dict[str, Any], expected: str) -> None:
    text = refusal({**LOCAL, **values})

    assert expected in text
    assert "Pulumi.local.yaml" in text


def test_a_local_stack_has_sample_apps_unless_it_names_its_own_or_has_no_marathon() -> None:
    def ids(values: dict[str, Any]) -> list[str]:
        return [app["id"] for app in parse(values, "local").apps]

    assert ids(LOCAL) == ["/shop/api", "/shop/web"]
    own = [{"id": "own", "cmd": "exec sleep 1"}]
    assert ids({**LOCAL, "cluster": {"marathon": {"apps": own}}}) == ["/own"]
    assert ids({**LOCAL, "cluster": {"marathon": {"apps": []}}}) == []
    assert ids({**LOCAL, "cluster": {"marathon": {"instances": 0}}}) == []
    assert ids({"target": "kubernetes", "kubernetes": KUBERNETES}) == []


def test_a_cluster_has_more_room_than_one_machine() -> None:
    sizes = {"zookeeper": {"replicas": 5}, "masters": {"replicas": 7}, "agents": {"count": 9}}

    config = parse({"target": "kubernetes", "kubernetes": KUBERNETES, "cluster": sizes}, "dev")

    assert config.cluster.masters.replicas == 7


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"images": {**IMAGES, "mesos": "mesos:1.11"}}, "pinned by its digest"),
        ({"images": {**IMAGES, "mesos": f"bitnami/mesos@{DIGEST}"}}, "somebody maintains"),
        ({"node_networks": []}, "node_networks"),
        ({"node_networks": ["10.0.0.300/16"]}, "10.0.0.300"),
        ({"namespace": "Mesos"}, "saw 'Mesos'"),
        ({"spread": "racks"}, "'zones', 'hosts' or 'any'"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(values: dict[str, Any], expected: str) -> None:
    text = refusal({"target": "kubernetes", "kubernetes": {**KUBERNETES, **values}})

    assert expected in text


@pytest.mark.parametrize("image", [None, f"marathon@{DIGEST}"])
def test_the_real_marathon_runs_where_its_image_is_given(image: str | None) -> None:
    images = IMAGES if image is None else {**IMAGES, "marathon": image}
    values = {"target": "kubernetes", "kubernetes": {**KUBERNETES, "images": images}}

    marathon = programs_of(StackConfig.model_validate(values)).marathon

    stand_in = Program(("python", "-m", "stacks.local.marathon"), IMAGES["platform"])
    assert marathon == (stand_in if image is None else Program(("sh",), image))


def test_every_mistake_is_told_at_once() -> None:
    text = refusal({**LOCAL, "one": 1, "two": 2})

    assert "unknown key 'one'" in text
    assert "unknown key 'two'" in text


def test_a_target_needs_its_own_key() -> None:
    assert "needs the key 'local'" in refusal({"target": "local"})
    assert "needs the key 'kubernetes'" in refusal({"target": "kubernetes"})


@pytest.mark.parametrize("name", ["Pulumi.dev.yaml", "stacks/local_stack.template.yaml"])
def test_committed_configuration_is_valid(name: str) -> None:
    content = yaml.safe_load((CHECKOUT / name).read_text())["config"]
    values = {key.removeprefix(f"{NAMESPACE}:"): value for key, value in content.items()}
    if values["target"] == "local":
        # The template's port is filled in by set-up.
        assert values["local"] == {"port_base": 0}
        values["local"] = {"port_base": 20_000}

    assert isinstance(parse(values, "any"), StackConfig)


@given(
    position=st.sampled_from(LINE),
    colors=st.permutations(list(Color)),
    epoch=st.integers(0, 1000),
)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    position: Position,
    colors: list[Color],
    epoch: int,
) -> None:
    path = tmp_path_factory.mktemp("config") / "Pulumi.local.yaml"
    path.write_text("# first\nconfig:\n  # second\n  mesos-platform:target: local\n")
    past_the_move = position.index > Position(5).index
    groups = {"traffic": Placement.TARGET if past_the_move else Placement.SOURCE}
    standing = Standing(colors[0], colors[1], position, groups)

    config_file.write_migration(path, standing, permit="p", epochs={Color.GREEN: epoch})
    once = path.read_text()
    config_file.write_migration(path, standing, permit="p", epochs={Color.GREEN: epoch})

    assert path.read_text() == once
    assert once.startswith("# first\nconfig:\n")
    assert "  # second\n  mesos-platform:target: local\n" in once
    migration = parse({**LOCAL, **config_file.read(path, "local")}, "local").migration
    assert migration.standing == standing
    assert migration.epochs == {Color.GREEN: epoch}


def test_writing_replaces_an_older_block_and_leaves_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.local.yaml"
    path.write_text(
        "config:\n  mesos-platform:migration:\n    position: '0'\n    client_groups:\n"
        "      traffic: source\n  mesos-platform:target: local\nencryptionsalt: v1:x\n"
    )

    config_file.write_migration(path, Standing(position=Position(1)), permit=None, epochs={})

    content = yaml.safe_load(path.read_text())
    assert content["encryptionsalt"] == "v1:x"
    assert content["config"]["mesos-platform:target"] == "local"
    assert content["config"]["mesos-platform:migration"]["position"] == "1"


_OLD = "{source: blue, target: green, position: '0', client_groups: {traffic: source}}"


@pytest.mark.parametrize(
    "text",
    [
        "config:\n    mesos-platform:migration:\n        position: '0'\n    other:key: kept\n",
        "config:\n  'mesos-platform:migration':\n    position: '0'\n  other:key: kept\n",
        f"config:\n  mesos-platform:migration: {_OLD}\n  other:key: kept\n",
        (
            "config:\n  mesos-platform:migration:\n\n    position: '0'\n  # about groups\n"
            "    client_groups:\n      traffic: source\n\n  # about other\n  other:key: kept\n"
        ),
        "config:\n  mesos-platform:migration:\n  other:key: kept\n",
        "config:\n  other:key: kept\n",
        "encryptionsalt: v1:x\nconfig:\n",
        "",
    ],
)
def test_the_part_is_replaced_however_people_lay_it_out(tmp_path: Path, text: str) -> None:
    path = tmp_path / "Pulumi.local.yaml"
    path.write_text(text)
    before: dict[str, Any] = yaml.safe_load(text) or {}

    config_file.write_migration(path, Standing(position=Position(1)), permit="p", epochs={})
    once = path.read_text()
    config_file.write_migration(path, Standing(position=Position(1)), permit="p", epochs={})

    assert path.read_text() == once
    content: dict[str, Any] = yaml.safe_load(once)
    assert content["config"].pop("mesos-platform:migration")["position"] == "1"
    old: dict[str, Any] = before.get("config") or {}
    assert content["config"].get("other:key") == old.get("other:key")
    assert content.get("encryptionsalt") == before.get("encryptionsalt")
    assert once.count("# about other") == text.count("# about other")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("config: {mesos-platform:target: local}\n", "braces after 'config'"),
        ("- a\n- list\n", "expected keys with values at its top"),
        ("config: 5\n", "expected keys with values under 'config'"),
        ("config:\n  5: x\n", "expected text for keys under 'config'"),
        ("config: [\n", "expected YAML"),
    ],
)
def test_a_file_of_another_shape_is_refused_and_stays(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "Pulumi.local.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=words):
        config_file.write_migration(path, Standing(position=Position(1)), permit=None, epochs={})

    assert path.read_text() == text


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.local.yaml"
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="expected to read"):
        config_file.read(path, "local")


def test_a_missing_file_says_where_it_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected .*Pulumi.local.yaml"):
        config_file.read(tmp_path / "Pulumi.local.yaml", "local")


def test_other_namespaces_are_none_of_our_business(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text("config:\n  kubernetes:context: kind\n  mesos-platform:target: local\n")

    assert config_file.read(path, "dev") == json.loads('{"target": "local"}')
