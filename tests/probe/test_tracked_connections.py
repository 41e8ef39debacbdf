"""What is made of tracked connections: who was answered, and who is behind a translated address."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from probe.agent.collectors import tracked_connections
from probe.agent.collectors.tracked_connections import TrackedConnections
from probe.agent.edges import Edges, Flow
from probe.agent.netlink import TCP, UDP, Tracked
from tests.waiting import until

HERE, THERE = bytes((10, 0, 0, 5)), bytes((10, 0, 0, 9))


def tracked(
    *, protocol: int = TCP, port: int = 40_000, is_new: bool = True, is_answered: bool = False
) -> Tracked:
    ends = (protocol, THERE, port, HERE, 80, HERE, 80, THERE, port)
    return Tracked(*ends, is_new=is_new, is_answered=is_answered, counters=None)


class Kernel:
    """Connection tracking, as a test wants it."""

    def __init__(self) -> None:
        self.unread = 0
        self.table: list[Tracked] = []
        self.dumps = 0
        self.happened: list[Tracked] = []
        self._reading, self._writing = socket.socketpair()

    def fileno(self) -> int:
        return self._reading.fileno()

    def notify(self) -> None:
        self._writing.send(b"1")

    def check(self) -> None:
        pass

    def dump(self) -> Iterator[Tracked]:
        self.dumps += 1
        yield from self.table

    def events(self) -> Iterator[Tracked]:
        while self.happened:
            yield self.happened.pop(0)

    def close(self) -> None:
        self._reading.close()
        self._writing.close()


class World:
    """A kernel, and what is known of it."""

    def __init__(self, proc: Path) -> None:
        self.kernel = Kernel()
        self.edges = Edges(local={HERE: 0})
        self.tracked = TrackedConnections(str(proc), self.edges)

    def happen(self, *events: Tracked) -> None:
        self.kernel.happened += events
        self.tracked.take_events()

    def look(self, now: float) -> int:
        """How many connections are known then."""
        self.tracked.learn(now)
        self.tracked.judge(now)
        return sum(edge.opened for edge in self.edges.edges.values())


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World(tmp_path)
    monkeypatch.setattr(tracked_connections, "ConnectionTracking", lambda: made.kernel)
    made.tracked.start()
    yield made
    made.tracked.close()


async def test_a_connection_that_nobody_answered_is_none(world: World) -> None:
    for protocol in (TCP, UDP):
        world.happen(tracked(protocol=protocol))
        world.kernel.table = [tracked(protocol=protocol)]
        assert world.look(100.0) == 0
        world.happen(tracked(protocol=protocol, is_new=False))
        assert world.look(200.0) == 0


async def test_a_connection_without_a_socket_is_told_when_it_was_answered(world: World) -> None:
    world.look(100.0)
    world.happen(tracked(port=1), tracked(port=2))
    world.kernel.table = [tracked(port=1, is_answered=True), tracked(port=2)]
    assert world.look(103.0) == 0
    # Somebody waits for it, so the next dump comes before its time.
    assert world.look(110.0) == 1
    world.happen(tracked(port=2, is_new=False, is_answered=True))
    assert world.look(113.0) == 2
    assert world.kernel.dumps == 2


async def test_events_that_cannot_be_read_are_the_collector_s_trouble(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def events() -> Iterator[Tracked]:
        raise struct.error("expected a message, saw half of one")

    monkeypatch.setattr(world.kernel, "events", events)
    world.kernel.notify()

    def is_told() -> bool:
        try:
            world.look(100.0)
        except struct.error:
            return True
        return False

    await until(is_told, "it is told")


async def test_a_connection_whose_socket_was_seen_needs_no_answer(world: World) -> None:
    world.happen(tracked())
    world.tracked.learn(100.0)
    oriented = world.edges.orient(0, TCP, HERE, 80, THERE, 40_000)
    assert oriented is not None
    world.edges.opened(oriented[0], now=100.0, evidence="socket")
    world.tracked.judge(100.0)

    assert [(e.opened, e.evidence) for e in world.edges.edges.values()] == [(1, "conntrack")]


async def test_a_datagram_counts_where_somebody_listens_for_it(world: World) -> None:
    world.edges.listeners.note(0, UDP, b"", 80, "", 100.0)
    world.happen(tracked(protocol=UDP), tracked(protocol=TCP))

    assert world.look(100.0) == 1


def test_a_tracked_connection_is_read_from_its_message() -> None:
    if os.geteuid() != 0:
        pytest.skip("connection tracking needs root")
    script = (
        "import socket\n"
        "from tests.probe import conntrack_rule\n"
        "from probe.agent.netlink import ConnectionTracking\n"
        "conntrack_rule.add()\n"
        "from pathlib import Path\n"
        "Path('/proc/sys/net/netfilter/nf_conntrack_acct').write_text('1')\n"
        "tracking = ConnectionTracking()\n"
        "tracking.check()\n"
        "for family, host in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):\n"
        "    server = socket.create_server((host, 0), family=family)\n"
        "    client = socket.create_connection(server.getsockname()[:2])\n"
        "    expected = (client.getsockname()[1], server.getsockname()[1])\n"
        "    address = socket.inet_pton(family, host)\n"
        "    for is_dump, told in enumerate((tracking.events(), tracking.dump())):\n"
        "        (found,) = [one for one in told if len(one.client) == len(address)]\n"
        "        assert found.client == found.server == address, found\n"
        "        assert (found.client_port, found.server_port) == expected, found\n"
        "        assert found.dialled_port == found.server_port and found.is_new, found\n"
        "        assert found.is_answered == is_dump, found\n"
        "        assert not is_dump or min(found.counters) > 40, found\n"
        "        assert (found.seen, found.seen_port) == (address, expected[0]), found\n"
        "    client.close(); server.close()\n"
        "    refused = socket.socket(family)\n"
        "    assert refused.connect_ex((host, expected[1])) != 0\n"
        "    assert not [one for one in tracking.events() if one.is_answered]\n"
        "print('read', tracking.unread)\n"
    )
    command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-c", script], check=False, capture_output=True, text=True
    )

    assert done.stdout == "read 0\n", done.stderr


async def test_a_client_behind_another_address_is_one_client_to_a_server_here(world: World) -> None:
    # As a NodePort makes it: asked for at the node, answered by a pod, which sees the node.
    pod, node = bytes((10, 244, 0, 5)), HERE
    world.edges.local[pod] = 333
    world.edges.listeners.note(333, TCP, b"", 8080, "node;7;1", 100.0)
    ends = (TCP, THERE, 1111, node, 30_080, pod, 8080, node, 2222)
    world.happen(Tracked(*ends, is_new=True, is_answered=False, counters=None))
    world.tracked.learn(100.0)
    oriented = world.edges.orient(333, TCP, pod, 8080, node, 2222)
    assert oriented is not None
    world.edges.opened(oriented[0], now=100.0, evidence="socket")
    world.tracked.judge(100.0)

    assert [(k.client, k.server, e.opened, e.dialled) for k, e in world.edges.edges.items()] == [
        (THERE, pod, 1, (node, 30_080))
    ]


async def test_a_kernel_that_counts_no_bytes_is_told(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "sys" / "net" / "netfilter"
    folder.mkdir(parents=True)
    world.kernel.table = [tracked(is_answered=True)]
    world.look(100.0)
    for text, expected in (("0\n", ["bytes of connections"]), ("1\n", [])):
        (folder / "nf_conntrack_acct").write_text(text)
        assert [miss.what for miss in world.tracked.misses()] == expected


def test_bytes_of_a_connection_that_goes_on_are_counted_once() -> None:
    known = Edges()
    flow = Flow(0, TCP, THERE, 40_000, HERE, 80)
    known.seen(flow, 1.0, "conntrack")
    for to_server, to_client in ((100, 10), (150, 30), (150, 30), (20, 5)):
        known.carried(flow, to_server, to_client)
    (edge,) = known.edges.values()

    # The last is of one that is tracked anew.
    assert (edge.to_server, edge.to_client) == (150 + 20, 30 + 5)


class Marked(Tracked):
    """One that is counted as long as it is kept."""

    alive = 0
    most = 0

    def __new__(cls, *values: Any) -> Self:
        cls.alive += 1
        cls.most = max(cls.most, cls.alive)
        return super().__new__(cls, *values)

    def __del__(self) -> None:
        type(self).alive -= 1


async def test_a_full_table_is_judged_while_it_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows() -> Iterator[Tracked]:
        for port in range(1, 1_001):
            yield Marked(*tracked(port=port, is_answered=True))

    monkeypatch.setattr(world.kernel, "dump", rows)

    assert world.look(100.0) == 1_000
    assert Marked.most <= 2


async def test_events_that_are_too_many_are_counted_and_not_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.look(100.0)
    monkeypatch.setattr(tracked_connections, "_EVENTS_PENDING_MAX", 10)
    world.happen(*(tracked(port=port, is_new=False, is_answered=True) for port in range(1, 31)))

    assert world.look(103.0) == 10
    assert "20 times events came faster" in str(world.tracked.misses())
