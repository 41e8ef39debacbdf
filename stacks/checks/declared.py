"""What a stack declares of its cluster, as values: from its configuration and its last outputs.

No input or output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.mesos.access import MARATHON_SECRET
from components.mesos.agents import AgentPool
from components.mesos.isolation import limits_tasks
from components.network.discovery import Discovery
from components.workload import Secret
from stacks import agents
from stacks.agents import OwnAgents
from stacks.checks.declared_objects import WantedObjects, declared_objects
from stacks.config import StackConfig
from stacks.topology import Color, Lifecycle, Stage, Standing, Tier, Topology

Resources = Mapping[str, float]
# It says where an agent stands, and not how it holds its tasks.
_OWN_FLAG = "cgroups_root"
# An output, and the key of its exporter among those of colours.
_MARATHON = "marathon"


@dataclass(frozen=True)
class Profile:
    """What agents of a pool offer, a part of the flags that they run with, and how many of them
    there are at least. `pool` is None where a cluster has agents of one kind."""

    resources: Resources
    flags: Mapping[str, str] = field(default_factory=dict[str, str])
    count: int = 1
    pool: str | None = None

    @property
    def limits_tasks(self) -> bool:
        """Whether its agents hold tasks to their share."""
        return limits_tasks(self.flags.get("isolation"))


@dataclass(frozen=True)
class Group:
    """A colour's tiers that exist: addresses as outputs name them, and what tells its agents from
    others. `voting` are ids of the servers
    of ZooKeeper that are to vote. `leads` is whether one of its masters must lead: not behind a
    leader projection."""

    color: Color
    zookeeper: tuple[str, ...] = ()
    masters: tuple[str, ...] = ()
    agents: OwnAgents | None = None
    voting: frozenset[int] = frozenset()
    leads: bool = True
    agents_drain: bool = False


@dataclass(frozen=True)
class Names:
    """A zone's servers. Mesos-DNS is asked who leads; Consul for its servers and an app."""

    servers: tuple[str, ...]
    zone: str
    kind: Discovery = Discovery.MESOS_DNS

    @property
    def own(self) -> str:
        """A name that has an address wherever its zone is served."""
        return f"leader.{self.zone}" if self.kind is Discovery.MESOS_DNS else self.of("consul")

    def of(self, service: str) -> str:
        """Where Consul has a service."""
        return f"{service}.service.{self.zone}"


@dataclass(frozen=True)
class EdgeGroup:
    """Admin addresses of an edge's replicas, its group, and the ports that are its own."""

    admin: tuple[str, ...]
    group: str
    own_ports: frozenset[int]


@dataclass(frozen=True)
class WantedEngine:
    """The sync engine's URL and the file of its token. `projection`: whether one of `leaders`, the
    target's masters, stands in the source's election path for good; `fence`: whether nobody else
    may enter there. None of either: a transition changes it."""

    url: str
    token_file: Path
    projection: bool | None = None
    fence: bool | None = None
    leaders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Declared:
    """All of it. `quota` are roles' limits, None where the stack declares no tenants: then roles
    are compared with what masters hold. An agent is of one of the `profiles`, and knows the
    `networks`. `quorum_of` is the size that masters' quorum is derived of while their number
    changes. `frameworks` are URLs of those that run canaries, `web_route` are URLs. `weights` are
    roles', None as `quota`. `marathon_runs`: it does not while its state changes sides. `exporters`
    are URLs of metrics, each with those that it has to ask at least. `objects` are what the
    API server has; None on one machine."""

    standing: Standing
    groups: tuple[Group, ...]
    profiles: tuple[Profile, ...]
    marathon: tuple[str, ...] = ()
    marathon_runs: bool = True
    quota: Mapping[str, Resources] | None = None
    weights: Mapping[str, float] | None = None
    bootstrapped: frozenset[Color] = frozenset()
    quorum_of: int | None = None
    names: Names | None = None
    networks: frozenset[str] = frozenset()
    edge: EdgeGroup | None = None
    frameworks: tuple[str, ...] = ()
    web_route: tuple[str, ...] = ()
    engine: WantedEngine | None = None
    exporters: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    objects: WantedObjects | None = None
    secrets: Path | None = None

    @property
    def credential_file(self) -> Path | None:
        """The operator's, where who checks finds secrets: on this machine, or in a pod that mounts
        them."""
        return None if self.secrets is None else self.secrets / Secret.MESOS_OPERATOR

    @property
    def marathon_credential_file(self) -> Path | None:
        """That of who asks Marathon, which takes no operator's."""
        return None if self.secrets is None else self.secrets / MARATHON_SECRET

    @property
    def leading(self) -> Group | None:
        """The group whose masters know all agents."""
        return next((group for group in self.groups if group.leads and group.masters), None)


