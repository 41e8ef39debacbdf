"""Who talks to whom: sockets of every network namespace, and tracked connections.

Sockets of the own namespace come from socket diagnostics, those of containers from `/proc/PID/net`.
Between two looks only keys are compared; addresses are read of new ones alone. Sockets that wait
for their end (TIME_WAIT) tell of connections that came and went between two looks. Connection
tracking, where allowed and switched on, adds those that left no trace, addresses that are
translated, and bytes. Nothing of the kernel's settings is changed.
"""

from __future__ import annotations

import contextlib
import ipaddress
from typing import ClassVar

from probe.agent import proc_net
from probe.agent.collector import Capability, Miss, State
from probe.agent.collectors.addresses import interface_addresses
from probe.agent.collectors.connection_rows import ConnectionRows
from probe.agent.collectors.tracked_connections import TrackedConnections
from probe.agent.edges import EDGES_MAX, FLOWS_MAX, SOCKETS_MAX, Edges, Flow
from probe.agent.errors import NetlinkError
from probe.agent.files import read_or_empty
from probe.agent.listeners import LISTENERS_MAX
from probe.agent.netlink import (
    CLOSING_STATES,
    LISTEN_STATES,
    OPEN_STATES,
    TCP,
    UDP,
    UNCONNECTED_STATES,
    Dumped,
    SocketDiagnostics,
)
from probe.agent.owners import Owners
from probe.agent.place import Open, Place
from probe.agent.proc_net import Tables
from probe.agent.site import Site

_RESOLVE_LOOKS_MAX = 4
_SEARCH_LOOKS = 20
_ADDRESS_LOOKS = 10
# A glance costs 0.1 ms, a look 3 ms. A thousand namespaces are glanced at in 12 s; what came and
# went meanwhile still waits for its end (TIME_WAIT, 60 s).
_GLANCES_A_LOOK = 256
_PLACES_A_LOOK = 12
_PLACE_S_MAX = 45.0
_CONNECTED_STATES = 1 << 1


