"""The dynamic resources of the local target, without an engine."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any, cast

import pytest
from pulumi.dynamic import dynamic

from components.errors import PortInUseError
from components.targets.local import (
    OBSERVED,
    LocalProcessProvider,
    LocalReadinessProvider,
    LocalSecretsProvider,
    for_people,
)
from components.targets.process import ProcessSpec
from stacks.gate import GateProvider


def properties(**changes: Any) -> dict[str, Any]:
    spec = ProcessSpec(
        name="web-0", run_dir="/nowhere", argv=("sleep", "1"), config_file="f", config="{}"
    )
    return {**spec.properties, **changes}


@pytest.mark.parametrize(
    "provider",
    [LocalProcessProvider, LocalReadinessProvider, LocalSecretsProvider, GateProvider],
)
def test_providers_look_alike_in_every_run(provider: Any) -> None:
    serialize = cast("Any", dynamic).serialize_provider

    first = serialize(provider())

    assert serialize(provider()) == first
    # By reference to the class: the code itself is no part of the state.
    assert len(first) < 200


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, False),
        ({"fresh": True}, False),
        ({OBSERVED: "running"}, False),
        ({"argv": ["sleep", "2"]}, True),
        ({"config": "{ }"}, True),
        ({"running": False}, True),
        ({"ports": [1.0]}, True),
    ],
)
def test_a_difference_is_what_must_be_done(changes: dict[str, Any], *, differs: bool) -> None:
    result = LocalProcessProvider().diff("web-0", properties(), properties(**changes))

    assert result.changes is differs


@pytest.mark.parametrize("seen", ["stopped", "fatal", "changed", "backoff"])
def test_what_a_refresh_saw_is_a_difference(seen: str) -> None:
    old = properties(**{OBSERVED: seen})

    assert LocalProcessProvider().diff("web-0", old, properties()).changes


def test_another_folder_is_another_process() -> None:
    result = LocalProcessProvider().diff("web-0", properties(), properties(run_dir="/elsewhere"))

    assert result.replaces == ["run_dir"]
    assert result.delete_before_replace


def test_numbers_that_became_floats_are_no_difference() -> None:
    old = properties(ports=[8080.0], stop_timeout_s=10.0)

    assert not LocalProcessProvider().diff("web-0", old, properties(ports=[8080])).changes


def test_secrets_are_made_once_and_privately(tmp_path: Path) -> None:
    provider = LocalSecretsProvider()
    props = {"directory": str(tmp_path / "secrets"), "names": ["engine-token", "zookeeper-super"]}

    result = provider.create(props)
    token = (tmp_path / "secrets" / "engine-token").read_text()
    provider.create(props)

    assert (tmp_path / "secrets" / "engine-token").read_text() == token
    assert (tmp_path / "secrets" / "engine-token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "secrets" / "zookeeper-super").read_text().startswith("super:")
    assert result.outs == props
    (tmp_path / "secrets" / "engine-token").unlink()
    assert provider.read(str(tmp_path), props).id == ""


def test_another_secret_leaves_those_that_are_there(tmp_path: Path) -> None:
    provider = LocalSecretsProvider()
    old = {"directory": str(tmp_path / "secrets"), "names": ["engine-token", "mesos-operator"]}
    new = {**old, "names": ["principal-agent", "mesos-operator"]}
    provider.create(old)
    operator = (tmp_path / "secrets" / "mesos-operator").read_text()

    assert (provider.diff("", old, new).changes, provider.diff("", old, new).replaces) == (True, [])
    assert provider.update("", old, new).outs == new

    assert {path.name for path in (tmp_path / "secrets").iterdir()} == set(new["names"])
    assert (tmp_path / "secrets" / "mesos-operator").read_text() == operator
    assert (tmp_path / "secrets" / "principal-agent").read_text().startswith("agent:")


def test_our_errors_reach_people_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "tracebacklimit", 100, raising=False)

    @for_people
    def fail() -> None:
        raise PortInUseError(name="web-0", port=80, owner="process 1")

    text = ""
    try:
        fail()
    except PortInUseError:
        text = traceback.format_exc()
    assert "File" not in text
    assert "port 80" in text
