"""Names of tasks: Mesos-DNS, or Consul, and how the cluster's own name servers reach them.

One of the two answers for a zone of its own (`mesos`, `consul`). CoreDNS hands that zone on, by a
server block beside its others (`components.network.stub_zone`); pods then resolve
`web.marathon.mesos` without knowing of it.

Mesos-DNS finds tasks by itself; Consul has of them what a registrator tells it
(components.network.registrator).

Both belong to a cluster and not to a colour. Mesos-DNS follows the masters that an ensemble names,
so it is a client of ZooKeeper that moves with the other clients; until it has moved, a leader
projection leads it to the right masters. They ask who reads their state: Mesos-DNS is a principal
of its own that sees and does nothing (components.network.mesos_dns).
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.mesos.access import MESOS_DNS_SECRET
from components.mesos.masters import ELECTION_PATH
from components.network import mesos_dns
from components.workload import (
    Member,
    Needs,
    PortRole,
    Probe,
    Program,
    Readiness,
    Shape,
    Workload,
)

TIER = "discovery"
_ZONE = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_CONSUL_DATA = "data"


class Discovery(StrEnum):
    """Who answers."""

    MESOS_DNS = "mesos-dns"
    CONSUL = "consul"


def check_zone(zone: str) -> str:
    """Refuse what is no zone, or one that the cluster needs for itself.

    Raises:
        ArgumentsError: it is.
    """
    if not _ZONE.fullmatch(zone) or zone == "cluster.local" or zone.endswith(".cluster.local"):
        msg = f"expected a zone such as 'mesos', outside cluster.local, saw {zone!r}"
        raise ArgumentsError(msg)
    return zone


@dataclass(frozen=True)
class DiscoveryArgs:
    """`zookeeper_hosts` is the ensemble that Mesos-DNS follows, None while it stands still;
    `resolvers` answer what is not of the zone, none: it is refused. `address` is that of all
    servers together, for those who can ask nobody for a name.

    Raises:
        ArgumentsError: the zone, a resolver or the number of replicas cannot be.
    """

    program: Program
    kind: Discovery = Discovery.MESOS_DNS
    zookeeper_hosts: str | None = None
    zone: str = "mesos"
    replicas: int = 2
    ttl_s: int = 10
    refresh_s: int = 10
    resolvers: tuple[str, ...] = ()
    address: str | None = None

    def __post_init__(self) -> None:
        check_zone(self.zone)
        for text in (*self.resolvers, *([self.address] if self.address else ())):
            try:
                ipaddress.ip_address(text)
            except ValueError:
                msg = f"expected addresses of resolvers and of these servers, saw {text!r}"
                raise ArgumentsError(msg) from None
        if self.replicas < 1:
            msg = f"expected at least one replica, saw {self.replicas}"
            raise ArgumentsError(msg)
        if self.kind is Discovery.CONSUL and self.replicas % 2 == 0:
            msg = f"Consul's servers are a quorum: odd numbers (1, 3, 5), saw {self.replicas}"
            raise ArgumentsError(msg)
        if not 0 < self.refresh_s <= 60 or not 0 < self.ttl_s <= 300:  # noqa: PLR2004 - seconds
            msg = (
                f"expected names to be renewed within 60 s and to live for at most 300 s, saw "
                f"{self.refresh_s} and {self.ttl_s}: clients would keep addresses of ended tasks"
            )
            raise ArgumentsError(msg)


class ServiceDiscovery(Component):
    """Its servers; `addresses` answer questions, `http` are where they are told and asked by HTTP,
    `zone` is what they answer for."""

    addresses: list[str]
    http: list[str]
    zone: str

    def __init__(self, args: DiscoveryArgs, placing: Placing) -> None:
        # Mesos-DNS moves with frameworks, and so does its name: see `stacks.migration.contracts`.
        is_client = args.kind is Discovery.MESOS_DNS
        name = workload_name("frameworks" if is_client else "", None, str(args.kind))
        self.addresses, self.http = (
            [str(placing.target.endpoint(name, None, role, n)) for n in range(args.replicas)]
            for role in (PortRole.DNS, PortRole.DNS_HTTP)
        )
        self.zone = args.zone
        super().__init__("network", "ServiceDiscovery", _workload(name, args, placing), placing)
        self.finish({"addresses": self.addresses, "zone": self.zone})


def mesos_dns_config(
    *, zookeeper: str | None, listener: str, port: int, http_port: int, args: DiscoveryArgs
) -> dict[str, Any]:
    """Of Mesos-DNS (its configuration parameters of 0.7 and later), without who it is to masters:
    that is a secret, which comes in where it starts."""
    return {
        "zk": zookeeper,
        "masters": [],
        "refreshSeconds": args.refresh_s,
        "ttl": args.ttl_s,
        "domain": args.zone,
        "listener": listener,
        "port": port,
        "httpon": True,
        "httpport": http_port,
        "dnson": True,
        "resolvers": list(args.resolvers),
        "externalon": bool(args.resolvers),
        # Otherwise each agent is asked for each of its tasks.
        "IPSources": ["netinfo", "host"],
        "zkDetectionTimeout": 30,
        "timeout": 5,
        "recurseon": False,
        "SOAMname": f"ns1.{args.zone}",
        "SOARname": f"root.ns1.{args.zone}",
        "SOARefresh": 60,
        "SOARetry": 600,
        "SOAExpire": 86_400,
        "SOAMinttl": args.ttl_s,
    }


def consul_config(  # noqa: PLR0913 - by keyword, what its file says
    *, node: str, peers: list[str], listener: str, port: int, http_port: int, rpc_port: int,
    gossip_port: int, data: str, args: DiscoveryArgs,
) -> dict[str, Any]:  # fmt: skip
    """Of a server of Consul."""
    return {
        "server": True,
        "node_name": node,
        "bootstrap_expect": args.replicas,
        "retry_join": peers,
        "data_dir": data,
        "bind_addr": listener,
        "client_addr": listener,
        "domain": args.zone,
        "ports": {
            "dns": port,
            "http": http_port,
            "server": rpc_port,
            "serf_lan": gossip_port,
            # There is no other place to join, and nobody asks by gRPC.
            "serf_wan": -1,
            "grpc": -1,
            "grpc_tls": -1,
        },
        "dns_config": {"service_ttl": {"*": f"{args.ttl_s}s"}, "only_passing": True},
        "recursors": list(args.resolvers),
        "disable_update_check": True,
        "enable_script_checks": False,
    }


def _workload(name: str, args: DiscoveryArgs, placing: Placing) -> Workload:
    is_consul = args.kind is Discovery.CONSUL
    member_of = _consul if is_consul else _mesos_dns
    return Workload(
        name=name,
        tier=TIER,
        color=None,
        shape=Shape.STATEFUL,
        # What Mesos-DNS is told is put together where it starts.
        program=args.program if is_consul else Program(("sh",), args.program.image),
        members=tuple(member_of(name, index, args, placing) for index in range(args.replicas)),
        config_suffix=".json" if is_consul else ".sh",
        arguments=("agent", "-config-file", "{config}") if is_consul else ("{config}",),
        readiness=Readiness(Probe.TCP, PortRole.DNS_HTTP),
        volumes=(_CONSUL_DATA,) if is_consul else (),
        secrets=() if is_consul else (MESOS_DNS_SECRET,),
        writes_secrets=not is_consul,
        running=is_consul or args.zookeeper_hosts is not None,
        needs=Needs(memory_mb=256, cpus=0.1),
        client_ports=(PortRole.DNS,),
        client_address=args.address,
    )


def _mesos_dns(name: str, index: int, args: DiscoveryArgs, placing: Placing) -> Member:
    member, target = f"{name}-{index}", placing.target
    ports = _ports(name, index, placing, PortRole.DNS, PortRole.DNS_HTTP)
    hosts = args.zookeeper_hosts
    config = mesos_dns_config(
        zookeeper=None if hosts is None else f"zk://{hosts}{ELECTION_PATH}",
        listener=target.listen_host(),
        port=ports[PortRole.DNS],
        http_port=ports[PortRole.DNS_HTTP],
        args=args,
    )
    instance = mesos_dns.Instance(
        config,
        target.secret(MESOS_DNS_SECRET),
        target.private_dir(member),
        args.program.command[0],
    )
    return Member(member, index, mesos_dns.script(instance), ports)


def _consul(name: str, index: int, args: DiscoveryArgs, placing: Placing) -> Member:
    member, target = f"{name}-{index}", placing.target
    ports = _ports(
        name,
        index,
        placing,
        *(PortRole.DNS, PortRole.DNS_HTTP, PortRole.CONSUL_RPC, PortRole.CONSUL_GOSSIP),
    )
    config = consul_config(
        node=member,
        peers=[
            target.endpoint(name, None, PortRole.DNS, other).host for other in range(args.replicas)
        ],
        listener=target.listen_host(),
        port=ports[PortRole.DNS],
        http_port=ports[PortRole.DNS_HTTP],
        rpc_port=ports[PortRole.CONSUL_RPC],
        gossip_port=ports[PortRole.CONSUL_GOSSIP],
        data=f"{target.directory(member)}/{_CONSUL_DATA}",
        args=args,
    )
    return Member(member, index, json.dumps(config, indent=2) + "\n", ports)


def _ports(name: str, index: int, placing: Placing, *roles: PortRole) -> dict[PortRole, int]:
    return {role: placing.target.endpoint(name, None, role, index).port for role in roles}


def stub_zone(zone: str, servers: list[str]) -> str:
    """A server block of CoreDNS that hands a zone on; `servers` are address:port.

    Asked over TCP where an answer is too long for a datagram; an answer is kept no longer than its
    time to live, and a failure for a second.

    Raises:
        ArgumentsError: there is no server, or it is no address: CoreDNS would have to ask itself.
    """
    check_zone(zone)
    for server in servers:
        host = server.rpartition(":")[0]
        try:
            ipaddress.ip_address(host)
        except ValueError:
            msg = f"expected address:port of servers of {zone}, saw {server!r}: name an address"
            raise ArgumentsError(msg) from None
    if not servers:
        msg = f"expected servers of {zone}, saw none"
        raise ArgumentsError(msg)
    return (
        f"{zone}:53 {{\n"
        "    errors\n"
        "    cache 10 {\n"
        "        servfail 1s\n"
        "    }\n"
        f"    forward . {' '.join(servers)} {{\n"
        "        policy sequential\n"
        "        health_check 1s\n"
        "    }\n"
        "}\n"
    )
