"""What a cluster cannot be is said under the key that asks for it, before anything is declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.config import parse
from stacks.errors import ConfigError

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples" / "clusters").glob("*.yaml"))
IMAGES = {name: f"{name}@sha256:{'0' * 64}" for name in ("zookeeper", "mesos", "platform")}
KUBERNETES = {"node_networks": ["10.0.0.0/16"], "images": IMAGES}
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
        ({"tenants": [{"role": "a", "weight": 2}]}, "roles a have a quota or a weight"),
    ],
)
def test_what_cannot_be_is_one_message(cluster: dict[str, Any], expected: str) -> None:
    values = {"target": "kubernetes", "kubernetes": KUBERNETES, "cluster": cluster}

    with pytest.raises(ConfigError, match=expected) as failure:
        parse(values, "any")

    # The heading, and one line of what is wrong.
    assert len(str(failure.value).splitlines()) == 2


@pytest.mark.parametrize(
    "cluster",
    [{"tenants": [TENANT]}, {"agents": {"pools": {"a": {}}}}, {"agents": {"isolation": {}}}],
)
def test_one_machine_has_one_kind_of_agents_and_no_tenants(cluster: dict[str, Any]) -> None:
    values = {"target": "local", "local": {"port_base": 20_000}, "cluster": cluster}

    with pytest.raises(ConfigError, match="for target kubernetes"):
        parse(values, "any")
