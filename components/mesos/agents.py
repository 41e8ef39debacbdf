"""Mesos agents.

An agent is its work folder, address and port: these never depend on how often it is declared, and
colour is no attribute of an agent, because an agent with changed attributes refuses to recover. Its
tasks outlive it when it is restarted, and end when it is removed.

Agents of one kind are a pool: what they offer, how they isolate, and on which nodes they stand.
Where the target has nodes, a pool stands on each of those that its labels choose, and each node is
looked at before an agent starts there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.base import Component, Placing, workload_name
from components.errors import ArgumentsError
from components.mesos.access import NOBODY, Access
from components.mesos.engine import AGENT_FLAGS, DEFAULT_RELEASE, Flags, Release, check_flags
from components.mesos.isolation import Containerizer, Isolation, Profile
from components.network.cni import LAUNCHER_DIR, Networks
from components.workload import (
    Member,
    OnNodes,
    PortRole,
    Probe,
    Program,
    Readiness,
    Replacement,
    Replacing,
    Secret,
    Shape,
    Workload,
)
from controllers.node_network.profiles import PORT_MAPPER

TIER = "agents"
_WORK = "work"
DOCKER_SOCKET = "/var/run/docker.sock"
RUNTIME_DIR = "/var/run/mesos"
# They follow from the declaration; a second word for them would make it a lie.
_OWN_FLAGS = frozenset(
    {"attributes", "cgroups_root", "containerizers", "credential", "docker_socket",
     "docker_store_dir", "fetcher_cache_dir", "fetcher_cache_size", "hostname", "hostname_lookup",
     "image_gc_config", "ip", "isolation", "launcher", "master", "network_cni_config_dir",
     "network_cni_plugins_dir", "port", "reconfiguration_policy", "resources", "runtime_dir",
     "systemd_enable_support", "work_dir"}
)  # fmt: skip


@dataclass(frozen=True)
class Caches:
    """What an agent keeps for the next task, in MB and as a share of its disk.

    Images that nobody uses are let go when more than 1 - `image_headroom` of the disk is full.
    """

    fetcher_mb: int = 2048
    image_headroom: float = 0.1

    def __post_init__(self) -> None:
        if self.fetcher_mb < 0 or not 0 < self.image_headroom < 1:
            msg = (
                "expected a cache of 0 MB or more and a headroom between 0 and 1, saw "
                f"{self.fetcher_mb} MB and {self.image_headroom:g}"
            )
            raise ArgumentsError(msg)


@dataclass(frozen=True)
class AgentPool:
    """Agents of one kind. `count` is how many there are, or on a target with nodes how many are
    expected; each offers `cpus`, `mem_mb` and `disk_mb`.

    `name` is None for the pool of a cluster that has one kind. `selector` are labels of nodes, and
    `tolerations` keys of taints. `isolation` None: this project's own programs decide. `flags` are
    further ones of `mesos-agent`.

    Raises:
        ArgumentsError: there would be no agent, or a flag is unknown or not for the caller to set.
    """

    name: str | None = None
    count: int = 2
    cpus: float = 8.0
    mem_mb: int = 8192
    disk_mb: int = 8192
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    selector: Mapping[str, str] = field(default_factory=dict[str, str])
    tolerations: tuple[str, ...] = ()
    isolation: Isolation | None = None
    caches: Caches = Caches()
    flags: Flags = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if self.count < 1:
            msg = f"a cluster has at least one agent, saw {self.count}"
            raise ArgumentsError(msg)
        if "color" in self.attributes:
            msg = "colour is no attribute: an agent that changed it would refuse to recover"
            raise ArgumentsError(msg)
        check_flags(self.what, self.flags, AGENT_FLAGS, _OWN_FLAGS)

    @property
    def what(self) -> str:
        """For people."""
        return f"agents of pool {self.name}" if self.name else "agents"


@dataclass(frozen=True)
class MesosAgentsArgs:
    """A pool of one colour, and whom it follows: `election_url` names its colour's ensemble.

    `masters` are endpoints of all masters that it may ever follow, its own colour's first: who
    replaces agents has them drained there. None of them: somebody else replaces agents. Without
    `networks`, containers use their node's.

    Raises:
        ArgumentsError: the release cannot isolate as the pool says, or the pool's agents know no
            networks.
    """

    color: str
    program: Program
    election_url: str
    pool: AgentPool = AgentPool()
    fresh: bool = False
    release: Release = DEFAULT_RELEASE
    access: Access = NOBODY
    zookeeper_identity: str | None = None
    masters: tuple[str, ...] = ()
    networks: Networks | None = None

    def __post_init__(self) -> None:
        isolation = self.pool.isolation
        if isolation is None:
            return
        isolation.check(self.release)
        if self.networks is not None:
            check_networks(self.pool)


def check_networks(pool: AgentPool) -> None:
    """Refuse a pool whose containers cannot be on a network of their own.

    Raises:
        ArgumentsError: as said above.
    """
    isolation = pool.isolation
    if isolation is None:
        return
    if isolation.profile is Profile.POSIX or Containerizer.MESOS not in isolation.containerizers:
        msg = (
            f"expected {pool.what} to isolate by the profile cgroups or hardened and with the "
            f"containerizer mesos, which attaches containers to networks, saw {isolation.profile} "
            f"and {', '.join(isolation.containerizers)}"
        )
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


def check_pools(pools: Sequence[AgentPool]) -> None:
    """Refuse pools that could meet on one node, where their agents would want the same port.

    Raises:
        ArgumentsError: two pools have one name, or labels that one node can have both of.
    """
    names = [pool.name for pool in pools]
    if twice := sorted({str(name) for name in names if names.count(name) > 1}):
        msg = f"expected pools of agents with names of their own, saw {', '.join(twice)} twice"
        raise ArgumentsError(msg)
    for index, one in enumerate(pools):
        for other in pools[index + 1 :]:
            shared = one.selector.keys() & other.selector.keys()
            if not any(one.selector[key] != other.selector[key] for key in shared):
                msg = (
                    f"expected pools {one.name} and {other.name} on different nodes, saw selectors "
                    f"{dict(one.selector)} and {dict(other.selector)} that one node can match: "
                    "their agents would want the same port of it. Give both one label with two "
                    "values"
                )
                raise ArgumentsError(msg)


class MesosAgents(Component):
    """Agents of one colour and pool; `addresses` are their HTTP endpoints, where they are known
    before they run."""

    addresses: list[str]

    def __init__(self, args: MesosAgentsArgs, placing: Placing) -> None:
        name = workload_name(TIER, args.color, args.pool.name)
        known = 0 if placing.target.has_nodes else args.pool.count
        self.addresses = [
            str(placing.target.endpoint(name, args.color, PortRole.AGENT, index))
            for index in range(known)
        ]
        super().__init__("mesos", "Agents", _workload(name, args, placing), placing)
        self.finish({"addresses": self.addresses})


def _workload(name: str, args: MesosAgentsArgs, placing: Placing) -> Workload:
    pool = args.pool
    members: list[Member] = []
    # Agents of nodes have one file: how many are expected must change nothing of them.
    for index in range(1 if placing.target.has_nodes else pool.count):
        member = f"{name}-{index}"
        endpoint = placing.target.endpoint(name, args.color, PortRole.AGENT, index)
        resources: dict[str, Any] = {
            "cpus": pool.cpus,
            "mem": pool.mem_mb,
            "disk": pool.disk_mb,
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
            "private_dir": placing.target.private_dir(member),
            "resources": resources,
            **_settings(name, args, placing, placing.target.directory(member)),
        }
        text = json.dumps(config, indent=2) + "\n"
        members.append(Member(member, index, text, {PortRole.AGENT: endpoint.port}))
    asker = Replacement(Replacing.DRAINED, args.masters, Secret.MESOS_OPERATOR)
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
        secrets=_secrets(args),
        writes_secrets=True,
        fresh=args.fresh,
        leaves_children=True,
        replacement=asker if args.masters else Replacement(),
        on_nodes=OnNodes(
            selector=pool.selector,
            tolerations=pool.tolerations,
            paths=(DOCKER_SOCKET,) if _uses_docker(pool.isolation) else (),
            check_command=_check(args, placing.target.directory(members[0].name)),
            setup=args.networks and args.networks.setup(),
        ),
    )


def _secrets(args: MesosAgentsArgs) -> tuple[str, ...]:
    wanted = (args.access.agent_secret, args.zookeeper_identity)
    return tuple(secret for secret in wanted if secret)


def _settings(name: str, args: MesosAgentsArgs, placing: Placing, directory: str) -> dict[str, Any]:
    """What not every agent has in its file."""
    found: dict[str, Any] = {}
    if args.pool.attributes:
        found["attributes"] = dict(args.pool.attributes)
    if args.access.agent_secret:
        found["credential_file"] = placing.target.secret(args.access.agent_secret)
    if args.zookeeper_identity:
        found["zk_auth_file"] = placing.target.secret(args.zookeeper_identity)
    flags = {**args.pool.flags, **(args.networks.flags() if args.networks else {})}
    isolation = args.pool.isolation
    if isolation is not None:
        # Apart from agents of the other colour, which may stand on the same node.
        flags |= isolation.flags(f"mesos/{name}") | _caches(args.pool.caches, directory)
        if _uses_docker(isolation):
            flags["docker_socket"] = DOCKER_SOCKET
        found["isolation"] = "posix" if isolation.profile is Profile.POSIX else "cgroups"
        # A file system in memory, which a reboot empties.
        found["runtime_dir"] = RUNTIME_DIR
    if flags:
        found["flags"] = flags
    return found


def _caches(caches: Caches, directory: str) -> dict[str, str]:
    # The defaults lie below /tmp, which is the pod's own and ends with it.
    images = {
        "image_disk_headroom": caches.image_headroom,
        "image_disk_watch_interval": {"nanoseconds": 3600 * 10**9},
    }
    return {
        "docker_store_dir": f"{directory}/images",
        "fetcher_cache_dir": f"{directory}/fetched",
        "fetcher_cache_size": f"{caches.fetcher_mb}MB",
        "image_gc_config": json.dumps(images),
    }


def _uses_docker(isolation: Isolation | None) -> bool:
    return isolation is not None and Containerizer.DOCKER in isolation.containerizers


def _check(args: MesosAgentsArgs, directory: str) -> tuple[str, ...]:
    """The look at a node before its agent starts: see controllers.node_check. What the stand-ins
    offer are declared numbers, which no node need have."""
    pool, networks = args.pool, args.networks
    if pool.isolation is None:
        return ()
    words: list[str] = ["--work-dir", directory, "--disk-mb", str(pool.disk_mb)]
    words += ["--mem-mb", str(pool.mem_mb), "--cpus", f"{pool.cpus:g}"]
    if pool.isolation.profile is not Profile.POSIX:
        words += ["--cgroups", str(int(pool.isolation.cgroups))]
    if _uses_docker(pool.isolation):
        words += ["--docker-socket", DOCKER_SOCKET]
    if networks is not None:
        # Plugins run in the agent's image, and call it.
        words += ["--program", "iptables"]
        if networks.map_ports:
            words += ["--program", f"{LAUNCHER_DIR}/{PORT_MAPPER}"]
    return ("python", "-m", "controllers.node_check", *words)
