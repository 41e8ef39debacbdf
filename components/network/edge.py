"""The edge: HAProxy in front of Marathon's apps, kept what they ask for by controllers.edge.

It belongs to a cluster and not to a colour: apps keep their names while they move, and so does what
leads to them. Each replica follows Marathon by itself; all of one group come to the same
configuration, whose digest each tells.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.mesos.access import MARATHON_SECRET
from components.workload import (
    Endpoint,
    Member,
    Needs,
    PortRole,
    Probe,
    Program,
    Readiness,
    Shape,
    Workload,
)

TIER = "edge"
HEALTH_PATH = "/_haproxy_health_check"
"""Of the proxy itself, on its admin port."""
_RUN = "run"
# Those in front of it take a while to hear that a replica goes.
_LAME_DUCK_S = 10
_HARD_STOP_S = 60


@dataclass(frozen=True)
class EdgeProxyArgs:
    """`marathon` are its instances, host:port, as they name each other; `group` is what apps name
    in their label HAPROXY_GROUP; `connections_max` is each replica's.

    Raises:
        ArgumentsError: there would be no replica, no Marathon, or no group.
    """

    program: Program
    marathon: tuple[str, ...]
    replicas: int = 2
    group: str = "external"
    connections_max: int = 8000

    def __post_init__(self) -> None:
        if self.replicas < 1:
            msg = f"an edge has at least one replica, saw {self.replicas}"
            raise ArgumentsError(msg)
        if not self.marathon:
            msg = "an edge follows a Marathon, saw none: declare cluster.marathon.instances"
            raise ArgumentsError(msg)
        if not self.group or "," in self.group or self.group != self.group.strip():
            msg = f"expected the name of one group, saw {self.group!r}"
            raise ArgumentsError(msg)


class EdgeProxy(Component):
    """Its replicas; `addresses` take requests, `admin` tell digest, health and metrics."""

    addresses: list[str]
    admin: list[str]

    def __init__(self, args: EdgeProxyArgs, placing: Placing) -> None:
        name = workload_name(TIER, None, args.group)

        def ends(role: PortRole) -> list[Endpoint]:
            return [
                placing.target.endpoint(name, None, role, index) for index in range(args.replicas)
            ]

        web, admin = ends(PortRole.EDGE_HTTP), ends(PortRole.EDGE_ADMIN)
        self.addresses, self.admin = [str(one) for one in web], [str(one) for one in admin]
        super().__init__(
            "network", "EdgeProxy", _workload(name, args, web, admin, placing), placing
        )
        self.finish({"addresses": self.addresses, "admin": self.admin, "group": args.group})


def _workload(
    name: str, args: EdgeProxyArgs, web: list[Endpoint], admin: list[Endpoint], placing: Placing
) -> Workload:
    members: list[Member] = []
    for index in range(args.replicas):
        member = f"{name}-{index}"
        config: dict[str, Any] = {
            "marathon": list(args.marathon),
            "run_dir": f"{placing.target.directory(member)}/{_RUN}",
            "group": args.group,
            "bind": placing.target.listen_host(),
            "http_port": web[index].port,
            "admin_bind": placing.target.listen_host(),
            "admin_port": admin[index].port,
            "credential_file": placing.target.secret(MARATHON_SECRET),
            "connections_max": args.connections_max,
            "lame_duck_s": _LAME_DUCK_S,
            "hard_stop_s": _HARD_STOP_S,
        }
        ports = {PortRole.EDGE_HTTP: web[index].port, PortRole.EDGE_ADMIN: admin[index].port}
        members.append(Member(member, index, json.dumps(config, indent=2) + "\n", ports))
    return Workload(
        name=name,
        tier=TIER,
        color=None,
        # Names of its own for each, so that each one's digest can be asked for.
        shape=Shape.STATEFUL,
        program=args.program,
        members=tuple(members),
        config_suffix=".json",
        readiness=Readiness(Probe.HTTP, PortRole.EDGE_ADMIN, path=HEALTH_PATH),
        secrets=(MARATHON_SECRET,),
        stop_timeout_s=_LAME_DUCK_S + _HARD_STOP_S + 5,
        needs=Needs(memory_mb=512, cpus=0.2),
        client_ports=(PortRole.EDGE_HTTP,),
    )
