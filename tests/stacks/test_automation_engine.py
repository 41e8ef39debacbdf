"""The runner with the real engine: what it says when something is missing or wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from stacks.automation import StackRunner
from stacks.errors import (
    ConfigError,
    EngineMissingError,
    ProtectedError,
    StackMissingError,
    WrongPassphraseError,
)
from stacks.steps import Op
from tests.stacks.conftest import CHECKOUT, DEV, DEV_RESOURCES

_WITH_PODS = {"StatefulSet", "Deployment", "DaemonSet"}


def test_a_stack_that_was_never_initialised_is_said(project: Path) -> None:
    (project / "Pulumi.dev.yaml").write_text(DEV)
    runner = StackRunner("dev", project)

    assert not runner.exists()
    with pytest.raises(StackMissingError, match="pulumi stack init dev"):
        runner.preview()
    with pytest.raises(StackMissingError):
        runner.state_digest()


def test_a_wrong_passphrase_is_said(dev: StackRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "another")

    with pytest.raises(WrongPassphraseError, match="PULUMI_CONFIG_PASSPHRASE"):
        dev.up()


def test_wrong_configuration_is_said_before_the_engine_starts(
    dev: StackRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev.config_file.write_text(DEV.replace("position", "positoin"))
    monkeypatch.setenv("PATH", "")

    with pytest.raises(ConfigError, match="did you mean 'position'"):
        dev.preview()


def test_a_missing_engine_is_said(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "Pulumi.dev.yaml").write_text(DEV)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))

    with pytest.raises(EngineMissingError, match="make tools"):
        StackRunner("dev", project).init()


def test_initialising_twice_is_a_success_and_leaves_the_file_alone(dev: StackRunner) -> None:
    before = dev.config_file.read_text()

    dev.init()

    assert dev.config_file.read_text() == before
    assert "# a comment that must stay" in before


@pytest.mark.long
def test_nothing_protected_is_removed(dev: StackRunner) -> None:
    dev.up()
    # What a change of the program could do: the namespace of every object renames them all.
    text = dev.config_file.read_text().replace("images:", "namespace: other\n    images:")
    dev.config_file.write_text(text)

    with pytest.raises(ProtectedError, match="would remove blue-"):
        dev.up()


def test_outputs_and_standing_are_read_from_the_state(dev: StackRunner) -> None:
    assert dev.actual() is None

    result = dev.up()

    # The stack itself and its provider count too.
    assert result.summary["create"] == DEV_RESOURCES + 2
    assert dev.outputs() == result.outputs
    assert result.outputs["blue_zookeeper"].startswith("blue-zookeeper-0.blue-zookeeper.mesos.svc")
    # Nobody knows where nodes have agents before they run.
    wanted = {"port": 5051, "task_ports": [31000, 31499], "count": 2}
    assert result.outputs["blue_agents"] == wanted
    assert dev.actual() == dev.desired()
    assert all(step.op is Op.CREATE for step in result.steps)


@pytest.mark.long
def test_a_destroyed_stack_begins_again(dev: StackRunner) -> None:
    dev.up()

    dev.destroy()

    assert dev.actual() is None
    assert len(dev.preview().changes) == DEV_RESOURCES


@pytest.mark.long
def test_pods_go_before_anything_that_they_need(dev: StackRunner) -> None:
    dev.up()

    resources: list[dict[str, Any]] = dev.deployment()["resources"]
    objects = [one for one in resources if "metadata" in one.get("inputs", {})]
    with_pods = [one for one in objects if one["inputs"]["kind"] in _WITH_PODS]
    assert len(with_pods) == 8
    for pods in with_pods:
        labels = pods["inputs"]["metadata"]["labels"]
        own = {one["urn"] for one in objects if one["inputs"]["metadata"].get("labels") == labels}
        # The engine removes what depends before that on which it depends.
        assert own - {pods["urn"]} <= set(pods["dependencies"]), pods["urn"]


def test_the_committed_dev_stack_stays_as_it_is(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "mesos-platform-dev")
    committed = (CHECKOUT / "Pulumi.dev.yaml").read_text()
    (project / "Pulumi.dev.yaml").write_text(committed)
    runner = StackRunner("dev", project)

    runner.init()
    changes = runner.preview().changes

    assert len(changes) == DEV_RESOURCES
    assert (project / "Pulumi.dev.yaml").read_text() == committed
