"""What is told of connections: who is at their ends, and in which container."""

from __future__ import annotations

import pytest

from probe.agent.collectors.connection_rows import ConnectionRows
from probe.agent.edges import Edges, Flow
from probe.agent.netlink import TCP
from probe.agent.site import KnownContainer, KnownProcess
from tests.probe.sites import site

HERE, THERE = bytes((10, 0, 0, 5)), bytes((10, 0, 0, 9))


def test_a_container_that_becomes_known_later_is_told_of_at_its_connections() -> None:
    place = site()
    place.processes[5] = KnownProcess("node;5;1", 1)
    place.ledger["process"].put("node;5;1", pid=5)
    known = Edges(local={HERE: 0})
    rows = ConnectionRows(place, known)
    flow = Flow(0, TCP, HERE, 40_000, THERE, 80)
    known.opened(flow, is_server=False, pid=0, now=1.0, evidence="socket")
    known.owned(flow, is_server=False, pid=5)
    rows.tell(())
    ((_, before),) = list(place.ledger["connection"])
    assert "client_container" not in before

    place.containers_version += 1
    rows.tell(())
    place.ledger["process"].put("node;5;1", container="c")
    rows.tell(())

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
    rows.tell(())

    ((_, told),) = list(place.ledger["connection"])
    assert told["client_container"] == expected
    assert "server_container" not in told
