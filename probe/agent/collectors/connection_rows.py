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


class ConnectionRows:
    """Writes edges that have changed, and listeners."""

    def __init__(self, site: Site, edges: Edges) -> None:
        self._site = site
        self._edges = edges
        self._containers_version = site.containers_version
        self._linking = 0

    def tell_listener(
        self, namespace: int, protocol: int, address: bytes, port: int, pid: int
    ) -> str:
        """Write a listener; returns its id."""
        text = _text(address) if any(address) else "*"
        id_ = f"{self._site.host};{namespace};{_NAMES[protocol]};{text};{port}"
        self._site.ledger["endpoint"].put(
            id_,
            host=self._site.host,
            process=self._site.process_id(pid),
            container=self._site.container_of(pid),
            protocol=_NAMES[protocol],
            address=text,
            port=port,
            namespace=namespace or None,
        )
        return id_

    def tell(self, gone: Iterable[EdgeKey]) -> None:
        """Write edges that have changed, and take away those that are gone."""
        table = self._site.ledger["connection"]
        for key in gone:
            table.remove(self._id(key))
        self._link_anew()
        for key in self._edges.changed:
            edge = self._edges.edges[key]
            if edge.opened <= 0 and not edge.open:
                table.remove(self._id(key))
            else:
                self._put(key, edge)
        self._edges.changed.clear()

    def _link_anew(self) -> None:
        """Containers have changed: who was nobody's may be one's now."""
        if self._containers_version != self._site.containers_version:
            self._containers_version = self._site.containers_version
            self._linking = _LINKING_LOOKS
        if not self._linking:
            return
        self._linking -= 1
        table = self._site.ledger["connection"]
        for key in self._edges.edges:
            id_ = self._id(key)
            if not (table.get(id_, "client_container") and table.get(id_, "server_container")):
                self._edges.changed.add(key)

    def _id(self, key: EdgeKey) -> str:
        ends = f"{_text(key.client)};{_text(key.server)};{key.server_port}"
        owners = f"{key.client_pid};{key.server_pid}"
        return f"{self._site.host};{key.namespace};{_NAMES[key.protocol]};{ends};{owners}"

    def _put(self, key: EdgeKey, edge: Edge) -> None:
        site = self._site
        dialled = edge.dialled
        site.ledger["connection"].put(
            self._id(key),
            host=site.host,
            client=site.process_id(key.client_pid),
            server=site.process_id(key.server_pid),
            client_container=self._container(key.client_pid, key.client),
            server_container=self._container(key.server_pid, key.server),
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

    def _container(self, pid: int, address: bytes) -> str | None:
        """By its process; else by an address that is one container's alone, or one pod's.

        Of a pod it is the container that does anything, where that is one; of several nobody knows
        which, and it is the one that holds the pod's addresses.
        """
        if (found := self._site.container_of(pid)) is not None:
            return found
        namespace = self._edges.local.get(address, 0)
        if not namespace:
            return None
        owners = [c.id for c in self._site.containers.values() if c.namespace == namespace]
        table = self._site.ledger["container"]
        holding = [id_ for id_ in owners if table.get(id_, "pause")]
        acting = [id_ for id_ in owners if id_ not in holding]
        found = acting if len(acting) == 1 else holding
        return found[0] if len(found) == 1 else None


def _text(address: bytes) -> str:
    return str(ipaddress.ip_address(address))