def declared(config: StackConfig, standing: Standing, outputs: Mapping[str, Any]) -> Declared:
    """What a stack at a standing declares."""
    topology = Topology.at(standing)
    cluster = config.cluster
    groups = (
        _group(topology, color, outputs, cluster.zookeeper.size.voting)
        for color in (standing.source, standing.target)
    )
    edge: dict[str, Any] | None = outputs.get("edge")
    names: dict[str, Any] | None = outputs.get("discovery")
    engine: dict[str, Any] | None = outputs.get("engine")
    tenants = cluster.access.tenants
    return Declared(
        standing=standing,
        groups=tuple(group for group in groups if group is not None),
        profiles=tuple(map(_profile, cluster.agents.declared_pools)),
        marathon=_addresses(outputs.get(_MARATHON)),
        marathon_runs=topology.framework_color is not None,
        quota={one.role: dict(one.limits) for one in tenants if one.limits} if tenants else None,
        weights={one.role: one.weight for one in tenants} if tenants else None,
        bootstrapped=frozenset(cluster.masters.bootstrapped),
        quorum_of=cluster.masters.quorum_of,
        names=_names(names) if names else None,
        networks=frozenset(one.name for one in cluster.networks.declared),
        edge=_edge(edge) if edge else None,
        frameworks=tuple(map(str, dict(outputs.get("frameworks") or {}).values())),
        web_route=_addresses(outputs.get("web_route")),
        engine=_engine(engine, topology, outputs) if engine else None,
        exporters=_exporters(topology, outputs),
        objects=declared_objects(config, topology, outputs),
        secrets=_secrets(outputs),
    )


def _group(
    topology: Topology, color: Color, outputs: Mapping[str, Any], voting: int
) -> Group | None:
    masters = _addresses(outputs.get(f"{color}_masters"))
    own_agents = agents.read(outputs.get(f"{color}_agents"))
    hosts = str(outputs.get(f"{color}_zookeeper") or "")
    if not hosts and not masters and own_agents is None:
        return None
    is_target = color is topology.standing.target
    return Group(
        color,
        zookeeper=tuple(hosts.split(",")) if hosts else (),
        masters=masters,
        agents=own_agents,
        # The first ones vote; their ids begin with 1.
        voting=frozenset(range(1, voting + 1)),
        # Between the two it is the acts of a transition that decide.
        leads=is_target or topology.projection is False,
        agents_drain=topology.lifecycle(color, Tier.AGENTS) is Lifecycle.DRAINING,
    )


def _profile(pool: AgentPool) -> Profile:
    isolation = pool.isolation.flags(_OWN_FLAG) if pool.isolation else {}
    flags = {**pool.flags, **isolation}
    resources = {"cpus": pool.cpus, "mem": float(pool.mem_mb), "disk": float(pool.disk_mb)}
    flags = {name: value for name, value in flags.items() if name != _OWN_FLAG}
    return Profile(resources, flags, pool.count, pool.name)


def _engine(
    output: Mapping[str, Any], topology: Topology, outputs: Mapping[str, Any]
) -> WantedEngine:
    standing = topology.standing
    # The way forward fences before it moves, the way back lifts the fence before.
    moved = standing.position.stage is Stage.MOVED
    return WantedEngine(
        str(output["url"]),
        Path(str(output["token_file"])),
        projection=topology.projection,
        fence=None if moved else topology.projection,
        leaders=_addresses(outputs.get(f"{standing.target}_masters")),
    )


def _exporters(topology: Topology, outputs: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """That of Marathon has nobody to hear of while Marathon stands still."""
    urls: dict[str, Any] = dict(outputs.get("exporters") or {})
    stands_still = topology.framework_color is None
    return {
        str(url): _addresses(outputs.get(_MARATHON if name == _MARATHON else f"{name}_masters"))
        for name, url in urls.items()
        if not (name == _MARATHON and stands_still)
    }


def _names(output: Mapping[str, Any]) -> Names:
    # Outputs of an update before this was told name Mesos-DNS, or a Consul that nobody had told.
    kind = Discovery(str(output.get("kind", Discovery.MESOS_DNS)))
    return Names(_addresses(output["addresses"]), str(output["zone"]), kind)


def _edge(output: Mapping[str, Any]) -> EdgeGroup:
    addresses = _addresses(output["addresses"])
    admin = _addresses(output["admin"])
    own = frozenset(int(one.rpartition(":")[2]) for one in (*addresses, *admin))
    return EdgeGroup(admin, str(output["group"]), own)


def _secrets(outputs: Mapping[str, Any]) -> Path | None:
    folder, run_dir = outputs.get("secrets_dir"), outputs.get("run_dir")
    if folder is not None:
        return Path(str(folder))
    return None if run_dir is None else Path(str(run_dir)) / "secrets"


def _addresses(output: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in output or ())
