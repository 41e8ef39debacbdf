"""From sockets and tracked connections to edges: who the server is, what is counted and kept."""

from __future__ import annotations

import pytest

from probe.agent import edges as edges_module
from probe.agent import listeners
from probe.agent.edges import EDGE_MEMORY_S, Edges, Flow
from probe.agent.netlink import TCP

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


def test_owners_make_no_more_edges_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edges_module, "EDGES_MAX", 3)
    known = edges((80, 7))
    flows = [Flow(0, TCP, THERE, port, HERE, 80) for port in range(10)]
    for flow in flows:
        known.opened(flow, now=1.0, evidence="socket")
    for number, flow in enumerate(flows):
        known.owned(flow, is_server=False, owner=f"node;{number};1")

    counts = {key.client_owner: edge.open for key, edge in known.edges.items()}
    assert counts == {"": 8, "node;0;1": 1, "node;1;1": 1}
    assert known.dropped == 8


def test_an_edge_that_only_becomes_better_known_finds_room_at_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edges_module, "EDGES_MAX", 1)
    known = edges((80, 7))
    flow = Flow(0, TCP, THERE, 40_000, HERE, 80)
    known.opened(flow, now=1.0, evidence="socket")
    (nameless,) = known.edges
    known.owned(flow, is_server=False, owner="node;5;1")

    assert [key.client_owner for key in known.edges] == ["node;5;1"]
    assert known.dropped == 0
    assert list(known.forget(1.0)) == [nameless]
    assert list(known.forget(1.0)) == []


def test_listeners_and_translations_have_bounds_and_what_is_more_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listeners, "LISTENERS_MAX", 2)
    monkeypatch.setattr(edges_module, "FLOWS_MAX", 2)
    known = edges((80, 7), (81, 7))
    kept = [known.listeners.note(0, TCP, HERE, port, "", 1.0) for port in (80, 82)]
    again = known.listeners.note(0, TCP, b"", 80, "", 1_000.0)
    for _ in range(2):
        for port in range(3):
            asked = Flow(0, TCP, HERE, port, bytes((10, 96, 0, 1)), 443)
            known.translate(asked, asked._replace(server=THERE), 1.0)

    assert (kept, again, known.dropped) == ([False, False], True, 2)
    assert not known.listeners.has(0, TCP, 82)
    known.listeners.forget(1_000.0)
    assert known.listeners.note(0, TCP, HERE, 82, "", 1_000.0)


def test_half_of_the_bounds_holds_for_what_is_new_until_they_are_whole_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listeners, "LISTENERS_MAX", 4)
    for name in ("FLOWS_MAX", "EDGES_MAX"):
        monkeypatch.setattr(edges_module, name, 4)
    known = edges((80, 7))

    def keeps(ports: range) -> list[bool]:
        flows = [Flow(0, TCP, THERE, port, HERE, port) for port in ports]
        for flow in flows:
            known.seen(flow, 1.0, "conntrack")
            known.listeners.note(0, TCP, HERE, flow.server_port, "", 1.0)
        return [known.knows(flow) and known.is_served(flow) for flow in flows]

    assert keeps(range(1)) == [True]
    known.bound(0.5)
    assert keeps(range(1, 4)) == [False] * 3
    assert known.knows(Flow(0, TCP, THERE, 1, HERE, 1))
    assert keeps(range(1)) == [True]
    known.bound(1.0)
    assert keeps(range(1, 3)) == [True] * 2


def test_bytes_go_with_a_connection_whose_owner_becomes_known() -> None:
    known = edges((80, 7))
    flow = Flow(0, TCP, THERE, 40_000, HERE, 80)
    known.seen(flow, 1.0, "conntrack")
    known.carried(flow, 1_000, 500)
    known.owned(flow, is_server=False, owner="node;5;1")
    known.carried(flow, 1_500, 700)

    (edge,) = known.edges.values()
    assert (edge.to_server, edge.to_client) == (1_500, 700)


def test_bytes_of_a_connection_that_was_tracked_anew_go_with_it_whole() -> None:
    known = edges((80, 7))
    flow = Flow(0, TCP, THERE, 40_000, HERE, 80)
    known.seen(flow, 1.0, "conntrack")
    for told in ((1_000, 500), (200, 100)):
        known.carried(flow, *told)
    known.owned(flow, is_server=False, owner="node;5;1")

    (edge,) = known.edges.values()
    assert (edge.to_server, edge.to_client) == (1_200, 600)


def test_bytes_of_others_stay_with_their_edge() -> None:
    known = edges((80, 7))
    one, other = (Flow(0, TCP, THERE, port, HERE, 80) for port in (40_000, 40_001))
    for flow, told in ((one, (1_000, 500)), (other, (10, 5))):
        known.seen(flow, 1.0, "conntrack")
        known.carried(flow, *told)
    known.owned(one, is_server=False, owner="node;5;1")

    told = {key.client_owner: (edge.to_server, edge.to_client) for key, edge in known.edges.items()}
    assert told == {"": (10, 5), "node;5;1": (1_000, 500)}
