"""Which process of this host listens at an address, by the endpoints that were seen.

An address that others give (a master's, an agent's, a web address) is tied to a process only where
its host is this very one. A network namespace of a container is another place.
"""

from __future__ import annotations

import ipaddress
import re

from probe.agent.site import Site

_PORT = re.compile(r"[0-9]{1,5}")
_LOOPBACK = "127.0.0.1"


class LocalPlaces:
    """Endpoints of this host's own network, as they were at the last `learn`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._listening: dict[tuple[str, int], str] = {}
        self._here: set[str] = set()
        self._dialled: set[tuple[str, str, int]] | None = None

    def learn(self) -> None:
        """Look at the report as it is now."""
        self._dialled = None
        self._listening = {}
        for _, endpoint in self._site.ledger["endpoint"]:
            process, port = endpoint.get("process"), endpoint.get("port")
            if isinstance(process, str) and isinstance(port, int) and "namespace" not in endpoint:
                self._listening[str(endpoint["address"]), port] = process
        told = self._site.ledger["host"].get(self._site.host, "addresses")
        addresses = told if isinstance(told, list) else []
        self._here = {one.partition(" ")[2].partition("/")[0] for one in addresses}
        self._here |= {_LOOPBACK, "::1", "localhost", self._site.host}

    def is_here(self, address: str) -> bool:
        """Whether `host:port` is of this host."""
        return split(address)[0] in self._here

    def process_at(self, address: str) -> str | None:
        """The node of the process that listens at `host:port`, if that is here."""
        host, port = split(address)
        if host not in self._here or not port:
            return None
        exact = _exact(host)
        return self._listening.get((exact, port)) or self._listening.get(("*", port))

    def talks_to(self, process: str, address: str) -> bool:
        """Whether a process was seen as a client of `host:port`."""
        if self._dialled is None:
            self._dialled = {
                (str(edge["client"]), str(edge["server_address"]), int(str(edge["server_port"])))
                for _, edge in self._site.ledger["connection"]
                if "client" in edge
            }
        host, port = split(address)
        return (process, _exact(host), port) in self._dialled


def split(address: str) -> tuple[str, int]:
    """Host and port; port 0 for what is no `host:port`."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port) if _PORT.fullmatch(port) else 0


def _exact(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return _LOOPBACK
