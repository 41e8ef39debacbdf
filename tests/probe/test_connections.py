"""Who talks to whom: decided on values, and found among real sockets in namespaces of our own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from probe.agent import edges as edges_module
from probe.agent.edges import EDGE_MEMORY_S, Edges, Flow
from probe.agent.netlink import (
    LISTEN_STATES,
    OPEN_STATES,
    TCP,
    SocketDiagnostics,
)
from probe.agent.proc_net import Tables

HERE, THERE = bytes((10, 0, 0, 5)), bytes((10, 0, 0, 9))
LOOPBACK = bytes((127, 0, 0, 1))


def edges(*listeners: tuple[int, int]) -> Edges:
    """Edges of a host at HERE; listeners as port and pid."""
    made = Edges(local={HERE: 0})
    for port, pid in listeners:
        made.listeners.note(0, TCP, b"", port, f"node;{pid};1", 0.0)
    return made


def test_who_listens_is_the_server() -> None:
    known = edges((80, 7))

    assert known.orient(0, TCP, HERE, 80, THERE, 40_000) == (
        Flow(0, TCP, THERE, 40_000, HERE, 80),
        True,
    )
    assert known.orient(0, TCP, HERE, 40_000, THERE, 80) == (
        Flow(0, TCP, HERE, 40_000, THERE, 80),
        False,
    )


def test_where_nothing_tells_who_the_client_is_nothing_is_said() -> None:
    assert edges().orient(0, TCP, LOOPBACK, 40_000, LOOPBACK, 41_000) is None
    assert edges().orient(0, TCP, LOOPBACK, 5_000, LOOPBACK, 6_000) is None


def test_a_listener_that_has_gone_is_remembered_for_its_connections() -> None:
    known = edges((40_001, 7))
    list(known.forget(100.0))

    assert known.orient(0, TCP, LOOPBACK, 50_000, LOOPBACK, 40_001) is not None
    list(known.forget(1_000.0))
    assert known.orient(0, TCP, LOOPBACK, 50_000, LOOPBACK, 40_001) is None


def test_connections_of_one_client_to_one_port_are_one_edge() -> None:
    known = edges((80, 7))
    for port in range(40_000, 40_005):
        flow = Flow(0, TCP, THERE, port, HERE, 80)
        known.opened(flow, now=1.0, evidence="socket")
        known.owned(flow, is_server=True, owner="node;9;1")
    known.closed(Flow(0, TCP, THERE, 40_000, HERE, 80), 2.0)
    (edge,) = [edge for edge in known.edges.values() if edge.opened]

    assert (edge.open, edge.opened) == (4, 5)


def test_both_sides_of_a_connection_are_one_flow_with_both_owners() -> None:
    known = edges((80, 7))
    flow = Flow(0, TCP, LOOPBACK, 40_000, LOOPBACK, 80)
    known.opened(flow, now=1.0, evidence="socket")
    known.opened(flow, now=1.0, evidence="socket")
    known.owned(flow, is_server=False, owner="node;5;1")
    known.owned(flow, is_server=True, owner="node;7;1")
    (key,) = [key for key, edge in known.edges.items() if edge.opened]

    assert (key.client_owner, key.server_owner) == ("node;5;1", "node;7;1")
    assert known.edges[key].open == 1


def test_a_listener_here_says_nothing_of_another_host_s_port() -> None:
    known = edges((80, 7))
    known.seen(Flow(0, TCP, HERE, 40_000, THERE, 80), 1.0, "socket")
    (key,) = known.edges

    assert not key.server_owner


def test_an_edge_stays_for_a_while_after_its_last_connection() -> None:
    known = edges((80, 7))
    known.seen(Flow(0, TCP, THERE, 40_000, HERE, 80), 1.0, "conntrack")

    assert list(known.forget(1.0 + EDGE_MEMORY_S)) == []
    assert len(list(known.forget(1.1 + EDGE_MEMORY_S))) == 1
    assert known.edges == {}


def test_a_connection_that_a_dump_tells_of_again_is_not_another_one() -> None:
    known = edges((80, 7))
    flow = Flow(0, TCP, THERE, 40_000, HERE, 80)
    known.opened(flow, now=1.0, evidence="socket")
    known.closed(flow, 2.0)
    for now in (60.0, 120.0, 180.0):
        known.seen(flow, now, "conntrack")
        assert list(known.forget(now)) == []

    assert [edge.opened for edge in known.edges.values() if edge.opened] == [1]
    list(known.forget(181.0 + EDGE_MEMORY_S))
    known.closed(flow, 400.0)
    assert known.edges == {}


def test_a_connection_older_than_its_tracking_is_turned_to_who_listens() -> None:
    known = edges((5432, 1), (40_109, 2), (123, 3))

    # The server's packet came first, to a client here or elsewhere.
    for one, other in ((LOOPBACK, LOOPBACK), (HERE, HERE), (HERE, THERE)):
        seen = Flow(0, TCP, one, 5432, other, 41_000)
        assert known.turned(seen) == Flow(0, TCP, other, 41_000, one, 5432)
    # A server at a port of the kind that clients are given, too, where all is known.
    seen = Flow(0, TCP, LOOPBACK, 40_109, LOOPBACK, 41_000)
    assert known.turned(seen) == Flow(0, TCP, LOOPBACK, 41_000, LOOPBACK, 40_109)
    for right in (
        # As it was made; of nobody who listens; between two who do; of another host's, who may be.
        Flow(0, TCP, HERE, 41_000, HERE, 5432),
        Flow(0, TCP, HERE, 41_000, HERE, 41_001),
        Flow(0, TCP, HERE, 123, HERE, 5432),
        Flow(0, TCP, HERE, 123, THERE, 123),
        Flow(0, TCP, HERE, 40_109, THERE, 41_000),
        Flow(0, TCP, THERE, 5432, HERE, 41_000),
    ):
        assert known.turned(right) is None, right


def test_a_translated_address_leads_to_the_server_that_answered() -> None:
    known = edges()
    asked = Flow(0, TCP, HERE, 40_000, bytes((10, 96, 0, 1)), 443)
    answered = Flow(0, TCP, HERE, 40_000, THERE, 6443)
    known.translate(asked, answered, 1.0)

    assert known.orient(0, TCP, HERE, 40_000, bytes((10, 96, 0, 1)), 443) == (answered, False)


def test_what_is_kept_has_bounds_and_what_is_more_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, most in (("FLOWS_MAX", 6), ("EDGES_MAX", 2), ("SOCKETS_MAX", 3)):
        monkeypatch.setattr(edges_module, name, most)
    known = edges((80, 7))
    for port in range(4):
        for client in (THERE, LOOPBACK, HERE):
            known.seen(Flow(0, TCP, client, port, HERE, 80), 1.0, "conntrack")
    assert (len(known.edges), known.dropped) == (2, 6)
    flows = [Flow(0, TCP, THERE, port, HERE, 80) for port in range(3)]
    kept = [known.opened(flow, now=1.0, evidence="socket") for flow in flows]
    assert kept == [True, True, True]
    assert not known.opened(flows[0], now=1.0, evidence="socket")
    known.closed(flows[0], 2.0)
    assert known.opened(flows[0], now=2.0, evidence="socket")
    assert known.dropped == 7


# Real sockets


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
            assert locals_ == {LOOPBACK, bytes(15) + b"\x01"}
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
