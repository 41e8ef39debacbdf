"""Profiles of container networks, and what the published CNI plugins make of them: agents are
network namespaces joined by a wire, containers are network namespaces of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.errors import ArgumentsError
from components.network.cni import (
    PLUGINS,
    Bridge,
    Overlay,
    Profile,
    check,
    files,
    install_script,
    names,
)
from tools import cache
from tools.kubernetes_recipes import KUBERNETES_RECIPES

_BOUND_S = 60
_ANSWER = """
import socket, sys
server = socket.create_server((sys.argv[1], 8080))
print("ready", flush=True)
connection, peer = server.accept()
connection.sendall(peer[0].encode())
connection.close()
"""
_ASK = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
print(connection.recv(100).decode())
"""


def test_agents_parts_do_not_overlap_and_lie_in_the_network() -> None:
    overlay = Overlay("mesos", network="10.200.0.0/22", agent_prefix=24)

    parts = [overlay.part(agent) for agent in range(overlay.agents_max)]

    assert [str(part) for part in parts] == [f"10.200.{n}.0/24" for n in range(4)]
    with pytest.raises(ArgumentsError, match="room for 4 agents"):
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
    with pytest.raises(ArgumentsError, match=expected):
        check(profiles)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Bridge("Web"), "network's name"),
        (lambda: Bridge("web", subnet="10.0.0.1/24"), "expected a network"),
        (lambda: Overlay("web", network="10.0.0.0/24", agent_prefix=24), "smaller than"),
        (lambda: Overlay("web", mtu=1500), "MTU"),
        (lambda: Overlay("web", vni=0), "VXLAN number"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(make: Any, expected: str) -> None:
    with pytest.raises(ArgumentsError, match=expected):
        make()


def test_the_init_container_puts_plugins_and_files_and_takes_away_old_ones(tmp_path: Path) -> None:
    places = {
        name: tmp_path / name for name in ("plugins_from", "config_from", "plugins_to", "config_to")
    }
    for place in places.values():
        place.mkdir()
    for name in PLUGINS:
        (places["plugins_from"] / name).write_text(name)
    profiles = [Bridge("web"), Overlay("mesos")]
    for name, text in files(profiles).items():
        (places["config_from"] / name).write_text(text)
    (places["config_to"] / "old.conflist").write_text("{}")

    script = install_script(**{name: str(place) for name, place in places.items()})
    for _ in range(2):
        subprocess.run(["sh", "-c", script], check=True, timeout=_BOUND_S)

    found = {path.stem for path in places["config_to"].iterdir()}
    assert found == names(profiles)
    assert {path.name for path in places["plugins_to"].iterdir()} == set(PLUGINS)
    assert json.loads((places["config_to"] / "web.conflist").read_text())["name"] == "web"


@pytest.fixture(scope="session")
def plugins() -> Path:
    """The published plugins; left out where they were not built, which CI takes for a failure."""
    recipe = next(one for one in KUBERNETES_RECIPES if one.name == "cni-plugins")
    folder = cache.root() / recipe.key()
    lacking = [p for p in ("ip", "bridge", "iptables", "sysctl") if shutil.which(p) is None]
    if not folder.is_dir() or lacking or os.geteuid():
        message = f"expected root, {folder} and no program missing, saw {lacking} missing"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


def run(*words: str, **more: Any) -> str:
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        timeout=_BOUND_S, **more,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}"
    return done.stdout


