"""Ports that a proxy could not listen on. HAProxy's own look at a configuration binds none, and one
that it cannot bind keeps it from taking any of it: whoever may declare an app would take the edge
from everybody by the port of somebody else's process.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

# HAProxy's ways to write any address of IPv4.
_ANY = frozenset({"*", ""})


def unusable(address: str, ports: Iterable[int]) -> dict[int, str]:
    """Those that cannot be bound at an address now, and why."""
    found: dict[int, str] = {}
    for port in sorted(ports):
        try:
            _bind(address, port)
        except OSError as error:
            found[port] = error.strerror or str(error)
    return found


def _bind(address: str, port: int) -> None:
    """As HAProxy binds it, so that a worker of its own that retires is in nobody's way. Nothing is
    listened for: no client is ever refused by this."""
    # The edge is there to be reached; whoever declares it says at which address.
    host = "0.0.0.0" if address in _ANY else address.strip("[]")  # noqa: S104 - bound, not served
    family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(place)