class ConnectionsCollector:
    """Looks at connections and at who listens."""

    name: ClassVar[str] = "connections"
    interval_s: ClassVar[float] = 3.0

    def __init__(self, site: Site) -> None:
        self._site = site
        self._edges = Edges()
        self._rows = ConnectionRows(site, self._edges)
        self._owners = Owners(site.proc)
        self._places: dict[int, Place] = {0: Place(0, None)}
        self._diagnostics: SocketDiagnostics | None = None
        self._tracked = TrackedConnections(site.proc, self._edges)
        self._hidden_places = 0
        self._looks = 0
        self._turn = 0
        self._tables: dict[int, Tables] = {}
        self._inode_owners: dict[int, str] = {}
        self._searches: dict[int, int] = {}
        self._unjudged = 0
        self._edges.ephemeral = _ephemeral_ports(site.proc)

    async def start(self) -> None:
        """Find out which of the kernel's interfaces may be used."""
        self._site.ledger["connection"].keep(set())
        self._site.ledger["endpoint"].keep(set())
        with contextlib.suppress(NetlinkError):
            self._diagnostics = SocketDiagnostics()
        self._tracked.start()

    async def collect(self) -> None:
        """Look once."""
        now = self._site.clock()
        self._edges.bound(self._site.memory_share)
        if self._looks % _ADDRESS_LOOKS == 0:
            self._learn_addresses()
        self._learn_places()
        self._rows.link()
        due = self._due(now)
        for place in due:
            try:
                self._look_at_listeners(place, now)
            except OSError:
                self._leave(place, now)
        self._resolve_listeners(now)
        self._tracked.learn(now)
        for place in due:
            # One that was left just now is not looked at: what is open there nobody would close.
            if self._places.get(place.namespace) is not place:
                continue
            try:
                self._look_at_connections(place, now)
            except OSError:
                self._leave(place, now)
        self._resolve(now)
        self._tracked.judge(now)
        gone = list(self._edges.forget(now))
        self._rows.tell(gone, now)
        self._looks += 1

    def capability(self) -> Capability:
        """What the kernel lets us see."""
        ways = ["socket diagnostics" if self._diagnostics is not None else "proc"]
        misses = self._tracked.misses()
        if self._tracked.is_used:
            ways.append("connection tracking")
        if self._edges.dropped:
            flows, sockets, edges, listeners = (
                round(most * self._edges.share)
                for most in (FLOWS_MAX, SOCKETS_MAX, EDGES_MAX, LISTENERS_MAX)
            )
            most = f"{flows} connections, {sockets} sockets, {edges} edges"
            most = f"{most} and {listeners} listeners"
            what = f"{self._edges.dropped} times one more than the {most} that are kept"
            misses.append(Miss(what, "fewer connections on this node"))
        if self._owners.forbidden:
            what = f"owners of connections of {self._owners.forbidden} processes"
            misses.append(Miss(what, "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"))
        if self._hidden_places:
            what = f"connections inside of {self._hidden_places} containers"
            misses.append(Miss(what, "the host's pid namespace and CAP_SYS_PTRACE"))
        others = len(self._places) - 1
        if others:
            looks = -(-others // _GLANCES_A_LOOK)
            ways.append(f"proc of {others} namespaces, a glance each {looks * self.interval_s:g} s")
        mode = ", ".join(ways)
        return Capability(State.PARTIAL if misses else State.FULL, mode, tuple(misses))

    async def close(self) -> None:
        """Close sockets."""
        self._tracked.close()
        if self._diagnostics is not None:
            self._diagnostics.close()

    # Where to look

    def _learn_addresses(self) -> None:
        local: dict[bytes, int] = {}
        for text in interface_addresses(self._site.proc):
            address = text.partition(" ")[2].partition("/")[0]
            local[ipaddress.ip_address(address).packed] = 0
        self._edges.local = local

    def _learn_places(self) -> None:
        """One place a network namespace, looked at through one of its processes."""
        here: dict[int, int] = {}
        for container in self._site.containers.values():
            if container.namespace:
                here.setdefault(container.namespace, container.pid)
                for address in container.addresses:
                    packed = ipaddress.ip_address(address).packed
                    self._edges.local[packed] = container.namespace
        now = self._site.clock()
        for namespace in [n for n in self._places if n and n not in here]:
            self._leave(self._places[namespace], now)
        for namespace, pid in here.items():
            self._places.setdefault(namespace, Place(namespace, pid)).pid = pid
        self._hidden_places = sum(one.namespace is None for one in self._site.containers.values())

    def _due(self, now: float) -> list[Place]:
        """Places to look at now: our own always; of the others, in turns, those whose sockets are
        not as many as they were, or that were not looked at for long."""
        self._tables.clear()
        others = [place for place in self._places.values() if place.namespace]
        due: list[Place] = []
        for _ in range(min(len(others), _GLANCES_A_LOOK)):
            place = others[self._turn % len(others)]
            self._turn += 1
            try:
                usage = proc_net.usage(self._site.proc, place.pid or 0)
            except OSError:
                self._leave(place, now)
                continue
            is_old = any(usage) and now - place.looked_at >= _PLACE_S_MAX
            if (usage != place.usage and (any(usage) or place.usage is not None)) or is_old:
                place.usage, place.looked_at = usage, now
                due.append(place)
            if len(due) == _PLACES_A_LOOK:
                break
        return [self._places[0], *due]

    def _leave(self, place: Place, now: float) -> None:
        if place.namespace == 0:
            raise OSError
        self._hidden_places += 1
        for one in place.open.values():
            self._edges.closed(one.flow, now)
        place.open.clear()
        self._places.pop(place.namespace, None)

    def _keys(
        self, place: Place, protocol: int, states: int, known: set[bytes]
    ) -> tuple[set[bytes], list[Dumped]]:
        if place.pid is None and self._diagnostics is not None:
            return self._diagnostics.keys(protocol, states, known)
        tables = self._tables.get(place.namespace)
        if tables is None:
            tables = self._tables[place.namespace] = Tables(self._site.proc, place.pid or "self")
        return tables.keys(protocol, states, known)

    # Listeners

    def _look_at_listeners(self, place: Place, now: float) -> None:
        for protocol, states in ((TCP, LISTEN_STATES), (UDP, UNCONNECTED_STATES)):
            known = place.listening.get(protocol, set())
            seen, fresh = self._keys(place, protocol, states, known)
            for key in known - seen:
                place.listeners.pop(key, None)
            for one in fresh:
                if protocol == TCP or one.local_port not in self._edges.ephemeral:
                    place.listeners[one.key] = (protocol, one)
            place.listening[protocol] = seen
        for protocol, one in place.listeners.values():
            self._edges.listeners.note(
                *(place.namespace, protocol, one.local, one.local_port),
                self._inode_owners.get(one.inode, ""),
                now,
            )

    def _resolve_listeners(self, now: float) -> None:
        all_of_them = [
            (place.namespace, protocol, one)
            for place in self._places.values()
            for protocol, one in place.listeners.values()
        ]
        alive = {one.inode for _, _, one in all_of_them}
        found = self._owners.find(self._unowned(alive), list(self._site.processes), now)
        for inode, pid in found.items():
            self._inode_owners[inode] = self._site.process_id(pid) or ""
        for inode in [inode for inode in self._inode_owners if inode not in alive]:
            del self._inode_owners[inode]
        owners: dict[tuple[int, int, bytes, int], set[str]] = {}
        for namespace, protocol, one in all_of_them:
            place = (namespace, protocol, one.local, one.local_port)
            owners.setdefault(place, set()).add(self._inode_owners.get(one.inode, ""))
        told: set[str] = set()
        for (namespace, protocol, address, port), several in owners.items():
            owner = next(iter(several)) if len(several) == 1 else ""
            if self._edges.listeners.note(namespace, protocol, address, port, owner, now):
                told.add(self._rows.tell_listener(namespace, protocol, address, port, owner))
            else:
                self._edges.dropped += 1
        self._site.ledger["endpoint"].keep(told)

    def _unowned(self, alive: set[int]) -> set[int]:
        """Listeners whose owner is to be looked for: the kernel's own have none, nor do those of
        processes that may not be seen, and looking for them goes through all open files."""
        for inode in self._searches.keys() - alive:
            del self._searches[inode]
        wanted: set[int] = set()
        for inode in alive - self._inode_owners.keys() - {0}:
            looks = self._searches[inode] = self._searches.get(inode, 0) + 1
            if looks <= _RESOLVE_LOOKS_MAX or looks % _SEARCH_LOOKS == 0:
                wanted.add(inode)
        return wanted

    # Connections

    def _look_at_connections(self, place: Place, now: float) -> None:
        for protocol in (TCP, UDP):
            states = OPEN_STATES if protocol == TCP else _CONNECTED_STATES
            known = place.keys.get(protocol, set())
            seen, fresh = self._keys(place, protocol, states, known)
            self._close(place, known - seen, now)
            for socket in fresh:
                oriented = self._orient(place, protocol, socket)
                if oriented is None:
                    self._unjudged += 1
                    continue
                flow, is_server = oriented
                if self._edges.opened(flow, now=now, evidence="socket"):
                    place.open[socket.key] = Open(flow, is_server, socket.inode)
            place.keys[protocol] = seen
        closing, fresh = self._keys(place, TCP, CLOSING_STATES, place.closing)
        for socket in fresh:
            oriented = self._orient(place, TCP, socket)
            if oriented is not None:
                self._edges.seen(oriented[0], now, "socket")
        place.closing = closing

    def _close(self, place: Place, keys: set[bytes], now: float) -> None:
        gone: dict[int, set[int]] = {}
        for key in keys:
            one = place.open.pop(key, None)
            if one is None:
                continue
            self._edges.closed(one.flow, now)
            if one.pid:
                gone.setdefault(one.pid, set()).add(one.inode)
        for pid, inodes in gone.items():
            self._owners.closed(pid, inodes)

    def _orient(self, place: Place, protocol: int, one: Dumped) -> tuple[Flow, bool] | None:
        return self._edges.orient(
            *(place.namespace, protocol),
            *(one.local, one.local_port, one.remote, one.remote_port),
        )

    def _resolve(self, now: float) -> None:
        """Find owners of sockets that have none yet."""
        waiting: dict[int, Open] = {}
        for place in self._places.values():
            for one in place.open.values():
                if not one.pid and one.inode and one.tries < _RESOLVE_LOOKS_MAX:
                    one.tries += 1
                    waiting[one.inode] = one
        for inode, pid in self._owners.find(set(waiting), list(self._site.processes), now).items():
            one = waiting[inode]
            one.pid = pid
            owner = self._site.process_id(pid) or ""
            self._edges.owned(one.flow, is_server=one.is_server, owner=owner)


def _ephemeral_ports(proc: str) -> range:
    words = read_or_empty(f"{proc}/sys/net/ipv4/ip_local_port_range").split()
    return range(int(words[0]), int(words[1]) + 1) if len(words) == 2 else range(32_768, 61_000)  # noqa: PLR2004 - first and last
