"""A group of Mesos masters that elect a leader through ZooKeeper.

The quorum of their replicated log follows from how many there are: it is no argument, because two
masters with different quorums can both believe they lead. Odd numbers only, for the same reason as
ensembles; one master cannot become a group by an update, nor a group one (`check_resize`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.mesos.access import NOBODY, Access
from components.mesos.engine import DEFAULT_RELEASE, MASTER_FLAGS, Flags, Release, check_flags
from components.workload import (
    Member,
    Needs,
    PortRole,
    Probe,
    Program,
    Readiness,
    Replacement,
    Replacing,
    Secret,
    Shape,
    Snapshots,
    Workload,
)

TIER = "masters"
ELECTION_PATH = "/mesos"
_WORK = "work"
# They follow from the declaration; a second word for them would make it a lie.
OWN_FLAGS = frozenset(
    {"acls", "authenticate_agents", "authenticate_http_frameworks", "authenticate_http_readonly",
     "authenticate_http_readwrite", "credentials", "domain", "hostname", "hostname_lookup",
     "http_framework_authenticators", "ip", "log_auto_initialize", "port", "quorum", "registry",
     "work_dir", "zk"}
)  # fmt: skip


@dataclass(frozen=True)
class FaultDomain:
    """Where masters stand, as frameworks are told: all of a group in one region."""

    region: str
    zone: str

    @property
    def flag(self) -> str:
        """As the program takes it."""
        domain = {"region": {"name": self.region}, "zone": {"name": self.zone}}
        return json.dumps({"fault_domain": domain})


@dataclass(frozen=True)
class MesosMastersArgs:
    """What a group of masters is made of.

    `zookeeper_hosts` is the ensemble of their own colour; `fresh` empties registries when masters
    are created. `bootstrapped` says that the group has stored a registry before: then a group whose
    logs are all empty refuses to start, where it would come up healthy and know nothing.

    `zookeeper_identity` names the secret with `user:password` that znodes are made with; None:
    everybody may write them. `access` says who may do what. `rolled` leaves the replacing of pods
    to a caretaker: followers first, the leader last. `snapshots` copies their volumes. `flags` are
    further ones of `mesos-master`, under their own names. `quorum_of` is the size that the quorum
    is derived of while the group grows to it, or shrinks from it; None: `replicas`.

    Raises:
        ArgumentsError: the number of replicas is even or below one, or a flag is unknown or not for
            the caller to set.
    """

    color: str
    program: Program
    zookeeper_hosts: str
    replicas: int = 3
    quorum_of: int | None = None
    fresh: bool = False
    bootstrapped: bool = False
    zookeeper_identity: str | None = None
    access: Access = NOBODY
    release: Release = DEFAULT_RELEASE
    domain: FaultDomain | None = None
    flags: Flags = field(default_factory=dict[str, str])
    rolled: bool = False
    snapshots: Snapshots | None = None

    def __post_init__(self) -> None:
        check_flags("masters", self.flags, MASTER_FLAGS, OWN_FLAGS)
        if self.replicas < 1 or self.replicas % 2 == 0:
            msg = f"masters come in odd numbers (1, 3, 5), saw {self.replicas}"
            raise ArgumentsError(msg)
        if self.quorum_of is not None and (
            self.quorum_of % 2 == 0 or self.quorum_of < self.replicas
        ):
            msg = (
                f"expected quorum_of to be an odd number from {self.replicas}, saw {self.quorum_of}"
            )
            raise ArgumentsError(msg)

    @property
    def quorum(self) -> int:
        """How many masters must store a change of the registry."""
        return (self.quorum_of or self.replicas) // 2 + 1


@dataclass(frozen=True)
class GroupSize:
    """How many masters there are, and how many of them must store a change."""

    replicas: int
    quorum: int


def check_resize(old: GroupSize, new: GroupSize) -> None:
    """Refuse sizes that an existing group cannot come to by one update.

    A group grows, or shrinks, while its quorum is that of the larger size: otherwise masters of the
    old and of the new quorum could store different registries beside each other.

    Raises:
        ArgumentsError: one of the two is a single master, whose log cannot be joined or left, or
            the quorum is not that of the larger group.
    """
    if old.replicas == new.replicas:
        return
    if 1 in {old.replicas, new.replicas}:
        msg = (
            f"a group of {old.replicas} masters cannot become {new.replicas}: a single one keeps a "
            "log of its own. Migrate to a new colour of the size wanted"
        )
        raise ArgumentsError(msg)
    larger = max(old.replicas, new.replicas)
    if {old.quorum, new.quorum} != {larger // 2 + 1}:
        msg = (
            f"a group of {old.replicas} masters becomes {new.replicas} with the quorum of {larger} "
            f"({larger // 2 + 1}) before and after, saw {old.quorum} and {new.quorum}: set "
            f"masters.quorum_of to {larger}, update and wait until every master was replaced; then "
            "change masters.replicas; then take quorum_of back"
        )
        raise ArgumentsError(msg)


def master_addresses(color: str, replicas: int, placing: Placing) -> tuple[str, ...]:
    """HTTP endpoints of a colour's masters; also of a group that does not exist now."""
    name = workload_name(TIER, color)
    return tuple(
        str(placing.target.endpoint(name, color, PortRole.MASTER, index))
        for index in range(replicas)
    )


class MesosMasters(Component):
    """Masters of one colour; `addresses` are their HTTP endpoints."""

    addresses: list[str]
    election_url: str

    def __init__(self, args: MesosMastersArgs, placing: Placing) -> None:
        self.addresses = list(master_addresses(args.color, args.replicas, placing))
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
            "private_dir": placing.target.private_dir(member),
            "credential_file": placing.target.secret(Secret.MESOS_OPERATOR),
            # A task is a command: who may subscribe runs commands as the user of the agents.
            "authenticate_http_frameworks": True,
            **_access(args, placing),
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
        secrets=_secrets(args),
        # The real program reads credentials from files of another form.
        writes_secrets=True,
        fresh=args.fresh,
        # An answer of /health says nothing of the registry, and a metric is no status code.
        ready_command=("python", "-m", "stacks.local.registrar_ready", "--config", "{config}"),
        needs=Needs(memory_mb=1024, cpus=0.5),
        client_ports=(PortRole.MASTER,),
        replacement=Replacement(
            Replacing.LEADER_LAST,
            master_addresses(args.color, args.replicas, placing),
            Secret.MESOS_OPERATOR,
        )
        if args.rolled
        else Replacement(),
        snapshots=args.snapshots,
    )


def _secrets(args: MesosMastersArgs) -> tuple[str, ...]:
    identity = (args.zookeeper_identity,) if args.zookeeper_identity else ()
    return (Secret.MESOS_OPERATOR, *args.access.master_secrets, *identity)


def _access(args: MesosMastersArgs, placing: Placing) -> dict[str, Any]:
    """What not every group of masters has in its file."""
    place = placing.target.secret
    flags = dict(args.flags) | ({"domain": args.domain.flag} if args.domain else {})
    found: dict[str, Any] = {"flags": flags} if flags else {}
    if args.zookeeper_identity:
        found["zk_auth_file"] = place(args.zookeeper_identity)
    if args.access.master_secrets:
        found["principal_files"] = [place(one) for one in args.access.master_secrets]
        found["acls"] = args.access.acls()
    if args.access.agent_secret:
        found["authenticate_agents"] = True
    return found
