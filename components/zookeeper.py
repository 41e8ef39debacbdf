"""A ZooKeeper ensemble.

Odd sizes only: an even one tolerates no more failures than the next smaller odd one and has more
servers that can fail. A fresh ensemble that takes over clients of another one must start above that
one's epoch, or clients that have seen higher transaction ids never connect: hence `initial_epoch`,
which a server writes only into an empty data folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from components import zookeeper_image
from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.workload import (
    Endpoint,
    Member,
    Needs,
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
# The official image's own user.
_IMAGE_USER = 1000
# Beside its heap, a server has some 100 MB of code, stacks and buffers.
_BESIDE_HEAP_MB = 256
_ROLES = (PortRole.ZOOKEEPER_CLIENT, PortRole.ZOOKEEPER_QUORUM, PortRole.ZOOKEEPER_ELECTION)
_IMAGE_ROLES = (PortRole.ZOOKEEPER_ADMIN, PortRole.ZOOKEEPER_METRICS)


class Launch(StrEnum):
    """How a server starts: by the launcher of this project, or by a script in the official image,
    which also serves administration and metrics."""

    LAUNCHER = "launcher"
    IMAGE = "image"


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
    launch: Launch = Launch.LAUNCHER

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
    by_image = args.launch is Launch.IMAGE
    roles = (*_ROLES, *_IMAGE_ROLES) if by_image else _ROLES
    endpoints = [
        {role: placing.target.endpoint(name, args.color, role, index) for role in roles}
        for index in range(args.replicas)
    ]
    render = _script if by_image else _document
    return Workload(
        name=name,
        tier=TIER,
        color=args.color,
        shape=Shape.STATEFUL,
        program=args.program,
        members=tuple(
            Member(
                f"{name}-{index}",
                index,
                render(args, placing, endpoints, index),
                {role: end.port for role, end in ends.items()},
            )
            for index, ends in enumerate(endpoints)
        ),
        config_suffix=".sh" if by_image else ".json",
        arguments=("{config}",) if by_image else ("--config", "{config}"),
        readiness=Readiness(Probe.TCP, PortRole.ZOOKEEPER_CLIENT),
        # Members come up at the same time; only together are they an ensemble.
        serving=Readiness(Probe.ZOOKEEPER, PortRole.ZOOKEEPER_CLIENT),
        ready_command=zookeeper_image.ready_command(endpoints[0][PortRole.ZOOKEEPER_CLIENT].port)
        if by_image
        else (),
        volumes=(_DATA,),
        secrets=(Secret.ZOOKEEPER_SUPER,),
        fresh=args.fresh,
        needs=Needs(args.heap_mb + _BESIDE_HEAP_MB, cpus=0.25),
        client_ports=(PortRole.ZOOKEEPER_CLIENT,),
        user=_IMAGE_USER if by_image else None,
    )


_Ends = Mapping[PortRole, Endpoint]


def _document(
    args: ZooKeeperEnsembleArgs, placing: Placing, endpoints: Sequence[_Ends], index: int
) -> str:
    """What the launcher of this project reads."""
    servers = [
        {
            "id": number,
            "host": ends[PortRole.ZOOKEEPER_QUORUM].host,
            "quorum_port": ends[PortRole.ZOOKEEPER_QUORUM].port,
            "election_port": ends[PortRole.ZOOKEEPER_ELECTION].port,
        }
        for number, ends in enumerate(endpoints, 1)
    ]
    ports = {role: end.port for role, end in endpoints[index].items()}
    config: dict[str, Any] = {
        "myid": index + 1,
        "data_dir": _data_dir(args, placing, index),
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
    return json.dumps(config, indent=2) + "\n"


def _script(
    args: ZooKeeperEnsembleArgs, placing: Placing, endpoints: Sequence[_Ends], index: int
) -> str:
    """What a container of the official image runs."""
    ends = endpoints[index]
    peers = [
        f"{each[PortRole.ZOOKEEPER_QUORUM]}:{each[PortRole.ZOOKEEPER_ELECTION].port}"
        for each in endpoints
    ]
    return zookeeper_image.script(
        zookeeper_image.Server(
            myid=index + 1,
            data_dir=_data_dir(args, placing, index),
            temporary_dir="/tmp",  # noqa: S108 - the container's own
            listen_host=placing.target.listen_host(),
            client_port=ends[PortRole.ZOOKEEPER_CLIENT].port,
            admin_port=ends[PortRole.ZOOKEEPER_ADMIN].port,
            metrics_port=ends[PortRole.ZOOKEEPER_METRICS].port,
            peers=tuple(peers),
            tick_time_ms=args.tick_time_ms,
            heap_mb=args.heap_mb,
            initial_epoch=args.initial_epoch,
            super_file=placing.target.secret(Secret.ZOOKEEPER_SUPER),
        )
    )


def _data_dir(args: ZooKeeperEnsembleArgs, placing: Placing, index: int) -> str:
    member = f"{workload_name(TIER, args.color)}-{index}"
    return f"{placing.target.directory(member)}/{_DATA}"
