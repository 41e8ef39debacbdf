"""Networks as values, and what agents that have them are declared with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.base import Placing
from components.errors import ArgumentsError
from components.mesos.agents import AgentPool, MesosAgents, MesosAgentsArgs
from components.mesos.isolation import Isolation
from components.mesos.isolation import Profile as IsolationProfile
from components.network.cni import CONFIG_FLAG, FOLDER, PLUGINS_FLAG, Networks, check_beside, known
from components.targets.kubernetes import KubernetesTarget
from components.workload import Program
from controllers.errors import ProfileError
from controllers.node_network.profiles import Bridge, Overlay, Profile, check
from controllers.node_network.settings import NodeNetworkSettings
from tests.components.conftest import Run


def test_nodes_parts_do_not_overlap_and_lie_in_the_network() -> None:
    overlay = Overlay("mesos", network="10.200.0.0/22", node_prefix=24)

    parts = [overlay.part(node) for node in range(overlay.nodes_max)]

    assert [str(part) for part in parts] == [f"10.200.{n}.0/24" for n in range(4)]
    with pytest.raises(ProfileError, match="room for 4 nodes"):
        overlay.part(4)


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        ([Bridge("a"), Bridge("b")], "overlap"),
        ([Bridge("a"), Bridge("a", subnet="10.0.0.0/24")], "twice"),
        ([Overlay("a"), Overlay("b", network="10.99.0.0/16")], "VXLAN 4711 both"),
        (
            [Bridge("serving-of-web-1"), Bridge("serving-of-web-2", subnet="10.0.0.0/24")],
            "the device m-serving-of-we both",
        ),
    ],
)
def test_profiles_that_cannot_be_together_are_refused(
    profiles: list[Profile], expected: str
) -> None:
    with pytest.raises(ProfileError, match=expected):
        check(profiles)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Bridge("Web"), "network's name"),
        (lambda: Bridge("web", subnet="10.0.0.1/24"), "expected a network"),
        (lambda: Overlay("web", network="10.0.0.0/24", node_prefix=24), "smaller than"),
        (lambda: Overlay("web", mtu=1500), "MTU"),
        (lambda: Overlay("web", vni=0), "VXLAN number"),
        (lambda: Overlay("web", nodes={300: "10.0.0.1"}), "room for 256 nodes"),
        (lambda: Overlay("web", nodes={0: "node-a"}), "addresses of nodes"),
        (lambda: Overlay("web", nodes={0: "10.0.0.1", 1: "10.0.0.1"}), "one number a node"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(make: Any, expected: str) -> None:
    with pytest.raises(ProfileError, match=expected):
        make()


def test_a_network_that_hides_the_nodes_own_is_refused() -> None:
    with pytest.raises(ProfileError, match="overlaps the network of nodes"):
        check_beside([Bridge("web", subnet="10.0.7.0/24")], ["fd00::/64", "10.0.0.0/16"])


def test_agents_read_one_plugin_a_network_and_results_of_their_version() -> None:
    """As spec.proto of Mesos asks: `name` and `type` at the top, and the type of `ipam`."""
    for profile in (Bridge("web"), Overlay("mesos"), Bridge("mapped", ports=True)):
        document = profile.document("/leases", 0)
        assert document["cniVersion"] == "0.2.0"
        assert (document["name"], "plugins" in document) == (profile.name, False)
        made_by = document.get("delegate", document)
        assert made_by["type"] == "bridge"
        assert made_by["ipam"]["type"] == "host-local"
        assert made_by["ipam"]["dataDir"] == "/leases"
    mapped = Bridge("mapped", ports=True).document("/leases")
    assert mapped["type"] == "mesos-cni-port-mapper"
    assert mapped["excludeDevices"] == [mapped["delegate"]["bridge"]]


PROGRAM = Program(("python",), f"example.invalid/agent@sha256:{'0' * 64}")
NETWORKS = Networks(
    (Bridge("web", ports=True), Overlay("mesos", nodes={0: "10.0.0.7"})),
    Program(("install",), f"example.invalid/networks@sha256:{'1' * 64}"),
)


def declared(run_program: Run, networks: Networks | None) -> tuple[dict[str, Any], dict[str, str]]:
    target = KubernetesTarget(
        namespace="mesos", storage_class=None, volume_gib=1, node_networks=["10.0.0.0/16"]
    )
    args = MesosAgentsArgs(
        "blue", PROGRAM, "zk://z/mesos", AgentPool(isolation=Isolation()), networks=networks
    )
    recorder = run_program(lambda: MesosAgents(args, Placing(target)))
    spec = recorder.named("blue-agents", "DaemonSet").inputs["spec"]["template"]
    return spec, recorder.named("blue-agents", "ConfigMap").inputs["data"]


def test_an_agent_waits_for_its_node_s_networks_and_is_told_their_names(run: Run) -> None:
    template, files = declared(run, NETWORKS)

    settings = json.loads(files["blue-agents-0.json"])
    assert known(settings["flags"]) == {"web", "mesos"}
    assert settings["flags"][PLUGINS_FLAG] == f"{FOLDER}/bin:/usr/libexec/mesos"
    looked, put = template["spec"]["initContainers"]
    assert "/usr/libexec/mesos/mesos-cni-port-mapper" in looked["command"]
    assert put["image"].startswith("example.invalid/networks@")
    assert put["restartPolicy"] == "Always"
    settled = json.loads(files["networks.json"])["ready_file"]
    assert put["startupProbe"]["exec"]["command"] == ["test", "-e", settled]
    assert put["securityContext"]["capabilities"] == {
        "drop": ["ALL"],
        "add": ["NET_ADMIN", "NET_RAW"],
    }
    (volume,) = (v for v in template["spec"]["volumes"] if v["name"] == "node-networks")
    assert volume["hostPath"] == {"path": FOLDER, "type": "DirectoryOrCreate"}
    (container,) = template["spec"]["containers"]
    for one in (put, container):
        assert {"name": "node-networks", "mountPath": FOLDER} in one["volumeMounts"]
    # What stands in the file is what the program reads.
    read = NodeNetworkSettings.model_validate_json(files["networks.json"])
    assert {one.name for one in read.profiles} == {"web", "mesos"}
    assert str(read.configuration) == settings["flags"][CONFIG_FLAG]


def test_no_agent_is_replaced_for_a_new_node_but_for_a_new_name(run: Run) -> None:
    more = Overlay("mesos", nodes={0: "10.0.0.7", 1: "10.0.0.8"})
    before, _ = declared(run, NETWORKS)
    grown, files = declared(run, Networks((NETWORKS.profiles[0], more), NETWORKS.program))
    named, _ = declared(
        run, Networks((*NETWORKS.profiles, Bridge("db", subnet="172.31.0.0/24")), NETWORKS.program)
    )

    assert grown == before
    assert "10.0.0.8" in files["networks.json"]
    assert named != before


def test_without_networks_nothing_stands_in_front_but_the_look(run: Run) -> None:
    template, files = declared(run, None)

    assert [one["name"] for one in template["spec"]["initContainers"]] == ["node-check"]
    assert sorted(files) == ["blue-agents-0.json"]
    assert known({}) == known({CONFIG_FLAG: "/etc/cni/net.d"}) == frozenset()


def test_agents_that_attach_no_container_have_no_networks() -> None:
    pool = AgentPool(isolation=Isolation(IsolationProfile.POSIX))

    with pytest.raises(ArgumentsError, match="profile cgroups or hardened"):
        MesosAgentsArgs("blue", PROGRAM, "zk://z/mesos", pool, networks=NETWORKS)
