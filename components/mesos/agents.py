"""Mesos agents.

An agent is its work folder, address and port: these never depend on how often it is declared, and
colour is no attribute of an agent, because an agent with changed attributes refuses to recover. Its
tasks outlive it when it is restarted, and end when it is removed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.workload import Member, PortRole, Probe, Program, Readiness, Shape, Workload

TIER = "agents"
_WORK = "work"


@dataclass(frozen=True)
class MesosAgentsArgs:
    """What agents offer, and whom they follow: `election_url` names their own colour's ensemble.

    Raises:
        ArgumentsError: there would be no agent.
    """

    color: str
    program: Program
    election_url: str
    count: int = 2
    cpus: float = 8.0
    mem_mb: int = 8192
    disk_mb: int = 8192
    fresh: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            msg = f"a cluster has at least one agent, saw {self.count}"
            raise ArgumentsError(msg)


def check_resize(old: int, new: int) -> None:
    """Refuse to take agents away, because their tasks would end with them; more are welcome.

    Raises:
        ArgumentsError: there would be fewer.
    """
    if new < old:
        msg = (
            f"{old} agents cannot become {new} by an update: the tasks of those that go would be "
            f"killed. Put agents.count back to {old}"
        )
        raise ArgumentsError(msg)


class MesosAgents(Component):
    """Agents of one colour; `addresses` are their HTTP endpoints."""

    addresses: list[str]

    def __init__(self, args: MesosAgentsArgs, placing: Placing) -> None:
        name = workload_name(TIER, args.color)
        self.addresses = [
            str(placing.target.endpoint(name, args.color, PortRole.AGENT, index))
            for index in range(args.count)
        ]
        super().__init__("mesos", "Agents", _workload(args, placing), placing)
        self.finish({"addresses": self.addresses})


def _workload(args: MesosAgentsArgs, placing: Placing) -> Workload:
    name = workload_name(TIER, args.color)
    members: list[Member] = []
    for index in range(args.count):
        member = f"{name}-{index}"
        endpoint = placing.target.endpoint(name, args.color, PortRole.AGENT, index)
        resources: dict[str, Any] = {
            "cpus": args.cpus,
            "mem": args.mem_mb,
            "disk": args.disk_mb,
        }
        ports = placing.target.task_ports(args.color, index)
        if ports is not None:
            resources["ports"] = list(ports)
        config: dict[str, Any] = {
            "ip": placing.target.listen_host(),
            "hostname": endpoint.host,
            "port": endpoint.port,
            "master": args.election_url,
            "work_dir": f"{placing.target.directory(member)}/{_WORK}",
            "resources": resources,
        }
        text = json.dumps(config, indent=2) + "\n"
        members.append(Member(member, index, text, {PortRole.AGENT: endpoint.port}))
    return Workload(
        name=name,
        tier=TIER,
        color=args.color,
        shape=Shape.PER_NODE,
        program=args.program,
        members=tuple(members),
        config_suffix=".json",
        readiness=Readiness(Probe.HTTP, PortRole.AGENT, path="/health"),
        volumes=(_WORK,),
        fresh=args.fresh,
        leaves_children=True,
    )
