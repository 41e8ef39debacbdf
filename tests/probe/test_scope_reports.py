"""Reports of Weave Scope are taken as they are, and written so that Scope takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.report.errors import ScopeReportError
from probe.report.scope import exporter, importer
from probe.report.scope.importer import Imported, Nodes
from tests.probe.properties import patient

RECORDED = Path(__file__).parents[1] / "fixtures" / "scope" / "report.json"


@pytest.fixture(scope="module")
def recorded() -> Imported:
    return importer.read(RECORDED.read_bytes())


def test_a_recorded_report_keeps_its_nodes(recorded: Imported) -> None:
    counts = {topology: len(nodes) for topology, nodes in recorded.nodes.items()}

    assert counts["host"] == 1
    assert counts["process"] == 131
    assert counts["container"] == 22
    assert counts["container_image"] == 15
    assert recorded.left_out == {"Address": 16, "Overlay": 1}


def test_values_have_their_types(recorded: Imported) -> None:
    host = "vagrant-ubuntu-vivid-64"
    first = recorded.nodes["process"][f"{host};1;0"]
    assert first["pid"] == 1
    assert first["command_line"] == "/sbin/init "
    assert first["host"] == host
    assert isinstance(first["cpu_percent"], float)
    assert isinstance(first["rss_bytes"], int)

    id_ = "1e73af2503bcbe3b100a91663bc2b258a3d1a02faf613f4eb59dae3d5242a149"
    elastic = recorded.nodes["container"][id_]
    assert elastic["name"] == "elasticsearch1"
    assert elastic["state"] == "running"
    assert elastic["addresses"] == ["10.32.0.2", "172.17.0.2"]
    assert elastic["ports"] == ["9200/tcp", "9300/tcp"]
    assert elastic["image"] in recorded.nodes["container_image"]


def test_adjacency_becomes_edges_from_client_to_server(recorded: Imported) -> None:
    endpoints: dict[str, Any] = json.loads(RECORDED.read_text())["Endpoint"]["nodes"]
    adjacent: set[tuple[str, str, int]] = set()
    for node_id, node in endpoints.items():
        servers: list[str] = node["adjacency"] or []
        for _, address, port in (server.split(";") for server in servers):
            adjacent.add((node_id.split(";")[1], address, int(port)))
    edges = {
        (edge["client_address"], edge["server_address"], edge["server_port"])
        for edge in recorded.nodes["connection"].values()
    }

    assert edges == adjacent
    assert any("client" in edge for edge in recorded.nodes["connection"].values())


def test_what_was_read_and_written_reads_the_same(recorded: Imported) -> None:
    written = exporter.write(recorded.nodes, probe="p", time_ms=1_000)
    again = importer.read(written)

    for topology in ("host", "process", "container", "container_image"):
        assert again.nodes[topology] == recorded.nodes[topology]
    ends = ("client_address", "server_address", "server_port")
    assert {tuple(e[n] for n in ends) for e in again.nodes["connection"].values()} == {
        tuple(e[n] for n in ends) for e in recorded.nodes["connection"].values()
    }


def test_a_written_report_has_what_scope_s_app_needs(recorded: Imported) -> None:
    written: dict[str, Any] = json.loads(exporter.write(recorded.nodes, probe="p", time_ms=0))

    assert written["Window"] > 0
    for topology in ("Host", "Process", "Container", "ContainerImage"):
        section = written[topology]
        assert section["metadata_templates"]
        assert all(id_ == node["id"] for id_, node in section["nodes"].items())
    ids = {node for name in ("Host", "Container") for node in written[name]["nodes"]}
    parents = [
        p for n in written["Process"]["nodes"].values() for p in n["parents"].get("host", [])
    ]
    assert set(parents) <= ids


def edge(client: str, server: str, port: int, *, open_: int = 1) -> dict[str, Any]:
    ends = {"client_address": client, "server_address": server, "server_port": port}
    return {"host": "h", "protocol": "tcp", "open": open_, **ends}


def endpoints(edges: dict[str, dict[str, Any]]) -> dict[str, Any]:
    written = exporter.write({"connection": edges}, probe="p", time_ms=1_000)
    return json.loads(written)["Endpoint"]["nodes"]


def clients(edges: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    return {id_: n["adjacency"] for id_, n in endpoints(edges).items() if n["adjacency"]}


def test_no_client_is_taken_for_a_server() -> None:
    edges = {f"h;0;tcp;10.0.0.5;10.0.0.9;{n};7;0": edge("10.0.0.5", "10.0.0.9", n) for n in (1, 2)}
    # Whoever listens on a port of the client's machine.
    for port in range(1, 100):
        edges[f"h;0;tcp;10.0.0.8;10.0.0.5;{port};0;0"] = edge("10.0.0.8", "10.0.0.5", port)

    assert all(";10.0.0.5;" not in id_ or int(id_.split(";")[2]) > 65_535 for id_ in clients(edges))
    assert len(clients(edges)) == len(edges)


def test_a_client_is_the_same_in_each_report_and_another_of_each_host() -> None:
    one = {"h;0;tcp;10.0.0.5;10.0.0.9;80;7;0": edge("10.0.0.5", "10.0.0.9", 80)}
    before = {"h;0;tcp;10.0.0.4;10.0.0.9;80;6;0": edge("10.0.0.4", "10.0.0.9", 80)}
    elsewhere = {"i;0;tcp;10.0.0.5;10.0.0.9;81;7;0": edge("10.0.0.5", "10.0.0.9", 81)}

    assert clients(one).items() < clients(before | one).items()
    assert not clients(one).keys() & clients(elsewhere).keys()


def test_loopback_addresses_of_hosts_and_namespaces_are_not_one() -> None:
    def ids(host: str, namespace: int, address: str) -> set[str]:
        found = edge(address, address, 80)
        return set(endpoints({f"{host};{namespace};tcp;{address};{address};80;1;2": found}))

    for address in ("127.0.0.1", "127.9.8.7", "::1"):
        assert not ids("h", 0, address) & ids("i", 0, address)
        assert not ids("h", 0, address) & ids("h", 7, address)
    assert ";10.0.0.1;80" in ids("h", 0, "10.0.0.1")


def test_edges_that_have_ended_are_not_told() -> None:
    ended = {"h;0;tcp;10.0.0.5;10.0.0.9;80;7;0": edge("10.0.0.5", "10.0.0.9", 80, open_=0)}

    assert endpoints(ended) == {}


def test_newer_sections_and_empty_ones_are_no_harm() -> None:
    document = {
        "Host": {"nodes": {"h;<host>": {"id": "h;<host>", "latest": None, "sets": None}}},
        "ECSTask": {"nodes": {"t": {"id": "t"}}},
        "Pod": {"nodes": None},
        "Plugins": [{"id": "x"}],
        "DNS": {"1.2.3.4": {"forward": ["a"]}},
    }
    found = importer.read(json.dumps(document).encode())

    assert found.nodes == {"host": {"h": {}}}
    assert found.left_out == {"ECSTask": 1}


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"Host": 3}', b'{"Host": {"nodes": []}}', b"\xff", b'{"ID": "x"}']
)
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(ScopeReportError, match="expected"):
        importer.read(data)


@pytest.mark.parametrize("number", ["\u00b2", "--5", "-", "9" * 5_000, "5_0", "\u0667", " 5", ""])
def test_what_is_no_number_is_left_out(number: str) -> None:
    document = {
        "Process": {"nodes": {"h;7": {"latest": {"pid": {"value": number}}}}},
        "Endpoint": {"nodes": {f";1.2.3.4;{number}": {"adjacency": [";5.6.7.8;80"]}}},
    }
    found = importer.read(json.dumps(document).encode())

    assert found.nodes == {"process": {"h;7;0": {}}}


NAMES = st.text(st.characters(codec="ascii", exclude_characters=";"), min_size=1, max_size=6)
PROCESSES = st.fixed_dictionaries(
    {"pid": st.integers(1, 9999), "name": st.text(min_size=1, max_size=9)},
    optional={"cpu_percent": st.floats(0, 100), "rss_bytes": st.integers(0, 1 << 40)},
)


@patient
@given(st.dictionaries(NAMES.map(lambda n: f"h;{n};0"), PROCESSES, max_size=5))
def test_processes_survive_the_way_there_and_back(processes: dict[str, Any]) -> None:
    nodes: Nodes = {"process": processes}
    again = importer.read(exporter.write(nodes, probe="p", time_ms=5))

    assert again.nodes.get("process", {}) == processes
