"""Names: what servers are told, and a real CoreDNS that hands their zone on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from clients.dns import resolve
from clients.errors import DnsError
from components.base import HostTarget, Placing
from components.errors import ArgumentsError
from components.network.discovery import (
    Discovery,
    DiscoveryArgs,
    ServiceDiscovery,
    stub_zone,
)
from components.targets.kubernetes import KubernetesTarget
from components.workload import Program
from stacks.migration.contracts import FRAMEWORKS
from stacks.migration.updates import scope_of
from stacks.steps import Op, Step
from stacks.topology import Standing
from tests.components.conftest import Run, run
from tests.leaving import leave_out
from tests.names import name_server
from tests.ports import free_port
from tests.waiting import block_until
from tools import cache
from tools.kubernetes_recipes import KUBERNETES_RECIPES

__all__ = ["run"]

PROGRAM = Program(("mesos-dns",), f"example.invalid/mesos-dns@sha256:{'0' * 64}")
_BOUND_S = 30.0


def placing() -> Placing:
    target: HostTarget = KubernetesTarget(
        namespace="mesos", storage_class=None, volume_gib=1, node_networks=["10.0.0.0/16"]
    )
    return Placing(target)


def test_mesos_dns_follows_the_ensemble_that_it_is_given(run: Run) -> None:
    args = DiscoveryArgs(PROGRAM, zookeeper_hosts="z:2181")

    recorder = run(lambda: ServiceDiscovery(args, placing()))

    files = recorder.named("frameworks-mesos-dns", "ConfigMap").inputs["data"]
    text = files["frameworks-mesos-dns-0.sh"]
    assert '"zk": "zk://z:2181/mesos"' in text
    # Without resolvers it answers for its zone alone, and is no open resolver.
    for line in ('"externalon": false', '"recurseon": false', '"resolvers": []'):
        assert line in text
    spec = recorder.named("frameworks-mesos-dns", "NetworkPolicy").inputs["spec"]
    asked = [(port["protocol"], port["port"]) for port in spec["ingress"][0]["ports"]]
    assert asked == [("UDP", 8053), ("TCP", 8053)]


def test_mesos_dns_is_led_over_in_the_update_that_moves_frameworks(run: Run) -> None:
    recorder = run(
        lambda: ServiceDiscovery(DiscoveryArgs(PROGRAM, zookeeper_hosts="z:1"), placing())
    )

    own = [one.name for one in recorder.resources if "mesos-dns" in one.name]
    assert own
    touched = {scope_of(Step(Op.UPDATE, "", "", name), Standing()) for name in own}
    assert touched == {FRAMEWORKS}


def test_it_stands_still_without_an_ensemble(run: Run) -> None:
    recorder = run(lambda: ServiceDiscovery(DiscoveryArgs(PROGRAM), placing()))

    assert recorder.named("frameworks-mesos-dns", "StatefulSet").inputs["spec"]["replicas"] == 0


def test_servers_of_consul_know_each_other(run: Run) -> None:
    args = DiscoveryArgs(PROGRAM, kind=Discovery.CONSUL, zone="consul", replicas=3)

    recorder = run(lambda: ServiceDiscovery(args, placing()))

    files = recorder.named("consul", "ConfigMap").inputs["data"]
    config = json.loads(files["consul-1.json"])
    assert config["bootstrap_expect"] == len(config["retry_join"]) == 3
    assert config["enable_script_checks"] is False
    spec = recorder.named("consul", "StatefulSet").inputs["spec"]["template"]["spec"]
    assert spec["containers"][0]["command"][-2:] == [
        "-config-file",
        "/etc/mesos-platform/$(MEMBER).json",
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"zone": "cluster.local"}, "outside cluster.local"),
        ({"zone": "a b"}, "expected a zone"),
        ({"resolvers": ("dns.example",)}, "addresses of resolvers"),
        ({"kind": Discovery.CONSUL, "replicas": 2}, "odd numbers"),
        ({"ttl_s": 3600}, "addresses of ended tasks"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object], expected: str) -> None:
    with pytest.raises(ArgumentsError, match=expected):
        DiscoveryArgs(**{"program": PROGRAM, **given})  # pyright: ignore[reportArgumentType] - a table's values


def test_a_stub_zone_names_addresses() -> None:
    with pytest.raises(ArgumentsError, match="name an address"):
        stub_zone("mesos", ["mesos-dns.mesos.svc:8053"])


@pytest.fixture(scope="session")
def coredns() -> Path:
    """The real one; left out where it was not built, which CI takes for a failure."""
    recipe = next(one for one in KUBERNETES_RECIPES if one.name == "coredns")
    program = cache.root() / recipe.key() / "coredns"
    if not program.exists():
        leave_out(f"expected {program}: run `make tools-kubernetes`")
    return program


def test_the_clusters_name_server_hands_the_zone_on(coredns: Path, tmp_path: Path) -> None:
    with name_server({"web.marathon.mesos": "192.0.2.7"}) as port:
        own = free_port()
        corefile = tmp_path / "Corefile"
        block = stub_zone("mesos", [f"127.0.0.1:{port}"])
        corefile.write_text(block.replace("mesos:53 {", f"mesos:{own} {{\n    bind 127.0.0.1"))
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [coredns, "-conf", str(corefile)], stdout=log, stderr=subprocess.STDOUT
            )
        try:
            server = f"127.0.0.1:{own}"

            def asked() -> tuple[str, ...] | None:
                assert process.poll() is None, (tmp_path / "log").read_text()
                try:
                    return resolve("web.marathon.mesos", server, timeout_s=1)
                except DnsError:
                    return None

            assert block_until(asked, "an answer", _BOUND_S) == ("192.0.2.7",)
            assert resolve("gone.marathon.mesos", server, timeout_s=5) == ()
        finally:
            process.terminate()
            process.wait()
