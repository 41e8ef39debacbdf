"""Who talks to whom: found among real sockets in namespaces of our own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from probe.agent.collectors.connections import ConnectionsCollector
from probe.agent.netlink import LISTEN_STATES, OPEN_STATES, TCP, Dumped, SocketDiagnostics
from probe.agent.place import Place
from probe.agent.proc_net import Tables
from probe.agent.site import KnownContainer
from tests.probe.sites import Clock, site


def listening() -> tuple[socket.socket, socket.socket, socket.socket]:
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    return server, client, accepted


def test_diagnostics_and_proc_tell_the_same() -> None:
    server, client, accepted = listening()
    port = server.getsockname()[1]
    diagnostics = SocketDiagnostics()
    try:
        for states, expected in ((OPEN_STATES, 2), (LISTEN_STATES, 1)):
            told: list[set[tuple[Any, ...]]] = []
            for _, fresh in (
                diagnostics.keys(TCP, states, set()),
                Tables("/proc", "self").keys(TCP, states, set()),
            ):
                mine = [one for one in fresh if port in {one.local_port, one.remote_port}]
                told.append({tuple(one)[1:] for one in mine})
                assert len(mine) == expected
            assert told[0] == told[1]
            seen, _ = diagnostics.keys(TCP, states, set())
            _, fresh = diagnostics.keys(TCP, states, seen)
            assert not [one for one in fresh if port in {one.local_port, one.remote_port}]
    finally:
        diagnostics.close()
        for one in (client, accepted, server):
            one.close()


def test_addresses_of_version_6_and_those_of_4_inside_of_them_are_read() -> None:
    server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    port = server.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    six = socket.create_connection(("::1", port))
    diagnostics = SocketDiagnostics()
    try:
        _, fresh = diagnostics.keys(TCP, OPEN_STATES, set())
        _, texts = Tables("/proc", "self").keys(TCP, OPEN_STATES, set())
        for told in (fresh, texts):
            locals_ = {one.local for one in told if one.local_port == port}
            assert locals_ == {bytes((127, 0, 0, 1)), bytes(15) + b"\x01"}
    finally:
        diagnostics.close()
        for one in (client, six, server):
            one.close()


IN_NAMESPACE = """
import asyncio, json, socket, sys
from pathlib import Path
from probe.agent.agent import Agent
from probe.agent.log import Log
from probe.agent.settings import Settings
from tests.probe import conntrack_rule

async def main():
    if sys.argv[1] == "tracked":
        conntrack_rule.add()
        Path("/proc/sys/net/netfilter/nf_conntrack_acct").write_text("1")
    agent = Agent(Settings(host="n", collectors=("host", "process", "connections")), Log())
    collectors = [make(agent.site) for make in agent.runner._factories.values()]
    for one in collectors:
        await one.start()
    server = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 5353))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    to_udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    to_udp.connect(("127.0.0.1", 5353))
    to_udp.send(b"x")
    for one in collectors:
        await one.collect()
    held = socket.create_connection(server.getsockname()), server.accept()[0]
    short = socket.create_connection(server.getsockname()), server.accept()[0]
    short[0].send(b"x" * 100)
    short[1].recv(100)
    for one in short:
        one.close()
    refused = socket.socket()
    assert refused.connect_ex(("127.0.0.1", 9999)) != 0
    datagrams.sendto(b"x", ("127.0.0.1", 9998))
    await asyncio.sleep(0.05)
    for one in collectors:
        await one.collect()
    told = {name: dict(table) for name, table in agent.ledger.tables.items()}
    told["capability"] = [collectors[2].capability().mode, collectors[2].capability().state.value]
    told["port"] = server.getsockname()[1]
    for one in collectors:
        await one.close()
    print(json.dumps(told, default=dict))

asyncio.run(main())
"""


def isolated(script: str, argument: str) -> dict[str, Any]:
    """What a script says in namespaces that hold nothing but itself."""
    if os.geteuid() != 0:
        pytest.skip("namespaces of one's own need root")
    done = subprocess.run(
        [
            *("unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"),
            *("sh", "-c", 'ip link set lo up && exec "$@"', "sh"),
            *(sys.executable, "-c", script, argument),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=90,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("tracked", ["tracked", "untracked"])
def test_held_and_short_connections_are_found_with_their_owners(tracked: str) -> None:
    told = isolated(IN_NAMESPACE, tracked)
    edges_told = [e for e in told["connection"].values() if e["server_port"] == told["port"]]
    (process,) = [id_ for id_, v in told["process"].items() if v["name"].startswith("python")]

    held = [edge for edge in edges_told if edge["open"] == 1]
    assert [(edge["client"], edge["server"]) for edge in held] == [(process, process)]
    assert sum(edge["opened"] for edge in edges_told) == 2
    assert all(edge["client_address"] == edge["server_address"] for edge in edges_told)
    others = [e for e in told["connection"].values() if e["server_port"] != told["port"]]
    assert {(e["protocol"], e["server_port"]) for e in others} == {("udp", 5353)}
    listeners = {(e["protocol"], e["port"]): e for e in told["endpoint"].values()}
    assert listeners["tcp", told["port"]]["process"] == process
    assert listeners["udp", 5353]["process"] == process
    mode, state = told["capability"]
    assert ("connection tracking" in mode) is (tracked == "tracked")
    assert state == ("full" if tracked == "tracked" else "partial")


IN_CONTAINER = """
import socket, sys
server = socket.create_server(("0.0.0.0", 8080))
print("up", flush=True)
accepted, _ = server.accept()
out = socket.create_connection(("10.9.0.1", 9090))
loop = socket.create_connection(("127.0.0.1", 8080)), server.accept()[0]
print("connected", flush=True)
sys.stdin.read()
"""

BESIDE_CONTAINER = """
import asyncio, json, os, socket, subprocess, sys
from probe.agent.agent import Agent
from probe.agent.log import Log
from probe.agent.settings import Settings
from probe.agent.site import KnownContainer

