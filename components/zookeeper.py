"""A ZooKeeper ensemble.

Odd sizes only: an even one tolerates no more failures than the next smaller odd one and has more
servers that can fail. A fresh ensemble that takes over clients of another one must start above that
one's epoch, or clients that have seen higher transaction ids never connect: hence `initial_epoch`,
which a server writes only into an empty data folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.workload import (
    Member,
    PortRole,
    Probe,
    Program,
    Readiness,
    Secret,
    Shape,
    Workload,
)

TIER = "zookeeper"
_DATA = "data"


@dataclass(frozen=True)
class ZooKeeperEnsembleArgs:
    """What an ensemble is made of.

    `fresh` empties data folders when servers are created; `tick_time_ms` bounds sessions and
    elections (a session lasts between 2 and 20 ticks); `heap_mb` is each server's.

    Raises:
        ArgumentsError: the number of replicas is even or below one.
    """

    color: str
    program: Program
    replicas: int = 3
    initial_epoch: int | None = None
    tick_time_ms: int = 500
    heap_mb: int = 128
    fresh: bool = False

    def __post_init__(self) -> None:
        if self.replicas < 1 or self.replicas % 2 == 0:
            msg = f"an ensemble has an odd number of servers (1, 3, 5), saw {self.replicas}"
            raise ArgumentsError(msg)


def check_resize(old: int, new: int) -> None:
    """Refuse another size of an existing ensemble: its servers would all be started anew at once,
    and new ones with empty folders could form a quorum that has never seen what was written.

    Raises:
        ArgumentsError: the sizes differ.
    """
    if old != new:
        msg = (
            f"an ensemble of {old} servers cannot become one of {new} by an update: empty servers "
            f"could outvote those that hold the data. Put zookeeper.replicas back to {old}"
        )
        raise ArgumentsError(msg)


class ZooKeeperEnsemble(Component):
    """Servers that form one quorum; `hosts` is what clients connect to."""

    hosts: str
    name: str

    def __init__(self, args: ZooKeeperEnsembleArgs, placing: Placing) -> None:
        self.name = workload_name(TIER, args.color)
        self.hosts = client_hosts(args.color, args.replicas, placing)
        super().__init__("zookeeper", "Ensemble", _workload(args, placing), placing)
        self.finish({"hosts": self.hosts, "color": args.color})


def client_hosts(color: str, replicas: int, placing: Placing) -> str:
    """Client addresses of a colour's ensemble, `host:port,host:port,…`; also of one that does not
    exist now."""
    name = workload_name(TIER, color)
    return ",".join(
        str(placing.target.endpoint(name, color, PortRole.ZOOKEEPER_CLIENT, index))
        for index in range(replicas)
    )


def _workload(args: ZooKeeperEnsembleArgs, placing: Placing) -> Workload:
    name = workload_name(TIER, args.color)
    roles = (PortRole.ZOOKEEPER_CLIENT, PortRole.ZOOKEEPER_QUORUM, PortRole.ZOOKEEPER_ELECTION)
    endpoints = [
        {role: placing.target.endpoint(name, args.color, role, index) for role in roles}
        for index in range(args.replicas)
    ]
    servers = [
        {
            "id": index + 1,
            "host": ends[PortRole.ZOOKEEPER_QUORUM].host,
            "quorum_port": ends[PortRole.ZOOKEEPER_QUORUM].port,
            "election_port": ends[PortRole.ZOOKEEPER_ELECTION].port,
        }
        for index, ends in enumerate(endpoints)
    ]
    members: list[Member] = []
    for index, ends in enumerate(endpoints):
        member = f"{name}-{index}"
        ports = {role: end.port for role, end in ends.items()}
        config: dict[str, Any] = {
            "myid": index + 1,
            "data_dir": f"{placing.target.directory(member)}/{_DATA}",
            "client_host": placing.target.listen_host(),
            "client_port": ports[PortRole.ZOOKEEPER_CLIENT],
            "quorum_port": ports[PortRole.ZOOKEEPER_QUORUM],
            "election_port": ports[PortRole.ZOOKEEPER_ELECTION],
            "servers": servers,
            "tick_time_ms": args.tick_time_ms,
            "initial_epoch": args.initial_epoch,
            "super_digest_file": placing.target.secret(Secret.ZOOKEEPER_SUPER),
            "heap_mb": args.heap_mb,
        }
        members.append(Member(member, index, json.dumps(config, indent=2) + "\n", ports))
    return Workload(
        name=name,
        tier=TIER,
        color=args.color,
        shape=Shape.STATEFUL,
        program=args.program,
        members=tuple(members),
        config_suffix=".json",
        readiness=Readiness(Probe.TCP, PortRole.ZOOKEEPER_CLIENT),
        # Members come up at the same time; only together are they an ensemble.
        serving=Readiness(Probe.ZOOKEEPER, PortRole.ZOOKEEPER_CLIENT),
        volumes=(_DATA,),
        secrets=(Secret.ZOOKEEPER_SUPER,),
        fresh=args.fresh,
    )
