"""A group of Mesos masters that elect a leader through ZooKeeper.

The quorum of their replicated log follows from how many there are: it is no argument, because two
masters with different quorums can both believe they lead. Odd numbers only, for the same reason as
ensembles; one master cannot become a group by an update, nor a group one (`check_resize`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.workload import (
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

TIER = "masters"
ELECTION_PATH = "/mesos"
_WORK = "work"


@dataclass(frozen=True)
class MesosMastersArgs:
    """What a group of masters is made of.

    `zookeeper_hosts` is the ensemble of their own colour; `fresh` empties registries when masters
    are created. `bootstrapped` says that the group has stored a registry before: then a group whose
    logs are all empty refuses to start, where it would come up healthy and know nothing.

    Raises:
        ArgumentsError: the number of replicas is even or below one.
    """

    color: str
    program: Program
    zookeeper_hosts: str
    replicas: int = 3
    fresh: bool = False
    bootstrapped: bool = False

    def __post_init__(self) -> None:
        if self.replicas < 1 or self.replicas % 2 == 0:
            msg = f"masters come in odd numbers (1, 3, 5), saw {self.replicas}"
            raise ArgumentsError(msg)

    @property
    def quorum(self) -> int:
        """How many masters must store a change of the registry."""
        return self.replicas // 2 + 1


def check_resize(old: int, new: int) -> None:
    """Refuse sizes that an existing group cannot come to by an update.

    Raises:
        ArgumentsError: one of the two is a single master, whose log cannot be joined or left.
    """
    if old != new and 1 in {old, new}:
        msg = (
            f"a group of {old} masters cannot become {new}: a single one keeps a log of its own. "
            "Migrate to a new colour of the size wanted"
        )
        raise ArgumentsError(msg)


class MesosMasters(Component):
    """Masters of one colour; `addresses` are their HTTP endpoints."""

    addresses: list[str]
    election_url: str

    def __init__(self, args: MesosMastersArgs, placing: Placing) -> None:
        name = workload_name(TIER, args.color)
        self.addresses = [
            str(placing.target.endpoint(name, args.color, PortRole.MASTER, index))
            for index in range(args.replicas)
        ]
        self.election_url = f"zk://{args.zookeeper_hosts}{ELECTION_PATH}"
        super().__init__("mesos", "Masters", _workload(args, self.election_url, placing), placing)
        self.finish({"addresses": self.addresses, "election_url": self.election_url})


def _workload(args: MesosMastersArgs, election_url: str, placing: Placing) -> Workload:
    name = workload_name(TIER, args.color)
    members: list[Member] = []
    for index in range(args.replicas):
        member = f"{name}-{index}"
        endpoint = placing.target.endpoint(name, args.color, PortRole.MASTER, index)
        port = endpoint.port
        config: dict[str, Any] = {
            "ip": placing.target.listen_host(),
            "hostname": endpoint.host,
            "port": port,
            "zk": election_url,
            "quorum": args.quorum,
            "log_auto_initialize": not args.bootstrapped,
            "work_dir": f"{placing.target.directory(member)}/{_WORK}",
            "credential_file": placing.target.secret(Secret.MESOS_OPERATOR),
            # A task is a command: who may subscribe runs commands as the user of the agents.
            "authenticate_http_frameworks": True,
        }
        members.append(
            Member(member, index, json.dumps(config, indent=2) + "\n", {PortRole.MASTER: port})
        )
    return Workload(
        name=name,
        tier=TIER,
        color=args.color,
        shape=Shape.STATEFUL,
        program=args.program,
        members=tuple(members),
        config_suffix=".json",
        readiness=Readiness(Probe.HTTP, PortRole.MASTER, path="/health"),
        volumes=(_WORK,),
        secrets=(Secret.MESOS_OPERATOR,),
        fresh=args.fresh,
        # An answer of /health says nothing of the registry, and a metric is no status code.
        ready_command=("python", "-m", "stacks.local.registrar_ready", "--config", "{config}"),
        needs=Needs(memory_mb=1024, cpus=0.5),
        client_ports=(PortRole.MASTER,),
    )
