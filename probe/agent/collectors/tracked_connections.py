"""Connections as the kernel tracks them: events as they come, a dump now and then to be sure.

A new connection is no edge before somebody has answered: its event comes with the first packet,
also of one that is refused or goes nowhere. That somebody was there is told by a socket, by a dump,
or by the event of its end. A datagram that nobody has to answer counts where somebody here listens
for it.
"""

from __future__ import annotations

from probe.agent.collector import Miss
from probe.agent.edges import Edges, Flow
from probe.agent.errors import NetlinkError
from probe.agent.files import read_number, read_or_empty
from probe.agent.metering import Reader
from probe.agent.netlink import UDP, ConnectionTracking, Tracked

_DUMP_S = 60.0
# While there are new ones of which no socket is seen here. A dump of so many takes 25 ms.
_SOON_DUMP_S = 9.0
_SOON_CONNECTIONS_MAX = 5_000
# Of 0.4 kB each.
_EVENTS_PENDING_MAX = 20_000
_TABLE_FULL = 0.95


class TrackedConnections:
    """What connection tracking adds to edges."""

    def __init__(self, proc: str, edges: Edges) -> None:
        self._proc = proc
        self._edges = edges
        self._tracking: ConnectionTracking | None = None
        self._reader: Reader | None = None
        self._problem = "not asked"
        self._pending: list[Tracked] = []
        self._lost_events = 0
        self._dumped_at = float("-inf")
        self._dumped = 0
        self._waiting = 0
        self._any = False

    @property
    def is_used(self) -> bool:
        """Whether it is allowed, and the kernel tracks anything."""
        return self._tracking is not None and self._any

    def start(self) -> None:
        """Join the events, where that is allowed."""
        try:
            self._tracking = ConnectionTracking()
            self._tracking.check()
            self._reader = Reader(self._tracking.fileno(), self.take_events)
        except NetlinkError as error:
            self._problem = str(error)
            if self._tracking is not None:
                self._tracking.close()
                self._tracking = None

    def close(self) -> None:
        """Leave."""
        if self._reader is not None:
            self._reader.close()
        if self._tracking is not None:
            self._tracking.close()

    def misses(self) -> list[Miss]:
        """What it does not see, and what would help."""
        tracking = self._tracking
        if tracking is None:
            what = f"translated addresses, bytes, connections shorter than a look ({self._problem})"
            return [Miss(what, "CAP_NET_ADMIN and the kernel's nf_conntrack")]
        if not self._any:
            what = "translated addresses, bytes: no connection is tracked in this namespace"
            return [Miss(what, "a firewall rule that looks at connection state")]
        misses: list[Miss] = []
        folder = f"{self._proc}/sys/net/netfilter/nf_conntrack"
        count, most = (read_number(f"{folder}_{name}") or 0 for name in ("count", "max"))
        if most and count >= most * _TABLE_FULL:
            what = f"connections that the kernel drops: {count} of {most} are tracked"
            misses.append(Miss(what, "a larger net.netfilter.nf_conntrack_max"))
        if read_or_empty(f"{folder}_acct").strip() == b"0":
            misses.append(Miss("bytes of connections", "net.netfilter.nf_conntrack_acct=1"))
        if self._lost_events:
            what = f"{self._lost_events} times events came faster than they were read"
            misses.append(Miss(what, "more of the budget, or fewer short connections"))
        if tracking.unread:
            what = f"{tracking.unread} tracked connections of a shape that is not known here"
            misses.append(Miss(what, "connections without zones"))
        return misses

    def learn(self, now: float) -> None:
        """Learn translations before sockets are read, which know only what was dialled.

        Raises:
            Exception: whatever ended the reading of events.
        """
        if self._reader is not None:
            self._reader.check()
        for one in self._pending:
            self._any = True
            if one.is_new:
                self._translate(one, now)
        if self._tracking is not None and self._is_dump_due(now):
            self._dump(self._tracking, now)

    def judge(self, now: float) -> None:
        """Count what happened, after sockets have said whose it is."""
        pending, self._pending = self._pending, []
        for one in pending:
            self._judge(one, now)

    def _is_dump_due(self, now: float) -> bool:
        is_soon = self._waiting and self._dumped <= _SOON_CONNECTIONS_MAX
        return now - self._dumped_at >= (_SOON_DUMP_S if is_soon else _DUMP_S)

    def _dump(self, tracking: ConnectionTracking, now: float) -> None:
        """Judge all of them while they are read: a full table is a quarter of a million."""
        self._dumped_at, self._dumped, self._waiting = now, 0, 0
        for one in tracking.dump():
            self._any = True
            self._dumped += 1
            self._translate(one, now)
            self._judge(one, now)

    def take_events(self) -> None:
        """Read the events that have come."""
        assert self._tracking is not None, "only its events call this"
        try:
            for one in self._tracking.events():
                if len(self._pending) < _EVENTS_PENDING_MAX:
                    self._pending.append(one)
                else:
                    self._lost_events += 1
        except NetlinkError:
            self._lost_events += 1

    def _translate(self, one: Tracked, now: float) -> None:
        if (one.dialled, one.dialled_port) != (one.server, one.server_port):
            flow = _flow(one)
            asked = flow._replace(server=one.dialled, server_port=one.dialled_port)
            self._edges.translate(asked, flow, now)
        # Of what goes out by another address the server is elsewhere, and nobody here sees it so.
        is_masked = (one.seen, one.seen_port) != (one.client, one.client_port)
        if is_masked and one.server in self._edges.local:
            flow = _flow(one)
            seen = flow._replace(client=one.seen, client_port=one.seen_port)
            self._edges.translate(seen, flow, now)

    def _judge(self, one: Tracked, now: float) -> None:
        flow = _flow(one)
        counters = one.counters
        if (turned := self._edges.turned(flow)) is not None:
            flow, counters = turned, counters and (counters[1], counters[0])
        if self._edges.knows(flow) or self._was_taken(one, flow):
            self._edges.seen(flow, now, "conntrack")
            if (one.dialled, one.dialled_port) != (one.server, one.server_port):
                self._edges.dialled(flow, one.dialled, one.dialled_port)
            if counters is not None:
                self._edges.carried(flow, *counters)
        elif one.is_new:
            self._waiting += 1

    def _was_taken(self, one: Tracked, flow: Flow) -> bool:
        return one.is_answered or (one.protocol == UDP and self._edges.is_served(flow))


def _flow(one: Tracked) -> Flow:
    return Flow(*(0, one.protocol, one.client, one.client_port, one.server, one.server_port))
