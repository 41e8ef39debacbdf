"""Logs: what Elastic's operator is told, what runs without it, and what a server begins with."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.base import Placing
from components.errors import ArgumentsError
from components.monitoring import elasticsearch
from components.monitoring.elasticsearch import USER_SECRET, ElasticsearchArgs, Operation
from components.monitoring.log_stack import Logging, LoggingArgs
from components.targets.kubernetes import KubernetesTarget
from components.workload import Issuer, Program
from controllers.log_keeper.settings import LogKeeperSettings
from tests.components.conftest import Recorder, Run

IMAGE = f"example.invalid/any@sha256:{'0' * 64}"
_BOUND_S = 60


def target() -> KubernetesTarget:
    return KubernetesTarget(
        namespace="mesos", storage_class=None, volume_gib=1, node_networks=["10.0.0.0/16"]
    )


def declared(run: Run, operation: Operation, replicas: int = 3, **more: Any) -> Recorder:
    args = LoggingArgs(
        namespace="mesos",
        agents_namespace="mesos-agents",
        servers=ElasticsearchArgs(IMAGE, replicas, issuer=Issuer("company")),
        filebeat=IMAGE,
        keeper=Program(("python", "-m", "controllers.log_keeper"), IMAGE),
        version="9.5.2",
        operation=operation,
        **more,
    )
    return run(lambda: Logging("logging", args, Placing(target())))


def test_the_operator_is_told_servers_that_a_restricted_namespace_admits(run: Run) -> None:
    recorder = declared(run, Operation.ECK, storage_class="fast")

    spec = recorder.named("logs", ":Elasticsearch").inputs["spec"]
    (nodes,) = spec["nodeSets"]
    pod = nodes["podTemplate"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["resources"]["limits"] == {"memory": "2048Mi"}
    (claim,) = nodes["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast"
    # The operator says where Elasticsearch is, and the user's password.
    output = recorder.named("filebeat", ":Beat").inputs["spec"]["config"]["output.elasticsearch"]
    assert "hosts" not in output
    assert "password" not in output
    assert recorder.names("StatefulSet") == ["logs-keeper"]
    assert "DaemonSet" not in {one.type.rpartition(":")[2] for one in recorder.resources}


def test_without_the_operator_servers_and_readers_run_by_themselves(run: Run) -> None:
    recorder = declared(run, Operation.PLAIN)

    servers = recorder.named("logs", "StatefulSet").inputs["spec"]
    assert servers["replicas"] == 3
    pod = servers["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 1000
    assert {"logs-es-elastic-user", "logs-tls"} <= {
        volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume
    }
    names = recorder.named("logs", "Certificate").inputs["spec"]["dnsNames"]
    assert "logs-client.mesos.svc" in names
    assert recorder.named("logs", "PodDisruptionBudget").inputs["spec"]["maxUnavailable"] == 1
    template = recorder.named("filebeat", "DaemonSet").inputs["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert container["securityContext"]["capabilities"] == {
        "drop": ["ALL"],
        "add": ["DAC_READ_SEARCH"],
    }
    # By reference: no value is in the object, and none in the file.
    (variable,) = container["env"]
    assert variable["valueFrom"]["secretKeyRef"] == {"name": USER_SECRET.secret, "key": "elastic"}
    text = recorder.named("filebeat", "ConfigMap").inputs["data"]["filebeat.yml"]
    output = json.loads(text)["output.elasticsearch"]
    assert output["hosts"] == ["https://logs-client.mesos.svc:9200"]
    assert output["password"] == "${LOGS_PASSWORD}"
    assert output["ssl.certificate_authorities"] == ["/run/secrets/logs-tls/ca.crt"]


def test_readers_see_logs_of_pods_and_sandboxes_and_write_nothing_there(run: Run) -> None:
    recorder = declared(run, Operation.PLAIN)

    template = recorder.named("filebeat", "DaemonSet").inputs["spec"]["template"]["spec"]
    (container,) = template["containers"]
    mounts = {mount["mountPath"]: mount.get("readOnly") for mount in container["volumeMounts"]}
    assert mounts["/var/log/pods"] is mounts["/var/lib/mesos-platform"] is True
    text = recorder.named("filebeat", "ConfigMap").inputs["data"]["filebeat.yml"]
    inputs = {one["id"]: one["paths"] for one in json.loads(text)["filebeat.inputs"]}
    assert inputs["glog-blue"] == [
        "/var/log/pods/mesos_blue-masters-*_*/masters/*.log",
        "/var/log/pods/mesos-agents_blue-agents-*_*/agents/*.log",
    ]
    # Of whatever pool.
    (sandboxes, *_) = inputs["sandboxes-blue"]
    assert sandboxes.startswith("/var/lib/mesos-platform/blue-agents*/work/slaves/")
    assert inputs["zookeeper-blue"] == ["/var/log/pods/mesos_blue-zookeeper-*_*/zookeeper/*.log"]


def test_the_keeper_is_told_what_it_puts_where(run: Run) -> None:
    recorder = declared(run, Operation.ECK)

    text = recorder.named("logs-keeper", "ConfigMap").inputs["data"]["logs-keeper-0.json"]
    told = LogKeeperSettings.model_validate_json(text)
    assert told.url == "https://logs-es-http.mesos.svc:9200"
    assert str(told.password_file) == "/run/secrets/logs-es-elastic-user/elastic"
    assert str(told.ca_file) == "/run/secrets/logs-es-http-certs-public/ca.crt"
    # The life cycle, a pipeline for lines of Mesos and one for those of Java, the template.
    assert len({document.mark for document in told.documents}) == 4


@pytest.mark.parametrize(
    ("replicas", "memory_mb", "expected"),
    [(2, 2048, "one server of Elasticsearch, or three"), (1, 512, "1024 MB or more")],
)
def test_servers_that_cannot_be_are_refused(replicas: int, memory_mb: int, expected: str) -> None:
    with pytest.raises(ArgumentsError, match=expected):
        ElasticsearchArgs(IMAGE, replicas, memory_mb)


@pytest.mark.parametrize("version", ["8.7.1", "9", "latest", "9.5.2-SNAPSHOT"])
def test_a_version_that_needs_rights_or_is_none_is_refused(version: str) -> None:
    with pytest.raises(ArgumentsError, match="a version of Elasticsearch such as"):
        elasticsearch.check_version(version)


def test_one_server_forms_no_quorum_and_three_name_each_other() -> None:
    def settings(replicas: int) -> dict[str, Any]:
        made = elasticsearch.workload(ElasticsearchArgs(IMAGE, replicas), Placing(target()))
        text = made.members[0].config
        return json.loads(text[text.index("<<'END'\n") + 8 : text.index("\nEND\n")])

    assert settings(1)["discovery.type"] == "single-node"
    assert settings(3)["cluster.initial_master_nodes"] == ["logs-0", "logs-1", "logs-2"]
    assert settings(3)["xpack.security.transport.ssl.client_authentication"] == "required"


def test_a_server_begins_with_its_own_folder_of_settings(tmp_path: Path) -> None:
    """The script itself, with a home whose programs tell what they are given."""
    home, certificates = tmp_path / "home", tmp_path / "certificates"
    (home / "config").mkdir(parents=True)
    options = "-XX:HeapDumpPath=data\n-Xlog:gc*:file=logs/gc.log:utctime\n"
    (home / "config" / "jvm.options").write_text(options)
    (home / "bin").mkdir()
    tell = '#!/bin/bash\necho "$(basename "$0") $*"\n'
    for name in ("elasticsearch", "elasticsearch-keystore"):
        program = home / "bin" / name
        program.write_text(f'{tell}[ "$1" != add ] || cat > {tmp_path}/password\n')
        program.chmod(0o755)
    certificates.mkdir()
    for name in ("tls.key", "tls.crt", "ca.crt"):
        (certificates / name).write_text(name)
    (tmp_path / "secret").write_text("canary")
    script = elasticsearch.render({"cluster.name": "logs"}, 512, "CERTIFICATES", home="HOME")
    # Its own folder of the pod, first of all: those of the test lie below the machine's.
    places = {
        "/tmp": tmp_path / "tmp",  # noqa: S108 - as above
        "CERTIFICATES": certificates,
        "HOME": home,
        USER_SECRET.path("elastic"): tmp_path / "secret",
    }
    for name, place in places.items():
        script = script.replace(name, str(place))
    (tmp_path / "tmp").mkdir()

    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": "/usr/bin:/bin", "MEMBER": "logs-0"},
        check=True,
        capture_output=True,
        text=True,
        timeout=_BOUND_S,
    )

    assert done.stdout.splitlines() == [
        "elasticsearch-keystore create",
        "elasticsearch-keystore add --stdin --force bootstrap.password",
        "elasticsearch -Enode.name=logs-0",
    ]
    # By standard input, which no other process sees.
    assert (tmp_path / "password").read_text() == "canary"
    config = tmp_path / "tmp" / "config"
    assert json.loads((config / "elasticsearch.yml").read_text()) == {"cluster.name": "logs"}
    assert {path.name for path in (config / "tls").iterdir()} == {"tls.key", "tls.crt", "ca.crt"}
    written = (config / "jvm.options").read_text()
    assert "=logs/" not in written
    assert "HeapDumpPath=data" not in written
