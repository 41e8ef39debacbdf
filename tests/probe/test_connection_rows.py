"""What is told of connections: who is at their ends, and in which container."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import pytest

from probe.agent.collectors.connection_rows import ConnectionRows
from probe.agent.collectors.connections import ConnectionsCollector
from probe.agent.edges import Edges, Flow
from probe.agent.netlink import TCP
from probe.agent.owners import Owners
from probe.agent.site import KnownContainer, KnownProcess, Site
from probe.report.schema import Value
from tests.probe.sites import site

HERE, THERE = bytes((10, 0, 0, 5)), bytes((10, 0, 0, 9))
SHORT = Flow(0, TCP, THERE, 40_000, HERE, 80)


def look(rows: ConnectionRows, now: float) -> None:
    """As the collector does, between learning of containers and looking at connections."""
    rows.link()
    rows.tell((), now)


def told(place: Site) -> list[Mapping[str, Value]]:
    return [row for _, row in place.ledger["connection"]]


class Bridge:
    """A host whose containers get an address of one bridge, one after the other."""

    def __init__(self) -> None:
        self.place = site()
        self.known = Edges()
        self.rows = ConnectionRows(self.place, self.known)

    def begin(self, id_: str, namespace: int) -> None:
        self.place.ledger["container"].put(id_, state="running")
        self.place.containers[id_] = KnownContainer(id_, namespace, namespace, ("10.0.0.5",))
        self.place.containers_version += 1
        self.known.local[HERE] = namespace

    def end(self, id_: str) -> None:
        del self.place.containers[id_]
        self.place.ledger["container"].remove(id_)
        self.place.containers_version += 1

    def seen(self, port: int, now: float) -> None:
        self.known.seen(SHORT._replace(client_port=port), now, "conntrack")
        look(self.rows, now)


def test_a_container_that_becomes_known_later_is_told_of_at_its_connections() -> None:
    place = site()
    place.processes[5] = KnownProcess("node;5;1", 1)
    place.ledger["process"].put("node;5;1", pid=5)
    known = Edges(local={HERE: 0})
    rows = ConnectionRows(place, known)
    flow = Flow(0, TCP, HERE, 40_000, THERE, 80)
    known.opened(flow, now=1.0, evidence="socket")
    known.owned(flow, is_server=False, owner="node;5;1")
    look(rows, 1.0)
    ((_, before),) = list(place.ledger["connection"])
    assert "client_container" not in before

    place.containers_version += 1
    look(rows, 4.0)
    place.ledger["process"].put("node;5;1", container="c")
    look(rows, 7.0)

    ((_, after),) = list(place.ledger["connection"])
    assert (after["client"], after["client_container"]) == ("node;5;1", "c")


@pytest.mark.parametrize(
    ("acting", "expected"),
    [(("app",), "app"), (("app", "beside"), "pause"), ((), "pause")],
)
def test_a_connection_without_an_owner_is_its_pod_s(acting: tuple[str, ...], expected: str) -> None:
    place = site()
    for id_ in ("pause", *acting):
        place.ledger["container"].put(id_, pause=id_ == "pause")
        place.containers[id_] = KnownContainer(id_, 7, 70)
    # Of another pod, and of the host's network.
    place.containers["other"] = KnownContainer("other", 8, 80)
    place.containers["host"] = KnownContainer("host", 9, 0)
    known = Edges(local={HERE: 70})
    rows = ConnectionRows(place, known)
    known.seen(Flow(0, TCP, HERE, 40_000, THERE, 80), 1.0, "conntrack")
    look(rows, 1.0)

    (row,) = told(place)
    assert row["client_container"] == expected
    assert "server_container" not in row


def test_an_edge_of_a_container_that_ended_is_not_of_who_has_its_address_now() -> None:
    host = Bridge()
    host.begin("a", 111)
    look(host.rows, 1.0)
    host.seen(40_000, 2.0)
    assert [row["server_container"] for row in told(host.place)] == ["a"]

    host.end("a")
    look(host.rows, 5.0)
    host.known.edges[next(iter(host.known.edges))].opened += 1
    host.known.changed |= host.known.edges.keys()
    look(host.rows, 8.0)
    assert [row["server_container"] for row in told(host.place)] == ["a"]

    host.begin("b", 222)
    look(host.rows, 11.0)
    host.seen(40_001, 14.0)
    assert [(row["server_container"], row["opened"]) for row in told(host.place)] == [("b", 1)]


def test_an_edge_of_an_address_that_was_nobody_s_is_not_of_who_gets_it_later() -> None:
    host = Bridge()
    host.seen(40_000, 1.0)
    host.begin("b", 222)
    look(host.rows, 30.0)

    assert ["server_container" in row for row in told(host.place)] == [False]


def test_an_edge_stays_with_the_process_that_owned_it_when_its_pid_is_another_one_s() -> None:
    host = Bridge()
    processes = host.place.ledger["process"]
    processes.put("node;500;1", container="a")
    host.place.processes[500] = KnownProcess("node;500;1", 1)
    host.known.opened(SHORT, now=0.0, evidence="socket")
    host.known.owned(SHORT, is_server=True, owner="node;500;1")
    look(host.rows, 0.0)
    processes.remove("node;500;1")
    processes.put("node;500;99", container="b")
    host.place.processes[500] = KnownProcess("node;500;99", 1)
    host.known.closed(SHORT, 1.0)
    again = SHORT._replace(client_port=40_001)
    host.known.opened(again, now=1.0, evidence="socket")
    host.known.owned(again, is_server=True, owner="node;500;99")
    look(host.rows, 1.0)

    assert [(row["server"], row["server_container"], row["open"]) for row in told(host.place)] == [
        ("node;500;1", "a", 0),
        ("node;500;99", "b", 1),
    ]


async def test_a_listener_that_nobody_owns_is_searched_for_now_and_then_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[set[int]] = []

    def find(_: Owners, inodes: set[int], pids: list[int], now: float) -> dict[int, int]:
        asked.append(set(inodes))
        return {}

    monkeypatch.setattr(Owners, "find", find)
    collector = ConnectionsCollector(site())
    with socket.create_server(("127.0.0.1", 0)) as server:
        inode = os.fstat(server.fileno()).st_ino
        for _ in range(25):
            await collector.collect()
    assert sum(inode in one for one in asked) == 4 + 1
    assert not any(0 in one for one in asked)
