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
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from controllers.errors import NodeNetworkError, ProfileError
from controllers.node_network.install import install
from controllers.node_network.profiles import PLUGINS, Bridge, Overlay, Profile
from controllers.node_network.settings import NodeNetworkSettings
from tests.leaving import leave_out
from tests.waiting import block_until
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


def settings_in(folder: Path, source: Path, **networks: Any) -> NodeNetworkSettings:
    """Settings that put networks below a folder of a test's."""
    names = sorted(one["name"] for kind in networks.values() for one in kind)
    return NodeNetworkSettings.model_validate(
        {
            "folder": folder,
            "configuration": folder / "by-name" / "+".join(names),
            "plugins": source,
            "ready_file": folder / "ready",
            **networks,
        }
    )


def test_plugins_and_files_are_put_and_old_ones_taken_away(tmp_path: Path) -> None:
    source = tmp_path / "image"
    source.mkdir()
    for name in PLUGINS:
        (source / name).write_text(name)
    folder = tmp_path / "node"
    settings = settings_in(folder, source, bridges=[{"name": "web"}])
    settings.configuration.mkdir(parents=True)
    (settings.configuration / "old.conf").write_text("{}")

    for _ in range(2):
        install(settings, "10.0.0.7")

    assert [path.name for path in settings.configuration.iterdir()] == ["web.conf"]
    document = json.loads((settings.configuration / "web.conf").read_text())
    assert document["ipam"]["dataDir"] == str(folder / "leases")
    assert {path.name for path in (folder / "bin").iterdir()} == set(PLUGINS)
    assert all(os.access(folder / "bin" / name, os.X_OK) for name in PLUGINS)
    assert (folder / "leases").is_dir()
    assert not [path for path in folder.iterdir() if path.is_file()]


@pytest.mark.parametrize("place", ["", "bin", "leases/mine", "../net.d", "/etc/cni/net.d"])
def test_a_folder_that_others_use_is_never_cleared(tmp_path: Path, place: str) -> None:
    given = settings_in(tmp_path, tmp_path, bridges=[{"name": "web"}]).model_dump()
    with pytest.raises(ValidationError, match="expected a folder of its own below"):
        NodeNetworkSettings.model_validate({**given, "configuration": tmp_path / place})