@dataclass
class Node:
    """An agent's node: a network namespace with an address on the wire."""

    name: str
    address: str
    plugins: Path
    made: list[str]
    containers: list[str] = field(default_factory=list[str])

    def run(self, *words: str, **more: Any) -> str:
        return run("ip", "netns", "exec", self.name, *words, **more)

    def attach(self, profile: Profile, agent: int, **arguments: Any) -> tuple[str, str]:
        """Attach a new container as an agent does; returns its namespace and address."""
        container = f"{self.name}-c{len(self.containers)}"
        run("ip", "netns", "add", container)
        self.made.append(container)
        self.containers.append(container)
        result: dict[str, Any] = {}
        document = profile.document(agent)
        for plugin in document["plugins"]:
            config = {"cniVersion": document["cniVersion"], "name": document["name"], **plugin}
            if result:
                config["prevResult"] = result
            if arguments:
                config["runtimeConfig"] = arguments
            environment = {
                **os.environ,
                "CNI_COMMAND": "ADD",
                "CNI_CONTAINERID": container,
                "CNI_NETNS": f"/var/run/netns/{container}",
                "CNI_IFNAME": "eth0",
                "CNI_PATH": str(self.plugins),
            }
            program = str(self.plugins / plugin["type"])
            result = json.loads(self.run(program, input=json.dumps(config), env=environment))
        return container, result["ips"][0]["address"].partition("/")[0]


@pytest.fixture
def nodes(plugins: Path) -> Iterator[list[Node]]:
    """Two of them; everything is removed afterwards."""
    mark = uuid.uuid4().hex[:5]
    made: list[str] = []
    found = [Node(f"n{mark}{n}", f"192.0.2.{n + 1}", plugins, made) for n in range(2)]
    try:
        for node in found:
            run("ip", "netns", "add", node.name)
            made.append(node.name)
        run("ip", "link", "add", f"w{mark}0", "type", "veth", "peer", "name", f"w{mark}1")
        for number, node in enumerate(found):
            run("ip", "link", "set", f"w{mark}{number}", "netns", node.name)
            node.run("ip", "addr", "add", f"{node.address}/24", "dev", f"w{mark}{number}")
            node.run("ip", "link", "set", f"w{mark}{number}", "up")
            node.run("ip", "link", "set", "lo", "up")
        yield found
    finally:
        for name in reversed(made):
            subprocess.run(["ip", "netns", "del", name], check=False, timeout=_BOUND_S)
        for name in ("web", "mesos"):
            # Where host-local keeps what it has given out.
            shutil.rmtree(f"/var/lib/cni/networks/{name}-{mark}", ignore_errors=True)


def asked(target: str, address: str, source: str, port: int = 8080, bind: str = "0.0.0.0") -> str:  # noqa: S104 - in a namespace of its own
    """Whom a server in one namespace sees asking from another."""
    with subprocess.Popen(
        ["ip", "netns", "exec", target, sys.executable, "-c", _ANSWER, bind],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline().strip() == "ready"
            words = [sys.executable, "-c", _ASK, address, str(port)]
            return run("ip", "netns", "exec", source, *words).strip()
        finally:
            server.kill()


def unique(name: str, node: Node) -> str:
    return f"{name}-{node.name[1:6]}"


def test_containers_on_a_bridge_reach_each_other_and_are_reached_by_a_port(
    nodes: list[Node],
) -> None:
    node = nodes[0]
    profile = Bridge(unique("web", node))
    first, first_address = node.attach(profile, 0)
    mapping = {"hostPort": 18_080, "containerPort": 8080, "protocol": "tcp"}
    second, second_address = node.attach(profile, 0, portMappings=[mapping])

    assert first_address != second_address
    assert asked(second, second_address, first) == first_address
    # By the node's own port, from another node.
    assert asked(second, node.address, nodes[1].name, port=18_080) == nodes[1].address


def test_containers_of_two_agents_reach_each_other_by_the_overlay(nodes: list[Node]) -> None:
    profile = Overlay(unique("mesos", nodes[0]))
    peers = [node.address for node in nodes]
    for number, node in enumerate(nodes):
        for command in profile.setup(number, peers, node.address):
            node.run(*command)
    (here, here_address), (there, there_address) = (
        node.attach(profile, number) for number, node in enumerate(nodes)
    )

    assert here_address.startswith("10.200.0.")
    assert there_address.startswith("10.200.1.")
    # Its own address, not the agent's: nothing is translated within the overlay.
    assert asked(there, there_address, here) == here_address
    assert asked(here, here_address, there) == there_address
