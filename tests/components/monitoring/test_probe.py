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
from components.monitoring.probe_settings import (
    AppsTls,
    ProbeArgs,
    agent_settings,
    watcher_settings,
)
from components.monitoring.probe_watch import CREDENTIALS, Watch, Watched, WatchedCluster
from components.security.secrets import Operator, SecretStore
from components.targets.network import MAY_WATCH
from components.workload import Program
from probe import cli
from probe.agent.doctor import capabilities
from probe.agent.settings import DEFAULT_COLLECTORS, Settings, parse_settings
from tests.components.conftest import Recorder, Run

IMAGE = f"example.invalid/platform@sha256:{'0' * 64}"
PROGRAM = Program(("python", "-m", "probe.cli"), IMAGE)
ARGS = ProbeArgs(
    PROGRAM, ("http://probe-app.monitoring.svc:4040",), ("10.0.0.0/16",), token_secret="probe"
)
CLUSTERS = tuple(
    WatchedCluster(
        color,
        (f"{color}-zookeeper-0.{color}-zookeeper.mesos.svc:2181",),
        (f"{color}-masters-0.{color}-masters.mesos.svc:5050",),
        port,
    )
    for color, port in (("blue", 5051), ("green", 5052))
)
MARATHON = ("frameworks-marathon-0.frameworks-marathon.mesos.svc:8080",)
ALL = Watched((Watch.ZOOKEEPER, Watch.MESOS, Watch.MARATHON), "mesos", CLUSTERS, MARATHON)


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
    # The usual profile of runtimes has no rule for looking at processes of others.
    assert security["appArmorProfile"] == {"type": "Unconfined"}
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
    assert {*agent.collectors} == {*DEFAULT_COLLECTORS} - {"mesos"}
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
        ({"tls": AppsTls("probe-tls")}, "https://host:port"),
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


def watching(run: Run, watched: Watched, **more: Any) -> Recorder:
    args = dataclasses.replace(ARGS, watched=watched, **more)
    return run(lambda: ClusterProbe("probe", args))


def test_watchers_ask_the_clusters_and_agents_of_nodes_only_what_stands_beside_them(
    run: Run,
) -> None:
    made = watching(run, ALL)
    watcher, agent = settings(made, "probe-cluster"), settings(made, "probe-agent")

    assert watcher.collectors == ("kubernetes", "mesos")
    assert [one.cluster for one in watcher.mesos] == ["blue", "green"]
    for one, there in zip(watcher.mesos, CLUSTERS, strict=True):
        assert (one.zookeeper, one.masters, one.marathon) == (
            there.zookeeper,
            there.masters,
            MARATHON,
        )
        assert one.agents == (f"*:{there.agent_port}",)
    assert agent.mesos == ()
    urls = [one.url for one in agent.mesos_agents]
    assert urls == ["http://127.0.0.1:5051", "http://127.0.0.1:5052"]
    assert {one.credential_file for one in agent.mesos_agents} == {None}


def test_credentials_are_files_of_watchers_alone_each_by_its_name(run: Run) -> None:
    made = watching(run, ALL)
    (blue, _) = settings(made, "probe-cluster").mesos
    spec = pod(made, "probe-cluster", "Deployment")

    (volume,) = [one for one in spec["volumes"] if one["name"] == "credentials"]
    keys = [item["key"] for item in volume["secret"]["items"]]
    assert keys == ["principal-probe", "principal-marathon"]
    assert volume["secret"]["defaultMode"] == 0o440
    (mount,) = [
        one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "credentials"
    ]
    assert (mount["mountPath"], mount["readOnly"]) == (CREDENTIALS, True)
    files = (blue.credential_file, blue.marathon_credential_file)
    assert files == tuple(f"{CREDENTIALS}/{key}" for key in keys)
    on_nodes = pod(made, "probe-agent", "DaemonSet")
    assert "credentials" not in [one["name"] for one in on_nodes["volumes"]]


@pytest.mark.parametrize(
    ("what", "keys", "ports"),
    [
        ((Watch.ZOOKEEPER,), (), [2181]),
        ((Watch.MESOS,), ("principal-probe",), [5050]),
        ((Watch.MARATHON,), ("principal-marathon",), [8080]),
        (ALL.what, ("principal-probe", "principal-marathon"), [2181, 5050, 8080]),
    ],
)
def test_watchers_hold_and_reach_what_they_watch_and_no_more(
    run: Run, what: tuple[Watch, ...], keys: tuple[str, ...], ports: list[int]
) -> None:
    watched = dataclasses.replace(ALL, what=what)
    made = watching(run, watched)

    assert watched.keys == keys
    rules = made.named("probe-cluster", "NetworkPolicy").inputs["spec"]["egress"]
    (rule,) = [rule for rule in rules if "namespaceSelector" in json.dumps(rule)]
    assert [port["port"] for port in rule["ports"]] == ports
    (peer,) = rule["to"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "mesos"}
    labels = made.named("probe", "Namespace").inputs["metadata"]["labels"]
    assert labels[MAY_WATCH] == "true"


def test_who_watches_nothing_may_not(made: Recorder) -> None:
    assert settings(made, "probe-cluster").mesos == ()
    assert MAY_WATCH not in made.named("probe", "Namespace").inputs["metadata"]["labels"]
    rules = made.named("probe-cluster", "NetworkPolicy").inputs["spec"]["egress"]
    assert "namespaceSelector" not in json.dumps(rules)


def test_a_store_fills_the_credentials_by_name(run: Run) -> None:
    store = SecretStore(Operator.EXTERNAL_SECRETS, "vault", "mesos/blue")
    made = watching(run, dataclasses.replace(ALL, store=store))

    spec = made.named("probe-cluster-credentials", "ExternalSecret").inputs["spec"]
    wanted = {one["secretKey"] for one in spec["data"]}
    assert wanted == {"principal-probe", "principal-marathon"}
    assert spec["target"]["name"] == "mesos-platform"


@pytest.mark.parametrize("shows_own", [False, True])
def test_apps_are_known_by_a_certificate_and_may_be_shown_one(run: Run, shows_own: bool) -> None:
    tls = AppsTls("probe-tls", shows_own=shows_own)
    made = watching(run, ALL, apps=("https://app:4040",), tls=tls)

    for name, kind in (("probe-agent", "DaemonSet"), ("probe-cluster", "Deployment")):
        spec, found = pod(made, name, kind), settings(made, name)
        (volume,) = [one for one in spec["volumes"] if one["name"] == "tls"]
        (mount,) = [one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "tls"]
        there = {f"{mount['mountPath']}/{one['path']}" for one in volume["secret"]["items"]}
        told = (found.ca_file, found.cert_file, found.key_file)
        assert {one for one in told if one} == there
        assert len(there) == (3 if shows_own else 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"clusters": ()}, "zookeeper, of which there is none"),
        ({"marathon": ()}, "marathon, of which there is none"),
        ({"namespace": ""}, "the namespace"),
    ],
)
def test_what_is_not_there_is_not_watched(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentsError, match=says):
        dataclasses.replace(ALL, **change)
