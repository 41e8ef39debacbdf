"""What exercises a cluster: a sample framework that keeps tasks running, and groups of clients that
write to ZooKeeper.

Both belong to a cluster and not to a colour: there is one process of each, its name says no colour,
and a move restarts it against the other colour's ensemble. While it stands still its resources stay
and nothing runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.base import Component, Placing, workload_name
from components.mesos.access import SAMPLE, SAMPLE_SECRET
from components.mesos.masters import ELECTION_PATH
from components.workload import (
    Member,
    PortRole,
    Probe,
    Program,
    Readiness,
    Shape,
    Workload,
)

FRAMEWORKS_TIER = "frameworks"
CLIENTS_TIER = "clients"
_DATA = "data"


@dataclass(frozen=True)
class SampleFrameworkArgs:
    """`zookeeper_hosts` is the ensemble that it runs against; None while it stands still."""

    program: Program
    zookeeper_hosts: str | None
    tasks: int = 8


class SampleFramework(Component):
    """A framework of the scheduler API that follows the leader which ZooKeeper names."""

    url: str

    def __init__(self, args: SampleFrameworkArgs, placing: Placing) -> None:
        name = workload_name(FRAMEWORKS_TIER, None, SAMPLE)
        end = placing.target.endpoint(name, None, PortRole.FRAMEWORK, 0)
        self.url = f"http://{end}"
        hosts = args.zookeeper_hosts
        config: dict[str, Any] = {
            "name": SAMPLE,
            "zk": None if hosts is None else f"zk://{hosts}{ELECTION_PATH}",
            "tasks": args.tasks,
            "credential_file": placing.target.secret(SAMPLE_SECRET),
        }
        workload = _single(
            name,
            FRAMEWORKS_TIER,
            PortRole.FRAMEWORK,
            config,
            placing,
            program=args.program,
            secrets=(SAMPLE_SECRET,),
        )
        super().__init__("mesos", "SampleFramework", workload, placing)
        self.finish({"url": self.url})


@dataclass(frozen=True)
class ClientGroupArgs:
    """`zookeeper_hosts` is the ensemble of the colour it runs against; None while it stands still.

    `index` tells groups apart where they share a machine.
    """

    name: str
    index: int
    program: Program
    zookeeper_hosts: str | None
    rate_per_s: int = 200
    znodes: int = 1000


class ClientGroup(Component):
    """Clients of ZooKeeper that move together."""

    url: str
    path: str

    def __init__(self, args: ClientGroupArgs, placing: Placing) -> None:
        name = workload_name(CLIENTS_TIER, None, args.name)
        end = placing.target.endpoint(name, None, PortRole.CLIENTS, args.index)
        self.url = f"http://{end}"
        self.path = f"/apps/{args.name}"
        config: dict[str, Any] = {
            "hosts": args.zookeeper_hosts,
            "path": self.path,
            "rate_per_s": args.rate_per_s,
            "znodes": args.znodes,
        }
        workload = _single(
            name,
            CLIENTS_TIER,
            PortRole.CLIENTS,
            config,
            placing,
            program=args.program,
            index=args.index,
        )
        super().__init__("mesos", "ClientGroup", workload, placing)
        self.finish({"url": self.url, "path": self.path})


def _single(  # noqa: PLR0913 - by keyword, what its three callers differ in
    name: str,
    tier: str,
    role: PortRole,
    config: dict[str, Any],
    placing: Placing,
    *,
    program: Program,
    index: int = 0,
    secrets: tuple[str, ...] = (),
) -> Workload:
    end = placing.target.endpoint(name, None, role, index)
    member = f"{name}-0"
    ensemble = config.get("zk") or config.get("hosts")
    full = {
        "listen": f"{placing.target.listen_host()}:{end.port}",
        "work_dir": f"{placing.target.directory(member)}/{_DATA}",
        **config,
    }
    return Workload(
        name=name,
        tier=tier,
        color=None,
        shape=Shape.STATEFUL,
        program=program,
        members=(Member(member, 0, json.dumps(full, indent=2) + "\n", {role: end.port}),),
        config_suffix=".json",
        readiness=Readiness(Probe.TCP, role),
        volumes=(_DATA,),
        secrets=secrets,
        running=ensemble is not None,
    )
