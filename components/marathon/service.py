"""Marathon itself: one instance, or several of which one leads.

It belongs to a cluster and not to a colour. What it knows lies in ZooKeeper below `STATE_PATH`: its
framework id, without which every task is somebody else's, apps and instances. A move takes that
subtree to the other ensemble while Marathon stands still, and starts it there as the framework that
it was. Until then its resources stay and nothing runs.

Marathon ends whenever another master leads, and kills what masters do not know when it asks: see
docs/stand-ins.md for its habits, and stacks.migration for the order that they ask of a migration.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.marathon.endpoint import MarathonEndpoint
from components.mesos.access import MARATHON_SECRET
from components.mesos.engine import check_flags
from components.mesos.masters import ELECTION_PATH
from components.mesos.sample import FRAMEWORKS_TIER
from components.workload import (
    Member,
    PortRole,
    Probe,
    Program,
    Readiness,
    Shape,
    Workload,
)

NAME = "marathon"
STATE_PATH = "/marathon"
# A start with a large state takes its time, and so does a stop in order.
_READY_S = 120
_FEATURE = "task_killing"
Flags = dict[str, str | int | float]
# They follow from where it runs, and from who may talk to it.
OWN_FLAGS = frozenset(
    {"listen", "hostname", "master", "zk", "zk_auth_file", "framework_name", "credential_file",
     "http_credentials_file", "mesos_user"}
)  # fmt: skip
FLAGS = OWN_FLAGS | frozenset(
    {"decline_offer_duration_ms", "enable_features", "failover_timeout_s", "kill_retry_timeout_ms",
     "launch_tokens", "launch_token_refresh_interval_ms", "local_port_max", "local_port_min",
     "max_instances_per_offer", "max_running_deployments", "mesos_role",
     "min_revive_offers_interval_ms", "reconciliation_initial_delay_ms",
     "reconciliation_interval_ms", "scale_apps_initial_delay_ms", "scale_apps_interval_ms",
     "task_launch_timeout_ms", "zk_session_timeout_s"}
)  # fmt: skip
"""All that its configuration file knows."""


@dataclass(frozen=True)
class MarathonServiceArgs:
    """`zookeeper_hosts` is the ensemble that it runs against; None while it stands still.

    `user` is that of apps which name none, on the agents. `flags` are further ones, under the names
    of its configuration file; what `enable_features` names is added to ours. `zookeeper_identity`
    names the secret with `user:password` that its state is made with; None: everybody may write it.

    Raises:
        ArgumentsError: there would be no instance, or a flag is unknown or not for the caller to
            set.
    """

    program: Program
    zookeeper_hosts: str | None
    instances: int = 1
    user: str = "root"
    flags: Flags = field(default_factory=Flags)
    zookeeper_identity: str | None = None

    def __post_init__(self) -> None:
        if self.instances < 1:
            msg = f"Marathon has at least one instance, saw {self.instances}"
            raise ArgumentsError(msg)
        check_flags("marathon", self.flags, FLAGS, OWN_FLAGS)


class MarathonService(Component):
    """Marathon's instances; `addresses` are their HTTP interfaces, as they name each other."""

    addresses: list[str]
    credential_file: str

    def __init__(self, args: MarathonServiceArgs, placing: Placing) -> None:
        name = workload_name(FRAMEWORKS_TIER, None, NAME)
        self.addresses = [
            str(placing.target.endpoint(name, None, PortRole.MARATHON, index))
            for index in range(args.instances)
        ]
        self.credential_file = placing.target.secret(MARATHON_SECRET)
        super().__init__("marathon", "Service", _workload(name, args, placing), placing)
        self.finish({"addresses": self.addresses})

    def endpoint(self, cluster: str) -> MarathonEndpoint:
        """Where apps of the cluster are declared; the same whatever colour Marathon runs on."""
        return MarathonEndpoint(cluster, self.addresses, self.credential_file)


def _workload(name: str, args: MarathonServiceArgs, placing: Placing) -> Workload:
    hosts, identity = args.zookeeper_hosts, args.zookeeper_identity
    owned = {"zk_auth_file": placing.target.secret(identity)} if identity else {}
    members: list[Member] = []
    for index in range(args.instances):
        member = f"{name}-{index}"
        endpoint = placing.target.endpoint(name, None, PortRole.MARATHON, index)
        config: dict[str, Any] = {
            "listen": f"{placing.target.listen_host()}:{endpoint.port}",
            "hostname": endpoint.host,
            "master": None if hosts is None else f"zk://{hosts}{ELECTION_PATH}",
            "zk": None if hosts is None else f"zk://{hosts}{STATE_PATH}",
            "framework_name": NAME,
            "credential_file": placing.target.secret(MARATHON_SECRET),
            "mesos_user": args.user,
            # Who sends requests to an instance hears that it was asked to end, before it does.
            "enable_features": _FEATURE,
            # An app is a command: whoever may declare one runs it as a user of the agents.
            "http_credentials_file": placing.target.secret(MARATHON_SECRET),
            **owned,
            **args.flags,
        }
        config["enable_features"] = _features(args.flags)
        text = json.dumps(config, indent=2) + "\n"
        members.append(Member(member, index, text, {PortRole.MARATHON: endpoint.port}))
    return Workload(
        name=name,
        tier=FRAMEWORKS_TIER,
        color=None,
        shape=Shape.STATEFUL,
        program=args.program,
        members=tuple(members),
        config_suffix=".json",
        readiness=Readiness(Probe.HTTP, PortRole.MARATHON, path="/ping", timeout_s=_READY_S),
        secrets=(MARATHON_SECRET, *((identity,) if identity else ())),
        running=hosts is not None,
    )


def _features(flags: Flags) -> str:
    """Ours, which the edge and migrations rely on, and those that were asked for."""
    asked = [name.strip() for name in str(flags.get("enable_features", "")).split(",")]
    return ",".join(dict.fromkeys((_FEATURE, *filter(None, asked))))
