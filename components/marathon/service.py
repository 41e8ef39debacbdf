"""Marathon itself: one instance, or several of which one leads.

It belongs to a cluster and not to a colour. What it knows lies in ZooKeeper below `STATE_PATH`: its
framework id, without which every task is somebody else's, apps and instances. A move takes that
subtree to the other ensemble while Marathon stands still, and starts it there as the framework that
it was. Until then its resources stay and nothing runs.

The real Marathon runs where its image is given (components.marathon.real), and wants real masters;
else the stand-in does. Neither reads the other's state: one cannot follow the other.

Marathon ends whenever another master leads, and kills what masters do not know when it asks: see
docs/stand-ins.md for its habits, and stacks.migration for the order that they ask of a migration.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.marathon import real
from components.marathon.endpoint import MarathonEndpoint
from components.marathon.flags import TASK_KILLING, Flags, Value, check, with_ours
from components.mesos.access import MARATHON_SECRET
from components.mesos.masters import ELECTION_PATH
from components.mesos.sample import FRAMEWORKS_TIER
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

NAME = "marathon"
STATE_PATH = "/marathon"
# A start with a large state takes its time, and so does a stop in order.
_READY_S = 120
# Of Java, and what it takes beside that: threads, buffers, libmesos.
_HEAP_MB = 1024
_NEEDS = Needs(memory_mb=2 * _HEAP_MB, cpus=0.5)
_STANDS_STILL = "#!/bin/sh\necho 'Marathon stands still: it has no ensemble' >&2\nexit 1\n"


@dataclass(frozen=True)
class MarathonServiceArgs:
    """`zookeeper_hosts` is the ensemble that it runs against; None while it stands still.

    `user` is that of apps which name none, on the agents. `flags` are further ones of Marathon,
    under its own names (components.marathon.flags); what `enable_features` names is added to ours.
    `zookeeper_identity` names the secret with `user:password` that its state is made with; None:
    everybody may write it. `is_real`: the program is a shell, in an image that holds Marathon.

    Raises:
        ArgumentsError: there would be no instance, or a flag is unknown, a secret or not for the
            caller to set.
    """

    program: Program
    zookeeper_hosts: str | None
    instances: int = 1
    user: str = "root"
    flags: Flags = field(default_factory=dict[str, Value])
    zookeeper_identity: str | None = None
    is_real: bool = False

    def __post_init__(self) -> None:
        if self.instances < 1:
            msg = f"Marathon has at least one instance, saw {self.instances}"
            raise ArgumentsError(msg)
        check(self.flags)


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
    identity = args.zookeeper_identity
    render = _script if args.is_real else _document
    members: list[Member] = []
    for index in range(args.instances):
        member = f"{name}-{index}"
        ends = {
            role: placing.target.endpoint(name, None, role, index)
            for role in (PortRole.MARATHON, *((PortRole.LIBPROCESS,) if args.is_real else ()))
        }
        text = render(args, placing, member, ends)
        members.append(Member(member, index, text, {role: end.port for role, end in ends.items()}))
    port = members[0].ports[PortRole.MARATHON]
    return Workload(
        name=name,
        tier=FRAMEWORKS_TIER,
        color=None,
        shape=Shape.STATEFUL,
        program=args.program,
        members=tuple(members),
        config_suffix=".sh" if args.is_real else ".json",
        arguments=("{config}",) if args.is_real else ("--config", "{config}"),
        readiness=Readiness(Probe.HTTP, PortRole.MARATHON, path="/ping", timeout_s=_READY_S),
        ready_command=real.ready_command(port, placing.target.secret(MARATHON_SECRET))
        if args.is_real
        else (),
        needs=_NEEDS if args.is_real else Needs(),
        secrets=(MARATHON_SECRET, *((identity,) if identity else ())),
        writes_secrets=True,
        running=args.zookeeper_hosts is not None,
    )


_Ends = dict[PortRole, Endpoint]


def _document(args: MarathonServiceArgs, placing: Placing, member: str, ends: _Ends) -> str:
    """What the launcher of this project reads."""
    hosts, identity = args.zookeeper_hosts, args.zookeeper_identity
    endpoint = ends[PortRole.MARATHON]
    config: dict[str, Any] = {
        "listen": f"{placing.target.listen_host()}:{endpoint.port}",
        "hostname": endpoint.host,
        "master": None if hosts is None else f"zk://{hosts}{ELECTION_PATH}",
        "zk": None if hosts is None else f"zk://{hosts}{STATE_PATH}",
        "framework_name": NAME,
        "private_dir": placing.target.private_dir(member),
        "credential_file": placing.target.secret(MARATHON_SECRET),
        "mesos_user": args.user,
        # Who sends requests to an instance hears that it was asked to end, before it does.
        "enable_features": TASK_KILLING,
        # An app is a command: whoever may declare one runs it as a user of the agents.
        "http_credentials_file": placing.target.secret(MARATHON_SECRET),
        **({"zk_auth_file": placing.target.secret(identity)} if identity else {}),
        **({"flags": with_ours(args.flags)} if args.flags else {}),
    }
    return json.dumps(config, indent=2) + "\n"


def _script(args: MarathonServiceArgs, placing: Placing, member: str, ends: _Ends) -> str:
    """What a container of an image with Marathon runs."""
    hosts, identity = args.zookeeper_hosts, args.zookeeper_identity
    if hosts is None:
        return _STANDS_STILL
    endpoint = ends[PortRole.MARATHON]
    return real.script(
        real.Instance(
            master=f"zk://{hosts}{ELECTION_PATH}",
            zk=f"zk://{hosts}{STATE_PATH}",
            hostname=endpoint.host,
            listen_host=placing.target.listen_host(),
            http_port=endpoint.port,
            private_dir=placing.target.private_dir(member),
            framework_name=NAME,
            mesos_user=args.user,
            secret_file=placing.target.secret(MARATHON_SECRET),
            http_file=placing.target.secret(MARATHON_SECRET),
            identity_file=placing.target.secret(identity) if identity else None,
            libprocess_port=ends[PortRole.LIBPROCESS].port,
            heap_mb=_HEAP_MB,
            flags=args.flags,
        )
    )
