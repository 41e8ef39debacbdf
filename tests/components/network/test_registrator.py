"""The registrator as it is declared: what its process is told, and who it may reach."""

from __future__ import annotations

import pytest

from components.base import HostTarget, Placing
from components.errors import ArgumentsError
from components.network.discovery import Discovery, DiscoveryArgs, ServiceDiscovery
from components.network.registrator import TaskRegistrator, TaskRegistratorArgs
from components.targets.kubernetes import KubernetesTarget
from components.workload import Program
from controllers.registrator.settings import RegistratorSettings
from tests.components.conftest import Run, run

__all__ = ["run"]

IMAGE = f"example.invalid/p@sha256:{'0' * 64}"
PROGRAM = Program(("python", "-m", "controllers.registrator"), IMAGE)
MARATHON = ("frameworks-marathon-0.frameworks-marathon.mesos.svc:8080",)


def on_kubernetes() -> Placing:
    target: HostTarget = KubernetesTarget(
        namespace="mesos", storage_class=None, volume_gib=1, node_networks=["10.0.0.0/16"]
    )
    return Placing(target)


def test_it_is_told_of_every_server_of_consul(run: Run) -> None:
    args = DiscoveryArgs(Program(("consul",), IMAGE), kind=Discovery.CONSUL, replicas=3)

    def declare() -> None:
        servers = ServiceDiscovery(args, on_kubernetes())
        consul = tuple(servers.http)
        TaskRegistrator(TaskRegistratorArgs(PROGRAM, "mesos", MARATHON, consul), on_kubernetes())

    recorder = run(declare)

    text = recorder.named("registrator", "ConfigMap").inputs["data"]["registrator-0.json"]
    settings = RegistratorSettings.model_validate_json(text)
    assert (settings.cluster, settings.marathon) == ("mesos", MARATHON)
    assert settings.consul == tuple(f"consul-{n}.consul.mesos.svc:8123" for n in range(3))
    assert str(settings.credential_file).startswith("/run/secrets/")
    spec = recorder.named("registrator", "StatefulSet").inputs["spec"]
    assert spec["replicas"] == 1
    (container,) = spec["template"]["spec"]["containers"]
    # It lives while Marathon stands still, and nothing waits for it then.
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": 9106}


def test_it_reaches_marathon_and_consul_alone(run: Run) -> None:
    args = TaskRegistratorArgs(PROGRAM, "mesos", MARATHON, ("consul-0:8123",))

    recorder = run(lambda: TaskRegistrator(args, on_kubernetes()))

    spec = recorder.named("registrator", "NetworkPolicy").inputs["spec"]
    assert [port["port"] for rule in spec["ingress"] for port in rule["ports"]] == [9_106]
    outgoing = {port["port"] for rule in spec["egress"][1:] for port in rule["ports"]}
    assert outgoing == {8_123, 8_080}


@pytest.mark.parametrize(
    ("marathon", "consul", "expected"), [((), ("c:1",), "no Marathon"), (MARATHON, (), "no Consul")]
)
def test_without_either_there_is_nothing_to_do(
    marathon: tuple[str, ...], consul: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(ArgumentsError, match=expected):
        TaskRegistratorArgs(PROGRAM, "mesos", marathon, consul)
