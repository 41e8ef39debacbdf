"""The registrator: what runs of Marathon's apps, told to Consul by controllers.registrator.

It belongs to a cluster and not to a colour, as Consul's servers do: apps keep their names while
they move. One is enough: Consul keeps what it has while there is none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.mesos.access import MARATHON_SECRET
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

TIER = "registrator"


@dataclass(frozen=True)
class TaskRegistratorArgs:
    """`cluster` is whose entries in Consul are its own; `marathon` are instances and `consul` HTTP
    of its servers, host:port, as they name each other.

    Raises:
        ArgumentsError: there would be no Marathon to follow, or no Consul to tell.
    """

    program: Program
    cluster: str
    marathon: tuple[str, ...]
    consul: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.marathon or not self.consul:
            missing = "Marathon" if not self.marathon else "Consul"
            msg = f"a registrator tells Consul of Marathon's apps, saw no {missing}: declare it"
            raise ArgumentsError(msg)


class TaskRegistrator(Component):
    """It; `url` is what Prometheus scrapes."""

    url: str

    def __init__(self, args: TaskRegistratorArgs, placing: Placing) -> None:
        name = workload_name("", None, TIER)
        end = placing.target.endpoint(name, None, PortRole.REGISTRATOR, 0)
        self.url = f"http://{end}/metrics"
        config: dict[str, Any] = {
            "cluster": args.cluster,
            "marathon": list(args.marathon),
            "consul": list(args.consul),
            "credential_file": placing.target.secret(MARATHON_SECRET),
            "listen_host": placing.target.listen_host(),
            "listen_port": end.port,
        }
        text = json.dumps(config, indent=2) + "\n"
        workload = Workload(
            name=name,
            tier=TIER,
            color=None,
            shape=Shape.STATEFUL,
            program=args.program,
            members=(Member(f"{name}-0", 0, text, {PortRole.REGISTRATOR: end.port}),),
            config_suffix=".json",
            # Not whether it has come to its end: Marathon stands still during a migration.
            readiness=Readiness(Probe.HTTP, PortRole.REGISTRATOR, path="/healthz"),
            secrets=(MARATHON_SECRET,),
            needs=Needs(memory_mb=256, cpus=0.1),
        )
        super().__init__("network", "TaskRegistrator", workload, placing)
        self.finish({"url": self.url})
