"""The probe's objects on Kubernetes: what they are granted, and that agents start with them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from click.testing import CliRunner

from components.errors import ArgumentsError
from components.monitoring.probe import ClusterProbe
from components.monitoring.probe_pods import CAPABILITIES
from components.monitoring.probe_settings import ProbeArgs, agent_settings, watcher_settings
from components.workload import Program
from probe import cli
from probe.agent.doctor import capabilities
from probe.agent.settings import Settings, parse_settings
from tests.components.conftest import Recorder, Run

IMAGE = f"example.invalid/platform@sha256:{'0' * 64}"
PROGRAM = Program(("python", "-m", "probe.cli"), IMAGE)
ARGS = ProbeArgs(
    PROGRAM, ("http://probe-app.monitoring.svc:4040",), ("10.0.0.0/16",), token_secret="probe"
)


@pytest.fixture
def made(run: Run) -> Recorder:
    return run(lambda: ClusterProbe("probe", ARGS))


def pod(made: Recorder, name: str, kind: str) -> dict[str, Any]:
    return made.named(name, kind).inputs["spec"]["template"]["spec"]


def settings(made: Recorder, name: str) -> Settings:
    return parse_settings(
        made.named(name, "ConfigMap").inputs["data"]["settings.json"].encode(), ""
    )


def test_agents_get_what_the_doctor_names_and_no_more(made: Recorder) -> None:
    spec = pod(made, "probe-agent", "DaemonSet")
    (container,) = spec["containers"]
    security = container["securityContext"]

    assert spec["hostPID"]
    assert spec["hostNetwork"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert security["capabilities"] == {"drop": ["ALL"], "add": list(CAPABILITIES)}
    useful = {one.name for one in capabilities() if not one.adds.startswith("nothing")}
    assert {f"CAP_{name}" for name in CAPABILITIES} == useful
    assert security["readOnlyRootFilesystem"] is True
    assert all(mount["readOnly"] for mount in container["volumeMounts"] if mount["name"] != "run")
    places = made.named("probe-nodes", "Namespace").inputs["metadata"]
    assert places["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert "processes" in places["annotations"]["mesos-platform/why-privileged"]


def test_watchers_are_restricted_and_may_ask_for_what_they_look_at(made: Recorder) -> None:
    spec = pod(made, "probe-cluster", "Deployment")
    (container,) = spec["containers"]

    assert made.named("probe-cluster", "Deployment").inputs["spec"]["replicas"] == 2
    assert spec["serviceAccountName"] == "probe-cluster"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    level = made.named("probe", "Namespace").inputs["metadata"]["labels"]
    assert level["pod-security.kubernetes.io/enforce"] == "restricted"
    rules = made.named("probe-cluster", "ClusterRole").inputs["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"list", "watch"}
    (wide, narrow) = made.named("probe-cluster", ":Role").inputs["rules"]
    assert wide["verbs"] == ["create"]
    assert narrow["resourceNames"] == [settings(made, "probe-cluster").kubernetes.lease]


def test_their_settings_are_settings_and_their_commands_commands(made: Recorder) -> None:
    watcher, agent = settings(made, "probe-cluster"), settings(made, "probe-agent")

    assert watcher.collectors == ("kubernetes",)
    assert "kubernetes" not in agent.collectors
    assert agent.apps == watcher.apps == ARGS.apps
    for name, kind, found in (
        ("probe-agent", "DaemonSet", agent),
        ("probe-cluster", "Deployment", watcher),
    ):
        (container,) = pod(made, name, kind)["containers"]
        mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
        used = [found.token_file, found.status_socket]
        used += [found.cri_socket, found.plugins] if kind == "DaemonSet" else []
        assert all(any(str(one).startswith(place) for place in mounted) for one in used), used
        for words in (container["command"], container["livenessProbe"]["exec"]["command"]):
            assert words[:3] == ["python", "-m", cli.__name__]
            assert CliRunner().invoke(cli.main, [*words[3:], "--help"]).exit_code == 0


def test_other_settings_are_other_pods() -> None:
    other = dataclasses.replace(ARGS, apps=("http://other:4040",))

    assert json.dumps(agent_settings(ARGS)) != json.dumps(agent_settings(other))
    assert json.dumps(watcher_settings(ARGS)) != json.dumps(watcher_settings(other))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"apps": ()}, "an app"),
        ({"apps": ("probe-app:4040",)}, "http://host:port"),
        ({"apps": ("http://:4040",)}, "http://host:port"),
        ({"apps": ("http://app:port",)}, "http://host:port"),
        ({"watchers": 0}, "at least one"),
        ({"program": Program(PROGRAM.command)}, "an image"),
        ({"program": Program(PROGRAM.command, "probe:latest")}, "sha256"),
        ({"namespace": "n" * 58}, "at most 57"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentsError, match=says):
        dataclasses.replace(ARGS, **change)


def test_without_a_secret_no_token_is_mounted_or_shown(run: Run) -> None:
    made = run(lambda: ClusterProbe("probe", dataclasses.replace(ARGS, token_secret=None)))

    for name, kind in (("probe-agent", "DaemonSet"), ("probe-cluster", "Deployment")):
        spec = pod(made, name, kind)
        assert not [volume for volume in spec["volumes"] if "secret" in volume]
        assert not [
            mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"] == "token"
        ]
        assert settings(made, name).token_file is None
