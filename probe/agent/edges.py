"""From sockets and tracked connections to who talks to whom: decisions only, no input or output.

A *flow* is one connection, oriented: address and port of the client, address and port of the
server. A local port on which somebody listens, or has listened a moment ago, makes a socket the
server's side; every other socket is a client's. Flows of one client, one server and one server port
are one *edge*: it costs one node however many connections it has, and clients' ports do not matter.

What is not known is left out, never guessed: a connection that was seen only after its end has no
owner, and an address that no container claims belongs to none. An *owner* is the id of a process,
which no other one gets, as opposed to its pid; it is empty for an unknown one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from probe.agent.listeners import Listeners

# How long a flow, and with it its edge, stays without an open socket. Longer than the kernel tracks
# a connection that has ended (120 s), and than two dumps are apart: one that a dump tells of again
# must not look new.
EDGE_MEMORY_S = 150.0
# How long a translation waits for its flow: longer than any socket waits to be looked at.
TRANSLATION_MEMORY_S = 60.0
# What is kept has bounds, whatever a node does: a flow takes 0.5 kB, an edge with its row 1.2, and
# a socket with its names 1.2.
FLOWS_MAX = 50_000
EDGES_MAX = 15_000
SOCKETS_MAX = 30_000


class Flow(NamedTuple):
    """One connection, oriented. `namespace` tells loopback addresses apart; it is 0 for others,
    so that both sides of a connection between two namespaces are one flow."""

    namespace: int
    protocol: int
    client: bytes
    client_port: int
    server: bytes
    server_port: int


class EdgeKey(NamedTuple):
    """What makes an edge."""

    namespace: int
    protocol: int
    client: bytes
    server: bytes
    server_port: int
    client_owner: str
    server_owner: str


@dataclass(slots=True)
class Edge:
    """An edge. `opened` counts up, `open` is now. Containers are those that its ends ran in while
    they did."""

    open: int = 0
    opened: int = 0
    begun_at: float = 0.0
    seen_at: float = 0.0
    client_container: str | None = None
    server_container: str | None = None
    evidence: str = "socket"
    dialled: tuple[bytes, int] | None = None
    to_server: int | None = None
    to_client: int | None = None


@dataclass(slots=True)
class _Known:
    """A flow that is known. `sockets`: how many of its two sides are open here; `carried`: bytes
    that were counted already."""

    key: EdgeKey
    sockets: int
    seen_at: float
    carried: tuple[int, int] | None = None


_LOOPBACK_V6 = bytes(15) + b"\x01"


def is_loopback(address: bytes) -> bool:
    """Whether an address means another place in every network namespace."""
    return address[0] == 127 if len(address) == 4 else address == _LOOPBACK_V6  # noqa: PLR2004 - 127/8, IPv4


@dataclass
class Edges:
    """All edges, and the flows that they are made of."""

    ephemeral: range = range(32_768, 61_000)
    """Ports that the kernel gives to clients."""
    listeners: Listeners = field(default_factory=Listeners)
    edges: dict[EdgeKey, Edge] = field(default_factory=dict[EdgeKey, Edge])
    changed: set[EdgeKey] = field(default_factory=set[EdgeKey])
    dropped: int = 0
    """How often a listener, a flow, its edge, its owner, its translation or its socket was one too
    many."""
    local: dict[bytes, int] = field(default_factory=dict[bytes, int])
    """Addresses of this host and its containers, each with its network namespace: what somebody
    listens on here says nothing of another host's ports."""
    share: float = 1.0
    """How much of the bounds is used."""
    _sockets: int = 0
    _flows: dict[Flow, _Known] = field(default_factory=dict[Flow, _Known])
    _translated: dict[Flow, tuple[Flow, float]] = field(
        default_factory=dict[Flow, tuple[Flow, float]]
    )
    _left: set[EdgeKey] = field(default_factory=set[EdgeKey])

    def bound(self, share: float) -> None:
        """Use this share of the bounds from now on: what there is more stays until it is over."""
        self.share = self.listeners.share = share

    def orient(  # noqa: PLR0913, PLR0917 - the two ends of a socket
        self,
        namespace: int,
        protocol: int,
        local: bytes,
        local_port: int,
        remote: bytes,
        remote_port: int,
    ) -> tuple[Flow, bool] | None:
        """The flow that a socket is a side of, and whether that is the server's.

        None where nothing tells: nobody listens on either port any more, and both are of the kind
        that clients are given.
        """
        scope = namespace if is_loopback(local) or is_loopback(remote) else 0
        mine = self.listeners.has(namespace, protocol, local_port)
        if mine is not self._listens_there(namespace, protocol, remote, remote_port):
            is_server = mine
        else:
            is_server = local_port not in self.ephemeral
            looks_alike = is_server is (remote_port not in self.ephemeral)
            # Of another host nothing is known; who has a port of clients here is one.
            is_within = remote in self.local or is_loopback(remote)
            if looks_alike and (is_within or is_server):
                return None
        if is_server:
            seen = Flow(scope, protocol, remote, remote_port, local, local_port)
            return self._original(seen), True
        asked = Flow(scope, protocol, local, local_port, remote, remote_port)
        return self._original(asked), False

    def turned(self, flow: Flow) -> Flow | None:
        """A tracked connection the other way round, where that is how it was made; None else.

        The kernel begins to track a connection that is older than its tracking with whichever
        packet it sees first, and takes who sent that for the client.
        """
        protocol, client, server = flow.protocol, flow.client, flow.server
        if not self._listens_there(flow.namespace, protocol, client, flow.client_port):
            return None
        if self._listens_there(flow.namespace, protocol, server, flow.server_port):
            return None
        # Who listens on another host is not known: there, ports alone tell clients from servers.
        is_within = server in self.local or is_loopback(server)
        is_server = flow.client_port not in self.ephemeral
        if not is_within and not (is_server and flow.server_port in self.ephemeral):
            return None
        return Flow(flow.namespace, protocol, server, flow.server_port, client, flow.client_port)

    def _listens_there(self, namespace: int, protocol: int, remote: bytes, port: int) -> bool:
        if not is_loopback(remote):
            here = self.local.get(remote)
            if here is None:
                return False
            namespace = here
        return self.listeners.has(namespace, protocol, port)

    def _original(self, seen: Flow) -> Flow:
        found = self._translated.get(seen)
        return seen if found is None else found[0]

    def translate(self, seen: Flow, flow: Flow, now: float) -> None:
        """Note how a flow of which an address is translated looks to the client, who asked for
        another one, or to a server here, who is asked by another one."""
        if seen in self._translated or len(self._translated) < FLOWS_MAX * self.share:
            self._translated[seen] = (flow, now)
        else:
            self.dropped += 1

    def knows(self, flow: Flow) -> bool:
        """Whether a flow has been seen."""
        return flow in self._flows

    def is_served(self, flow: Flow) -> bool:
        """Whether somebody is known to listen where a flow goes to."""
        return self._listens_there(flow.namespace, flow.protocol, flow.server, flow.server_port)

    def opened(self, flow: Flow, *, now: float, evidence: str) -> bool:
        """A socket of a flow is open; False where that is one too many to keep."""
        if self._sockets >= SOCKETS_MAX * self.share:
            self.dropped += 1
            return False
        known = self._flows.get(flow) or self._begin(flow, now, evidence)
        if known is None:
            return False
        self._sockets += 1
        known.sockets += 1
        self._touch(known, now)
        if known.sockets == 1:
            self._count(known.key, 1)
        return True

    def owned(self, flow: Flow, *, is_server: bool, owner: str) -> None:
        """Who owns a side of a flow has become known."""
        known = self._flows.get(flow)
        if known is None or not owner:
            return
        column = "server_owner" if is_server else "client_owner"
        if getattr(known.key, column) != owner:
            self._move(known, known.key._replace(**{column: owner}))

    def closed(self, flow: Flow, now: float) -> None:
        """A socket of a flow has gone."""
        known = self._flows.get(flow)
        if known is None or not known.sockets:
            return
        known.sockets -= 1
        self._sockets -= 1
        self._touch(known, now)
        if not known.sockets:
            self._count(known.key, -1)

    def seen(self, flow: Flow, now: float, evidence: str) -> None:
        """A connection was there, whether or not it still is."""
        known = self._flows.get(flow)
        if known is None:
            self._begin(flow, now, evidence)
        else:
            self._touch(known, now)
            edge = self.edges[known.key]
            if edge.evidence != evidence and evidence == "conntrack":
                edge.evidence = evidence
                self.changed.add(known.key)

    def dialled(self, flow: Flow, address: bytes, port: int) -> None:
        """What the client of a flow asked for."""
        known = self._flows.get(flow)
        if known is not None:
            self.edges[known.key].dialled = (address, port)
            self.changed.add(known.key)

    def carried(self, flow: Flow, to_server: int, to_client: int) -> None:
        """How many bytes a flow has carried in all, up to now."""
        known = self._flows.get(flow)
        if known is None or known.carried == (to_server, to_client):
            return
        before = known.carried or (0, 0)
        if to_server < before[0] or to_client < before[1]:
            before = (0, 0)  # Tracked anew.
        known.carried = (to_server, to_client)
        edge = self.edges[known.key]
        _carry(edge, (to_server - before[0], to_client - before[1]), 1)
        self.changed.add(known.key)

    def forget(self, now: float) -> Iterable[EdgeKey]:
        """Let go of what has been over for long; returns the edges that are gone."""
        over = [
            flow
            for flow, known in self._flows.items()
            if not known.sockets and now - known.seen_at > EDGE_MEMORY_S
        ]
        for flow in over:
            del self._flows[flow]
        for seen in [
            seen
            for seen, (flow, at) in self._translated.items()
            if flow not in self._flows and now - at > TRANSLATION_MEMORY_S
        ]:
            del self._translated[seen]
        gone = [
            key
            for key, edge in self.edges.items()
            if not edge.open and now - edge.seen_at > EDGE_MEMORY_S
        ]
        for key in gone:
            del self.edges[key]
            self.changed.discard(key)
        gone += [key for key in self._left if key not in self.edges]
        self._left.clear()
        self.listeners.forget(now)
        return gone

    def leave(self, gone: set[EdgeKey]) -> None:
        """Let go of edges at once: somebody else has an address of theirs now."""
        for flow in [flow for flow, known in self._flows.items() if known.key in gone]:
            del self._flows[flow]
        for key in gone:
            del self.edges[key]
        self.changed -= gone

    def _touch(self, known: _Known, now: float) -> None:
        """An edge outlives all of its flows."""
        known.seen_at = now
        edge = self.edges[known.key]
        edge.seen_at = max(edge.seen_at, now)

    def _begin(self, flow: Flow, now: float, evidence: str) -> _Known | None:
        namespace, protocol, client, _, server, port = flow
        key = EdgeKey(namespace, protocol, client, server, port, "", self._listener(flow))
        is_too_many = key not in self.edges and len(self.edges) >= EDGES_MAX * self.share
        if is_too_many or len(self._flows) >= FLOWS_MAX * self.share:
            self.dropped += 1
            return None
        known = self._flows[flow] = _Known(key, 0, now)
        edge = self.edges.setdefault(key, Edge(evidence=evidence, begun_at=now))
        edge.opened += 1
        edge.seen_at = now
        self.changed.add(key)
        return known

    def _listener(self, flow: Flow) -> str:
        """Who listens where a flow goes to, if that is here."""
        if is_loopback(flow.server):
            namespace = flow.namespace
        elif (here := self.local.get(flow.server)) is not None:
            namespace = here
        else:
            return ""
        return self.listeners.owner(namespace, flow.protocol, flow.server, flow.server_port)

    def _move(self, known: _Known, key: EdgeKey) -> None:
        """Count a flow to another edge, of which more is known, with what it has carried."""
        old = self.edges[known.key]
        # Nobody else was counted to it: it has only become better known.
        is_left = old.opened == 1
        if key not in self.edges and not is_left and len(self.edges) >= EDGES_MAX * self.share:
            self.dropped += 1
            return
        carried = (old.to_server, old.to_client) if is_left else known.carried or (None, None)
        if is_left:
            del self.edges[known.key]
            self.changed.discard(known.key)
            self._left.add(known.key)
        else:
            old.opened -= 1
            old.open -= 1 if known.sockets else 0
            _carry(old, carried, -1)
            self.changed.add(known.key)
        fresh = Edge(evidence=old.evidence, dialled=old.dialled, begun_at=old.begun_at)
        edge = self.edges.setdefault(key, fresh)
        edge.opened += 1
        edge.open += 1 if known.sockets else 0
        edge.seen_at = max(edge.seen_at, old.seen_at)
        _carry(edge, carried, 1)
        self.changed.add(key)
        known.key = key

    def _count(self, key: EdgeKey, step: int) -> None:
        edge = self.edges[key]
        edge.open += step
        self.changed.add(key)


def _carry(edge: Edge, carried: tuple[int | None, int | None], sign: int) -> None:
    to_server, to_client = carried
    if to_server is not None and to_client is not None:
        edge.to_server = (edge.to_server or 0) + sign * to_server
        edge.to_client = (edge.to_client or 0) + sign * to_client
