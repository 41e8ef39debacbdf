"""The exporter of Mesos' metrics: one a colour, asks its masters and all agents that they know."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.mesos.masters import TIER as MASTERS
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
    """`masters` are a colour's, host:port, as they name each other.

    Raises:
        ArgumentsError: there is no master.
    """

    color: str
    program: Program
    masters: tuple[str, ...]
    with_agents: bool = True

    def __post_init__(self) -> None:
        if not self.masters:
            msg = f"an exporter asks masters, saw none of {self.color}: declare them first"
            raise ArgumentsError(msg)


class MesosExporter(Component):
    """It; `url` is what Prometheus scrapes."""

    url: str

    def __init__(self, args: MesosExporterArgs, placing: Placing) -> None:
        # It comes and goes with its masters, and so do they in the contracts of a migration.
        name = workload_name(MASTERS, args.color, TIER)
        end = placing.target.endpoint(name, args.color, PortRole.EXPORTER, 0)
        self.url = f"http://{end}/metrics"
        config: dict[str, Any] = {
            "masters": list(args.masters),
            "listen_host": placing.target.listen_host(),
            "listen_port": end.port,
            "color": args.color,
            "with_agents": args.with_agents,
            "credential_file": placing.target.secret(Secret.MESOS_OPERATOR),
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
            secrets=(Secret.MESOS_OPERATOR,),
            needs=Needs(memory_mb=256, cpus=0.1),
        )
        super().__init__("monitoring", "MesosExporter", workload, placing)
        self.finish({"url": self.url})
