"""Addresses of an ensemble's servers, as written in a connect string. No I/O."""

from __future__ import annotations

import ipaddress
import re

from sync_engine.errors import RulesError

PORT = 2181
"""ZooKeeper's client port, where a connect string names none."""
_PORT_MAX = 65535
_SERVER = re.compile(r"(?:\[(?P<six>[^]\s]+)]|(?P<host>[^:\s\[\]/]+))(?::(?P<port>\d{1,5}))?")


def parse_hosts(hosts: str) -> tuple[tuple[str, int], ...]:
    """Take `host:port,[::1]:port` apart, each server once.

    Raises:
        RulesError: no server, a port that is none, or a chroot, which hides part of the tree from
            the engine.
    """
    servers: dict[tuple[str, int], None] = {}
    for part in filter(None, (text.strip() for text in hosts.split(","))):
        if "/" in part:
            msg = (
                f"expected host:port,host:port, saw a path in {part!r}: name it in path_a or path_b"
            )
            raise RulesError(msg)
        match = _SERVER.fullmatch(part)
        port = int(match["port"] or PORT) if match else 0
        if match is None or not 0 < port <= _PORT_MAX:
            msg = f"expected host:port, saw {part!r}: correct the address"
            raise RulesError(msg)
        servers[match["six"] or match["host"], port] = None
    if not servers:
        msg = f"expected host:port,host:port, saw {hosts!r}: name at least one server"
        raise RulesError(msg)
    return tuple(servers)


def format_server(host: str, port: int) -> str:
    """A server's address as text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; a name but localhost's may lead anywhere."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