@pytest.mark.parametrize(
    ("folder", "saw"),
    [
        ("/etc/cni", "/etc/cni, which lies in /etc"),
        ("/etc", "/etc, which lies in /etc"),
        ("/opt/cni/mesos", "which lies in /opt/cni"),
        ("/opt", "/opt, which holds /opt/cni"),
        ("/", "/, which holds /bin"),
        ("/var/lib", "which holds /var/lib/cni"),
        ("/var/lib/kubelet/networks", "which lies in /var/lib/kubelet"),
        ("/run/mesos", "which lies in /run"),
        ("networks", "networks: name it from the root"),
        ("/srv/../etc/cni", "name it from the root, without '..'"),
    ],
)
def test_a_folder_of_the_nodes_own_is_refused(tmp_path: Path, folder: str, saw: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings_in(Path(folder), tmp_path, bridges=[{"name": "web"}])

    assert "expected a folder of the networks' own" in str(refused.value)
    assert saw in str(refused.value)


def test_a_folder_beside_those_of_others_is_taken(tmp_path: Path) -> None:
    for folder in ("/var/lib/mesos-platform/networks", "/opt/cni-of-mesos", "/data/etc"):
        assert settings_in(Path(folder), tmp_path).folder == Path(folder)


@pytest.mark.parametrize("name", ["", "bin", "leases", "by-name/web"])
def test_a_link_to_what_others_use_is_not_followed(tmp_path: Path, name: str) -> None:
    source, theirs = tmp_path / "image", tmp_path / "theirs"
    for folder in (source, theirs):
        folder.mkdir()
    for plugin in PLUGINS:
        (source / plugin).write_text(plugin)
    (theirs / "10-pods.conflist").write_text("{}")
    link = tmp_path / "node" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    # Nobody can write to the second, so that no mistake here costs a machine its own.
    link.symlink_to(theirs if name else "/proc/networks")

    with pytest.raises(NodeNetworkError, match=r"expected .*, saw"):
        install(settings_in(tmp_path / "node", source, bridges=[{"name": "web"}]), "10.0.0.7")

    assert [path.name for path in theirs.iterdir()] == ["10-pods.conflist"]


def test_a_node_without_a_number_and_a_command_that_fails_are_told(tmp_path: Path) -> None:
    for name in PLUGINS:
        (tmp_path / name).write_text(name)
    nodes = {"0": "10.0.0.7"}
    overlay = settings_in(tmp_path, tmp_path, overlays=[{"name": "mesos", "nodes": nodes}])

    with pytest.raises(ProfileError, match=r"expected 10.0.0.9 among the nodes"):
        install(overlay, "10.0.0.9")

    def refuse(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(words, 2, "", "Operation not permitted")

    with pytest.raises(NodeNetworkError, match=r"ip link add vx4711 .* Operation not permitted"):
        install(overlay, "10.0.0.7", refuse)


def test_the_process_says_that_it_is_ready_and_follows_its_file(tmp_path: Path) -> None:
    source = tmp_path / "image"
    source.mkdir()
    for name in PLUGINS:
        (source / name).write_text(name)
    file = tmp_path / "networks.json"
    folder = tmp_path / "node"

    def write(*names: str) -> None:
        bridges = [{"name": n, "subnet": f"172.31.{i}.0/24"} for i, n in enumerate(names)]
        wanted = settings_in(folder, source, bridges=bridges).model_copy(update={"every_s": 0.05})
        (tmp_path / "new").write_text(wanted.model_dump_json())
        (tmp_path / "new").replace(file)

    write("web")
    words = [sys.executable, "-m", "controllers.node_network", "--config", str(file)]
    environment = {**os.environ, "POD_IP": "10.0.0.7"}
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            block_until((folder / "ready").exists, "networks are there", _BOUND_S)
            write("db", "web")
            block_until((folder / "by-name/db+web/db.conf").exists, "the new one", _BOUND_S)
        finally:
            process.terminate()
    assert process.returncode == 0
    # Agents that were started before are told the old names.
    assert (folder / "by-name/web/web.conf").exists()


@pytest.fixture(scope="session")
def plugins() -> Path:
    """The published plugins; left out where they were not built, which CI takes for a failure."""
    recipe = next(one for one in KUBERNETES_RECIPES if one.name == "cni-plugins")
    folder = cache.root() / recipe.key()
    lacking = [p for p in ("ip", "bridge", "iptables") if shutil.which(p) is None]
    if not folder.is_dir() or lacking or os.geteuid():
        leave_out(f"expected root, {folder} and no program missing, saw {lacking} missing")
    return folder


def command(*words: str, **more: Any) -> str:
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
    folder: Path = Path()
    configuration: Path = Path()

    def run(self, *words: str, **more: Any) -> str:
        return command("ip", "netns", "exec", self.name, *words, **more)

    def install(self, profile: Profile, folder: Path) -> None:
        """Put a profile there, as the container in front of an agent does."""
        kind = "bridges" if isinstance(profile, Bridge) else "overlays"
        settings = settings_in(folder, self.plugins, **{kind: [asdict(profile)]})
        within = ("ip", "netns", "exec", self.name)

        def in_it(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*within, *words], check=False, capture_output=True, text=True, timeout=_BOUND_S
            )

        # What is there already stays.
        for _ in range(2):
            install(settings, self.address, in_it)
        self.folder, self.configuration = folder, settings.configuration

    def attach(self, profile: Profile) -> tuple[str, str]:
        """Attach a new container as an agent does; returns its namespace and address."""
        container = f"{self.name}-c{len(self.containers)}"
        command("ip", "netns", "add", container)
        self.made.append(container)
        self.containers.append(container)
        config = json.loads((self.configuration / f"{profile.name}.conf").read_text())
        environment = {
            **os.environ,
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"/var/run/netns/{container}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self.folder / "bin"),
        }
        program = str(self.folder / "bin" / config["type"])
        result = json.loads(self.run(program, input=json.dumps(config), env=environment))
        # `NetworkInfo` of spec.proto.
        return container, result["ip4"]["ip"].partition("/")[0]


@pytest.fixture
def nodes(plugins: Path) -> Iterator[list[Node]]:
    """Two of them; everything is removed afterwards."""
    mark = uuid.uuid4().hex[:5]
    made: list[str] = []
    found = [Node(f"n{mark}{n}", f"192.0.2.{n + 1}", plugins, made) for n in range(2)]
    try:
        for node in found:
            command("ip", "netns", "add", node.name)
            made.append(node.name)
        command("ip", "link", "add", f"w{mark}0", "type", "veth", "peer", "name", f"w{mark}1")
        for number, node in enumerate(found):
            command("ip", "link", "set", f"w{mark}{number}", "netns", node.name)
            node.run("ip", "addr", "add", f"{node.address}/24", "dev", f"w{mark}{number}")
            node.run("ip", "link", "set", f"w{mark}{number}", "up")
            node.run("ip", "link", "set", "lo", "up")
        yield found
    finally:
        for name in reversed(made):
            subprocess.run(["ip", "netns", "del", name], check=False, timeout=_BOUND_S)


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
            return command("ip", "netns", "exec", source, *words).strip()
        finally:
            server.kill()


def unique(name: str, node: Node) -> str:
    return f"{name}-{node.name[1:6]}"


def test_containers_on_a_bridge_reach_each_other_and_go_out_as_their_node(
    nodes: list[Node], tmp_path: Path
) -> None:
    node, other = nodes
    profile = Bridge(unique("web", node))
    node.install(profile, tmp_path)
    first, first_address = node.attach(profile)
    second, second_address = node.attach(profile)

    assert first_address != second_address
    assert asked(second, second_address, first) == first_address
    assert asked(other.name, other.address, first) == node.address
    taken = {path.name for path in (tmp_path / "leases" / profile.name).iterdir()}
    assert {first_address, second_address} <= taken


def test_containers_of_two_nodes_reach_each_other_by_the_overlay(
    nodes: list[Node], tmp_path: Path
) -> None:
    here_node, there_node = nodes
    addresses = {0: here_node.address, 1: there_node.address}
    profile = Overlay(unique("mesos", here_node), nodes=addresses)
    for number, node in enumerate(nodes):
        node.install(profile, tmp_path / str(number))
    (here, here_address), (there, there_address) = (node.attach(profile) for node in nodes)

    assert here_address.startswith("10.200.0.")
    assert there_address.startswith("10.200.1.")
    # Its own address, not the node's: nothing is translated within the overlay.
    assert asked(there, there_address, here) == here_address
    assert asked(here, here_address, there) == there_address

    # A node that is named no more is no longer a way.
    alone = replace(profile, nodes={0: here_node.address})
    assert "10.200.1.0/24" in here_node.run("ip", "route")
    here_node.install(alone, tmp_path / "0")
    assert "10.200.1.0/24" not in here_node.run("ip", "route")
