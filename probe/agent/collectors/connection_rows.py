"""What is told of edges and listeners: their rows in the report."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from probe.agent.edges import Edge, EdgeKey, Edges
from probe.agent.netlink import TCP, UDP
from probe.agent.site import Site

_NAMES = {TCP: "tcp", UDP: "udp"}
# Processes of a new container are linked to it at their own next look.
_LINKING_LOOKS = 3
# How long after an edge has begun an address of it may still turn out to be a container's. Later it
# may be somebody else's.
_LINKING_S = 15.0


class ConnectionRows:
    """Writes edges that have changed, and listeners."""

    def __init__(self, site: Site, edges: Edges) -> None:
        self._site = site
        self._edges = edges
        self._containers_version = -1
        self._linking = 0
        self._tenants: dict[int, str | None] = {}
        self._holders: dict[bytes, str | None] = {}

    def tell_listener(
        self, namespace: int, protocol: int, address: bytes, port: int, owner: str
    ) -> str:
        """Write a listener; returns its id."""
        text = _text(address) if any(address) else "*"
        id_ = f"{self._site.host};{namespace};{_NAMES[protocol]};{text};{port}"
        self._site.ledger["endpoint"].put(
            id_,
            host=self._site.host,
            process=owner or None,
            container=self._site.container_of_process(owner),
            protocol=_NAMES[protocol],
            address=text,
            port=port,
            namespace=namespace or None,
        )
        return id_

    def link(self) -> None:
        """Containers may have changed: who was nobody's may be one's now, and who has an address
        may be another one. To be asked before connections are looked at, which would be counted to
        the edges of whoever had it before."""
        if self._containers_version != self._site.containers_version:
            self._containers_version = self._site.containers_version
            self._linking = _LINKING_LOOKS
            self._link_addresses()
        if self._linking:
            self._linking -= 1
            self._link_owners()

    def _link_addresses(self) -> None:
        self._tenants.clear()
        containers: dict[int, list[str]] = {}
        for one in self._site.containers.values():
            if one.namespace:
                containers.setdefault(one.namespace, []).append(one.id)
        table = self._site.ledger["container"]
        for namespace, ids in containers.items():
            # Of a pod it is the container that does anything, where that is one; of several nobody
            # knows which, and it is the one that holds the pod's addresses.
            holding = [id_ for id_ in ids if table.get(id_, "pause")]
            acting = [id_ for id_ in ids if id_ not in holding]
            found = acting if len(acting) == 1 else holding
            self._tenants[namespace] = found[0] if len(found) == 1 else None
        before = self._holders
        self._holders = {
            address: self._tenants.get(namespace)
            for address, namespace in self._edges.local.items()
            if namespace
        }
        changed = {a for a, one in self._holders.items() if one and one != before.get(a)}
        if changed:
            self._give_over(changed)

    def _give_over(self, changed: set[bytes]) -> None:
        """Tell edges of addresses that a container has got, and let go of those of its
        predecessor: another connection between the same ends must not be counted to them."""
        gone: set[EdgeKey] = set()
        for key, edge in self._edges.edges.items():
            for address, owner, container in (
                (key.client, key.client_owner, edge.client_container),
                (key.server, key.server_owner, edge.server_container),
            ):
                if owner or address not in changed:
                    continue
                if container is None:
                    self._edges.changed.add(key)
                elif not edge.open and container not in self._site.containers:
                    gone.add(key)
        table = self._site.ledger["connection"]
        for key in gone:
            table.remove(self._id(key))
        self._edges.leave(gone)

    def _link_owners(self) -> None:
        of_process = self._site.container_of_process
        for key, edge in self._edges.edges.items():
            if (edge.client_container is None and of_process(key.client_owner)) or (
                edge.server_container is None and of_process(key.server_owner)
            ):
                self._edges.changed.add(key)

    def tell(self, gone: Iterable[EdgeKey], now: float) -> None:
        """Write edges that have changed, and take away those that are gone."""
        table = self._site.ledger["connection"]
        for key in gone:
            table.remove(self._id(key))
        for key in self._edges.changed:
            self._put(key, self._edges.edges[key], now)
        self._edges.changed.clear()

    def _id(self, key: EdgeKey) -> str:
        ends = f"{_text(key.client)};{_text(key.server)};{key.server_port}"
        owners = f"{_life(key.client_owner)};{_life(key.server_owner)}"
        return f"{self._site.host};{key.namespace};{_NAMES[key.protocol]};{ends};{owners}"

    def _put(self, key: EdgeKey, edge: Edge, now: float) -> None:
        site = self._site
        dialled = edge.dialled
        may_link = self._may_link(edge, now)
        edge.client_container = self._container(
            key.client_owner, key.client, edge.client_container, may_link=may_link
        )
        edge.server_container = self._container(
            key.server_owner, key.server, edge.server_container, may_link=may_link
        )
        site.ledger["connection"].put(
            self._id(key),
            host=site.host,
            client=key.client_owner or None,
            server=key.server_owner or None,
            client_container=edge.client_container,
            server_container=edge.server_container,
            protocol=_NAMES[key.protocol],
            client_address=_text(key.client),
            server_address=_text(key.server),
            server_port=key.server_port,
            dialled=None if dialled is None else f"{_text(dialled[0])}:{dialled[1]}",
            evidence=edge.evidence,
            open=edge.open,
            opened=edge.opened,
            bytes_to_server=edge.to_server,
            bytes_to_client=edge.to_client,
        )

    @staticmethod
    def _may_link(edge: Edge, now: float) -> bool:
        return edge.open > 0 or now - edge.begun_at <= _LINKING_S

    def _container(
        self, owner: str, address: bytes, told: str | None, *, may_link: bool
    ) -> str | None:
        """By its process; else by an address that is one container's alone, or one pod's.

        What was told stays, unless it is the same pod's: an ended process is in no container any
        more, and the address of one that has ended may be another one's.
        """
        namespace = self._edges.local.get(address, 0)
        if told is not None:
            known = self._site.containers.get(told)
            if known is None or not namespace or known.namespace != namespace:
                return told
        if (found := self._site.container_of_process(owner)) is not None:
            return found
        if told is None and not may_link:
            return None
        return self._tenants.get(namespace) or told


def _text(address: bytes) -> str:
    return str(ipaddress.ip_address(address))


def _life(owner: str) -> str:
    """Pid and start of a process, which tell it from all others of its host."""
    return ".".join(owner.rsplit(";", 2)[-2:]) or "0"
