"""A ZooKeeper ensemble.

Odd sizes only: an even one tolerates no more failures than the next smaller odd one and has more
servers that can fail. A fresh ensemble that takes over clients of another one must start above that
one's epoch, or clients that have seen higher transaction ids never connect: hence `initial_epoch`,
which a server writes only into an empty data folder.

Whoever uses it says who they are by digest: znodes carry their ACLs, so servers need to know nobody
but the super user. Users of SASL they must know, each by a secret. With a certificate servers
encrypt among themselves and on a second port for clients; `secure_hosts` is that.

An ensemble is never resized by starting it anew with another list of servers: empty ones could
outvote those that hold the data. Servers run first, and get their votes one after the other once
they hold what was written; they lose them before they go (`voters`, `check_resize`). That is done
by `controllers.caretaker`, where servers start by the script.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from components import zookeeper_image
from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.workload import (
    Certificate,
    Electorate,
    Endpoint,
    Member,
    Needs,
    PortRole,
    Probe,
    Program,
    Readiness,
    Secret,
    Shape,
    Snapshots,
    Voter,
    Workload,
)

TIER = "zookeeper"
_DATA = "data"
# Of loopback: each server has one for itself.
_ADMIN_PORT = 8080
# The official image's own user.
_IMAGE_USER = 1000
# Beside its heap, a server has some 100 MB of code, stacks and buffers.
_BESIDE_HEAP_MB = 256
# With fewer, the loss of one while another joins or leaves would end the majority.
VOTERS_MIN = 3
_ROLES = (PortRole.ZOOKEEPER_CLIENT, PortRole.ZOOKEEPER_QUORUM, PortRole.ZOOKEEPER_ELECTION)
_IMAGE_ROLES = (PortRole.ZOOKEEPER_METRICS,)


class Launch(StrEnum):
    """How a server starts: by the launcher of this project, or by a script in the official image,
    which also serves metrics, and administration to those beside it."""

    LAUNCHER = "launcher"
    IMAGE = "image"


@dataclass(frozen=True)
class EnsembleSize:
    """How many servers there are, and how many are to vote; None: all, and nobody sees to it."""

    replicas: int
    voters: int | None = None

    @property
    def voting(self) -> int:
        """How many vote once that is done."""
        return self.replicas if self.voters is None else self.voters


@dataclass(frozen=True)
class ZooKeeperEnsembleArgs:
    """What an ensemble is made of.

    `fresh` empties data folders when servers are created; `tick_time_ms` bounds sessions and
    elections (a session lasts between 2 and 20 ticks); `heap_mb` is each server's.

    By `launch` IMAGE alone: `certificate` is that of every server, for the names of all of them;
    `sasl_users` are secrets with `user:password` each; `snapshots` says when volumes are copied;
    the first `voters` of the servers are to vote, and somebody sees to that (None: all of those
    with which the ensemble began, and nobody changes it).

    Raises:
        ArgumentsError: the number of replicas or voters is even or below one, more are to vote than
            run, or the launcher of this project is asked for what it does not do.
    """

    color: str
    program: Program
    replicas: int = 3
    initial_epoch: int | None = None
    tick_time_ms: int = 500
    heap_mb: int = 128
    fresh: bool = False
    launch: Launch = Launch.LAUNCHER
    certificate: Certificate | None = None
    sasl_users: tuple[str, ...] = ()
    snapshots: Snapshots | None = None
    voters: int | None = None

    def __post_init__(self) -> None:
        if self.launch is Launch.LAUNCHER and (self.certificate or self.sasl_users):
            msg = (
                "expected no TLS and no SASL of servers that this project's own launcher starts, "
                "saw them asked for: they are for target kubernetes"
            )
            raise ArgumentsError(msg)
        if self.launch is Launch.LAUNCHER and self.voters is not None:
            msg = (
                f"expected no voters of servers that this project's own launcher starts, saw "
                f"{self.voters}: an ensemble changes its size on target kubernetes alone"
            )
            raise ArgumentsError(msg)
        if self.replicas < 1 or self.replicas % 2 == 0:
            msg = f"an ensemble has an odd number of servers (1, 3, 5), saw {self.replicas}"
            raise ArgumentsError(msg)
        if self.voters is not None and not (
            VOTERS_MIN <= self.voters <= self.replicas and self.voters % 2
        ):
            msg = (
                f"expected an odd number of voters from {VOTERS_MIN} to {self.replicas}, which is "
                f"zookeeper.replicas, saw {self.voters}"
            )
            raise ArgumentsError(msg)

    @property
    def size(self) -> EnsembleSize:
        """How many there are, and vote."""
        return EnsembleSize(self.replicas, self.voters)


def check_resize(old: EnsembleSize, new: EnsembleSize) -> None:
    """Refuse sizes that an existing ensemble cannot come to by one update.

    Servers start without a vote, and are taken away without one; who votes changes while the
    servers stay. So a size changes in steps: `voters` as they are, `replicas`, `voters`.

    Raises:
        ArgumentsError: servers would come or go with a vote, nobody would see to who votes, or one
            of the two is a single server, which no other can take over from.
    """
    if old == new:
        return
    moves = f"an ensemble of {old.replicas} servers cannot become one of {new.replicas}"
    if 1 in {old.replicas, new.replicas} and old.replicas != new.replicas:
        msg = (
            f"{moves}: a single server has no majority that could give or take votes. Put "
            f"zookeeper.replicas back to {old.replicas}; migrate to a colour of the other size"
        )
        raise ArgumentsError(msg)
    if new.replicas > old.replicas and new.voters != old.voting:
        msg = (
            f"{moves} in one go: empty servers could outvote those that hold the data. Set "
            f"zookeeper.voters to {old.voting} together with zookeeper.replicas; when the new "
            f"servers run, set zookeeper.voters to {new.replicas}"
        )
        raise ArgumentsError(msg)
    if new.replicas < old.replicas and new.replicas < old.voting:
        msg = (
            f"{moves} while {old.voting} of them vote: what they hold alone would be lost. Put "
            f"zookeeper.replicas back to {old.replicas} and set zookeeper.voters to "
            f"{new.replicas}; when the others have lost their votes (log of the ensemble's "
            "caretaker), take them away"
        )
        raise ArgumentsError(msg)
    if new.replicas < old.replicas and new.replicas <= old.replicas // 2:
        msg = (
            f"{moves} by one update: should one of them still have its vote, there would be no "
            f"majority. Take away at most {(old.replicas - 1) // 2 // 2 * 2} at once"
        )
        raise ArgumentsError(msg)
    if new.replicas < old.replicas and new.voters != old.voters:
        msg = f"{moves} and change who votes by one update: leave zookeeper.voters at {old.voters}"
        raise ArgumentsError(msg)
    if new.voters is None and new.voting != old.voting:
        msg = (
            f"expected zookeeper.voters while {old.voting} of {old.replicas} servers vote, saw "
            f"none: set it to {new.replicas}, so that somebody gives the others their votes"
        )
        raise ArgumentsError(msg)


class ZooKeeperEnsemble(Component):
    """Servers that form one quorum; `hosts` are those that vote, where clients connect to, and
    `secure_hosts` where they do over TLS (empty without a certificate)."""

    hosts: str
    secure_hosts: str
    name: str

    def __init__(self, args: ZooKeeperEnsembleArgs, placing: Placing) -> None:
        self.name = workload_name(TIER, args.color)
        voting = args.size.voting
        self.hosts = client_hosts(args.color, voting, placing)
        self.secure_hosts = (
            client_hosts(args.color, voting, placing, PortRole.ZOOKEEPER_SECURE)
            if args.certificate
            else ""
        )
        super().__init__("zookeeper", "Ensemble", _workload(args, placing), placing)
        self.finish({"hosts": self.hosts, "secure_hosts": self.secure_hosts, "color": args.color})


def client_hosts(
    color: str, voting: int, placing: Placing, role: PortRole = PortRole.ZOOKEEPER_CLIENT
) -> str:
    """Client addresses of a colour's ensemble, `host:port,host:port,…`; also of one that does not
    exist now."""
    name = workload_name(TIER, color)
    return ",".join(
        str(placing.target.endpoint(name, color, role, index)) for index in range(voting)
    )


def _workload(args: ZooKeeperEnsembleArgs, placing: Placing) -> Workload:
    name = workload_name(TIER, args.color)
    by_image = args.launch is Launch.IMAGE
    roles = (*_ROLES, *_IMAGE_ROLES) if by_image else _ROLES
    clients: tuple[PortRole, ...] = (PortRole.ZOOKEEPER_CLIENT,)
    if args.certificate is not None:
        roles = (*roles, PortRole.ZOOKEEPER_SECURE)
        clients = (*clients, PortRole.ZOOKEEPER_SECURE)
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
        secrets=(Secret.ZOOKEEPER_SUPER, *args.sasl_users),
        fresh=args.fresh,
        needs=Needs(args.heap_mb + _BESIDE_HEAP_MB, cpus=0.25),
        client_ports=clients,
        user=_IMAGE_USER if by_image else None,
        certificate=args.certificate
        and replace(
            args.certificate,
            hosts=tuple(ends[PortRole.ZOOKEEPER_QUORUM].host for ends in endpoints),
        ),
        snapshots=args.snapshots,
        electorate=_electorate(args, placing, endpoints),
    )


def _electorate(
    args: ZooKeeperEnsembleArgs, placing: Placing, endpoints: Sequence[_Ends]
) -> Electorate | None:
    if args.voters is None:
        return None
    listen = placing.target.listen_host()
    members = tuple(
        Voter(number, ends[PortRole.ZOOKEEPER_CLIENT], _description(ends, listen))
        for number, ends in enumerate(endpoints, 1)
    )
    return Electorate(members, args.voters, Secret.ZOOKEEPER_SUPER)


def _description(ends: _Ends, listen_host: str) -> str:
    """A server as others are told of it."""
    election = ends[PortRole.ZOOKEEPER_ELECTION].port
    client = ends[PortRole.ZOOKEEPER_CLIENT].port
    return f"{ends[PortRole.ZOOKEEPER_QUORUM]}:{election};{listen_host}:{client}"


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
        # All servers of both colours share one machine.
        "thread_pools": False,
    }
    return json.dumps(config, indent=2) + "\n"


def _script(
    args: ZooKeeperEnsembleArgs, placing: Placing, endpoints: Sequence[_Ends], index: int
) -> str:
    """What a container of the official image runs."""
    ends = endpoints[index]
    listen = placing.target.listen_host()
    return zookeeper_image.script(
        zookeeper_image.Server(
            myid=index + 1,
            data_dir=_data_dir(args, placing, index),
            temporary_dir="/tmp",  # noqa: S108 - the container's own
            listen_host=listen,
            admin_port=_ADMIN_PORT,
            metrics_port=ends[PortRole.ZOOKEEPER_METRICS].port,
            peers=tuple(_description(each, listen) for each in endpoints),
            voters=args.voters,
            tick_time_ms=args.tick_time_ms,
            heap_mb=args.heap_mb,
            initial_epoch=args.initial_epoch,
            super_file=placing.target.secret(Secret.ZOOKEEPER_SUPER),
            tls=args.certificate
            and zookeeper_image.Tls(
                placing.target.certificate_dir(), ends[PortRole.ZOOKEEPER_SECURE].port
            ),
            sasl_files=tuple(map(placing.target.secret, args.sasl_users)),
        )
    )


def _data_dir(args: ZooKeeperEnsembleArgs, placing: Placing, index: int) -> str:
    member = f"{workload_name(TIER, args.color)}-{index}"
    return f"{placing.target.directory(member)}/{_DATA}"
