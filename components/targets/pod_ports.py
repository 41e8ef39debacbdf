"""Ports of pods. Agents share the network of their node, so each colour has its own."""

from __future__ import annotations

from collections.abc import Sequence

from pulumi_kubernetes import core

from components.workload import Member, PortRole

_PORTS = {
    PortRole.ZOOKEEPER_CLIENT: 2181,
    PortRole.ZOOKEEPER_QUORUM: 2888,
    PortRole.ZOOKEEPER_ELECTION: 3888,
    PortRole.ZOOKEEPER_SECURE: 2281,
    PortRole.ZOOKEEPER_METRICS: 7000,
    PortRole.MASTER: 5050,
    PortRole.AGENT: 5051,
    PortRole.FRAMEWORK: 8080,
    PortRole.MARATHON: 8080,
    PortRole.LIBPROCESS: 9097,
    PortRole.ENGINE: 9090,
    PortRole.CLIENTS: 9091,
    PortRole.EDGE_HTTP: 10080,
    PortRole.EDGE_ADMIN: 9090,
    PortRole.EXPORTER: 9105,
    PortRole.WEB_ROUTE: 8443,
    PortRole.DNS: 8053,
    PortRole.DNS_HTTP: 8123,
    PortRole.ELASTICSEARCH: 9200,
    PortRole.ELASTICSEARCH_NODES: 9300,
    PortRole.LOG_KEEPER: 9096,
    PortRole.CONSUL_RPC: 8300,
    PortRole.CONSUL_GOSSIP: 8301,
    PortRole.REGISTRATOR: 9106,
    # First of those that agents give to tasks; `Reach` has the last.
    PortRole.TASKS: 31000,
}
# Agents use the network of their node, and both colours' have to stand on one beside each other.
_AGENT_OFFSETS = {"blue": 0, "green": 1}
TASK_PORTS = {"blue": (31000, 31499), "green": (31500, 31999)}


_BOTH_PROTOCOLS = frozenset({PortRole.DNS, PortRole.CONSUL_GOSSIP})


def protocols(role: PortRole) -> tuple[str, ...]:
    """What a role is served by, the usual one first."""
    return ("UDP", "TCP") if role in _BOTH_PROTOCOLS else ("TCP",)


def of_service(member: Member, roles: Sequence[PortRole]) -> list[core.v1.ServicePortArgs]:
    """Ports of a service before members that serve roles as this one does."""
    return [
        core.v1.ServicePortArgs(
            # A name of its own for each; the role's is the port's that all have.
            name=str(role) if protocol == "TCP" else f"{role}-{protocol.lower()}",
            port=member.ports[role],
            protocol=protocol,
        )
        for role in roles
        for protocol in protocols(role)
    ]


def port(role: PortRole, color: str | None) -> int:
    """The port of a role; of an agent, its colour's."""
    offset = _AGENT_OFFSETS[color] if role is PortRole.AGENT and color else 0
    return _PORTS[role] + offset


def all_ports() -> dict[PortRole, tuple[int, ...]]:
    """Every port that a role may have."""
    colors = [*_AGENT_OFFSETS]
    return {role: tuple(sorted({port(role, color) for color in colors})) for role in _PORTS}