def run(*command):
    subprocess.run(command, check=True)

async def main():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = subprocess.Popen(["unshare", "--net", sys.executable, "-c", sys.argv[1]], **pipes)
    def inside(*command):
        run("nsenter", "-t", str(child.pid), "-n", *command)
    assert child.stdout.readline() == b"up\\n"
    run("ip", "link", "add", "outer", "type", "veth", "peer", "name", "inner")
    run("ip", "link", "set", "inner", "netns", str(child.pid))
    run("ip", "address", "add", "10.9.0.1/24", "dev", "outer")
    run("ip", "link", "set", "outer", "up")
    inside("ip", "link", "set", "lo", "up")
    inside("ip", "address", "add", "10.9.0.2/24", "dev", "inner")
    inside("ip", "link", "set", "inner", "up")
    server = socket.create_server(("0.0.0.0", 9090))
    to = socket.create_connection(("10.9.0.2", 8080))
    accepted, _ = server.accept()
    assert child.stdout.readline() == b"connected\\n"
    agent = Agent(Settings(host="n", collectors=("host", "process", "connections")), Log())
    namespace = os.stat(f"/proc/{child.pid}/ns/net").st_ino
    agent.site.containers["c"] = KnownContainer("c", child.pid, namespace, ("10.9.0.2",))
    agent.site.containers_version += 1
    collectors = [make(agent.site) for make in agent.runner._factories.values()]
    for one in collectors:
        await one.start()
        await one.collect()
    told = {name: dict(table) for name, table in agent.ledger.tables.items()}
    told["pids"] = [os.getpid(), child.pid]
    child.kill()
    child.wait()
    for one in collectors:
        await one.collect()
    told["after"] = {e["server_port"]: e["open"] for _, e in agent.ledger["connection"]}
    for one in collectors:
        await one.close()
    print(json.dumps(told, default=dict))

asyncio.run(main())
"""


def test_both_sides_of_a_container_s_connections_are_one_edge_with_both_owners() -> None:
    told = isolated(BESIDE_CONTAINER, IN_CONTAINER)
    outer, inner = told["pids"]
    names = {
        id_: "outer" if node["pid"] == outer else "inner" if node["pid"] == inner else "?"
        for id_, node in told["process"].items()
    }
    edges_told = {
        (
            names.get(edge.get("client", ""), ""),
            names.get(edge.get("server", ""), ""),
            edge["server_address"],
            edge["server_port"],
            edge.get("client_container"),
            edge.get("server_container"),
            edge["open"],
        )
        for edge in told["connection"].values()
    }

    assert edges_told == {
        ("outer", "inner", "10.9.0.2", 8080, None, "c", 1),
        ("inner", "outer", "10.9.0.1", 9090, "c", None, 1),
        ("inner", "inner", "127.0.0.1", 8080, "c", "c", 1),
    }
    listeners = {(one["port"], one.get("container")) for one in told["endpoint"].values()}
    assert listeners == {(8080, "c"), (9090, None)}
    assert told["after"].get(9090, 0) == 0


class Sockets:
    """Sockets of a container's namespace: one, until it is closed; `fails`: too many open files."""

    def __init__(self) -> None:
        remote, local = bytes((10, 9, 9, 9)), bytes((10, 0, 0, 2))
        self._one = Dumped(b"k", local, 40_000, remote, 80, 7)
        self.fails = False
        self.is_open = True

    def keys(
        self, place: Place, protocol: int, states: int, known: set[bytes]
    ) -> tuple[set[bytes], list[Dumped]]:
        if place.namespace and self.fails:
            self.fails = False
            raise OSError(24, "Too many open files")
        if not place.namespace or not self.is_open or (protocol, states) != (TCP, OPEN_STATES):
            return set(), []
        return {b"k"}, [] if b"k" in known else [self._one]


async def test_an_edge_of_a_namespace_that_could_not_be_looked_at_once_is_closed_with_its_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, sockets = Clock(), Sockets()
    made = site(clock=clock)
    made.containers["x"] = KnownContainer("x", 4_242, 1)
    collector = ConnectionsCollector(made)
    monkeypatch.setattr(collector, "_keys", sockets.keys)

    def usage(_proc: str, _pid: int) -> tuple[int, ...]:
        return 1, round(clock.now)

    monkeypatch.setattr("probe.agent.proc_net.usage", usage)

    async def open_after_look() -> list[object]:
        clock.now += 3
        await collector.collect()
        return [edge.get("open") for _, edge in made.ledger["connection"]]

    sockets.fails = True
    await open_after_look()
    assert await open_after_look() == [1]
    sockets.is_open = False
    assert await open_after_look() == [0]
