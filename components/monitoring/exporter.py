"""The exporter of Mesos' metrics: one a colour, asks its masters and all agents that they know; and
one of Marathon, which belongs to no colour.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.marathon.service import NAME as MARATHON
from components.mesos.access import MARATHON_SECRET
from components.mesos.masters import TIER as MASTERS
from components.mesos.sample import FRAMEWORKS_TIER
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

TIER = "exporter"


@dataclass(frozen=True)
class MesosExporterArgs:
    """`masters` are a colour's; where `color` is None, `marathon` are its instances: host:port, as
    they name each other.

    Raises:
        ArgumentsError: there is nobody to ask.
    """

    color: str | None
    program: Program
    masters: tuple[str, ...] = ()
    marathon: tuple[str, ...] = ()
    with_agents: bool = True

    def __post_init__(self) -> None:
        if not (self.masters if self.color else self.marathon):
            asked = f"masters, saw none of {self.color}" if self.color else "Marathon, saw none"
            msg = f"an exporter asks {asked}: declare them first"
            raise ArgumentsError(msg)


class MesosExporter(Component):
    """It; `url` is what Prometheus scrapes."""

    url: str

    def __init__(self, args: MesosExporterArgs, placing: Placing) -> None:
        # It comes and goes with those that it asks: contracts of a migration know it by its name.
        of = (MASTERS, TIER) if args.color else (FRAMEWORKS_TIER, f"{MARATHON}-{TIER}")
        name = workload_name(of[0], args.color, of[1])
        credential = Secret.MESOS_OPERATOR if args.color else MARATHON_SECRET
        end = placing.target.endpoint(name, args.color, PortRole.EXPORTER, 0)
        self.url = f"http://{end}/metrics"
        config: dict[str, Any] = {
            "masters": list(args.masters),
            "marathon": list(args.marathon),
            "listen_host": placing.target.listen_host(),
            "listen_port": end.port,
            "color": args.color or "",
            "with_agents": args.with_agents,
            "credential_file": placing.target.secret(credential),
        }
        member = Member(
            f"{name}-0", 0, json.dumps(config, indent=2) + "\n", {PortRole.EXPORTER: end.port}
        )
        workload = Workload(
            name=name,
            tier=TIER,
            color=args.color,
            shape=Shape.STATEFUL,
            program=args.program,
            members=(member,),
            config_suffix=".json",
            readiness=Readiness(Probe.HTTP, PortRole.EXPORTER, path="/healthz"),
            secrets=(credential,),
            needs=Needs(memory_mb=256, cpus=0.1),
        )
        super().__init__("monitoring", "MesosExporter", workload, placing)
        self.finish({"url": self.url})
