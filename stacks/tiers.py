"""The tiers of one colour: its ensemble, its masters, its agents.

From what configuration says and where the topology stands, to the arguments of components; what a
target alone has (certificates, copies of volumes, who looks after pods) is only asked for there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from components.base import Placing
from components.mesos.access import ZOOKEEPER
from components.mesos.agents import MesosAgents, MesosAgentsArgs
from components.mesos.masters import (
    FaultDomain,
    MesosMasters,
    MesosMastersArgs,
    master_addresses,
)
from components.network.cni import Networks
from components.workload import Certificate, Issuer, PortRole, Program, Snapshots
from components.zookeeper import Launch, ZooKeeperEnsemble, ZooKeeperEnsembleArgs, client_hosts
from stacks.agents import NodeAgents
from stacks.config import StackConfig, TargetKind
from stacks.topology import Color, Position, Tier, Topology

# Where a tier of the target is created; until then old content of its folders is nobody's.
_FRESH_UNTIL = {Tier.ZOOKEEPER: 1, Tier.MASTERS: 2, Tier.AGENTS: 4}
Place = Callable[..., Placing]


@dataclass(frozen=True)
class TierPrograms:
    """What executes."""

    zookeeper: Program
    master: Program
    agent: Program


@dataclass(frozen=True)
class Declared:
    """What a colour has. `ensemble`: what clients of its ZooKeeper wait for; `mesos`: what tasks
    need."""

    ensemble: list[pulumi.Resource] = field(default_factory=list[pulumi.Resource])
    mesos: list[pulumi.Resource] = field(default_factory=list[pulumi.Resource])
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])


class Tiers:
    """Tiers of either colour at one standing. `place` gives what components are told besides."""

    def __init__(
        self, config: StackConfig, topology: Topology, programs: TierPrograms, place: Place
    ) -> None:
        self._config = config
        self._topology = topology
        self._programs = programs
        self._place = place

    def hosts(self, color: Color) -> str:
        """Client addresses of a colour's ensemble, also of one that does not exist now."""
        return self._hosts_of(color, PortRole.ZOOKEEPER_CLIENT)

    def engine_hosts(self, color: Color) -> str:
        """Those that the sync engine uses: over TLS where there is any."""
        secure = self.certificate(color) is not None
        return self._hosts_of(
            color, PortRole.ZOOKEEPER_SECURE if secure else PortRole.ZOOKEEPER_CLIENT
        )

    def certificate(self, owner: str) -> Certificate | None:
        """The certificate of a colour's ensemble, or of the sync engine; None without TLS."""
        kubernetes = self._config.kubernetes
        if kubernetes is None or kubernetes.tls is None:
            return None
        issuer = kubernetes.tls.issuer
        name = f"{owner}-zookeeper" if owner in set(Color) else owner
        return Certificate(f"{name}-tls", issuer and Issuer(issuer.name, issuer.kind))

    @property
    def identity(self) -> str | None:
        """Secret with which whoever writes to ZooKeeper says who it is; None: nobody does."""
        kubernetes = self._config.kubernetes
        return ZOOKEEPER if kubernetes and kubernetes.zookeeper_acl else None

    @property
    def snapshots(self) -> Snapshots | None:
        """How volumes are copied; None: they are not."""
        wanted = self._config.kubernetes and self._config.kubernetes.snapshots
        return Snapshots(wanted.driver, wanted.every_h, wanted.keep) if wanted else None

    def fresh(self, color: Color, tier: Tier) -> bool:
        """Whether a tier that is created now must not find old content."""
        standing = self._topology.standing
        last = Position(_FRESH_UNTIL[tier])
        return color is standing.target and standing.position.index <= last.index

    def masters(self, color: Color) -> tuple[str, ...]:
        """Endpoints of a colour's masters, also of those that do not exist now."""
        replicas = self._config.cluster.masters.replicas
        return master_addresses(color, replicas, self._place([], protect=False))

    def declare(self, color: Color) -> Declared:
        """Declare those tiers of a colour that the topology wants."""
        made = Declared()
        self._declare_ensemble(color, made)
        ready = self._declare_masters(color, made)
        self._declare_agents(color, ready, made)
        return made

    def _declare_ensemble(self, color: Color, made: Declared) -> None:
        state = self._topology.tier(color, Tier.ZOOKEEPER)
        if not state.exists:
            return
        sizes, kubernetes = self._config.cluster.zookeeper, self._config.kubernetes
        zookeeper = ZooKeeperEnsemble(
            ZooKeeperEnsembleArgs(
                color=color,
                program=self._programs.zookeeper,
                replicas=sizes.replicas,
                voters=sizes.voters,
                initial_epoch=self._config.migration.epochs.get(color),
                tick_time_ms=sizes.tick_time_ms,
                heap_mb=sizes.heap_mb,
                fresh=self.fresh(color, Tier.ZOOKEEPER),
                launch=Launch.IMAGE if self._on_cluster else Launch.LAUNCHER,
                certificate=self.certificate(color),
                sasl_users=kubernetes.sasl_users if kubernetes else (),
                snapshots=self.snapshots,
            ),
            self._place([], protect=state.protect),
        )
        made.ensemble.extend(zookeeper.ready)
        made.outputs[f"{color}_zookeeper"] = zookeeper.hosts

    def _declare_masters(self, color: Color, made: Declared) -> Sequence[pulumi.Resource]:
        state = self._topology.tier(color, Tier.MASTERS)
        if not state.exists:
            return made.ensemble
        cluster = self._config.cluster
        domain = cluster.masters.domain
        masters = MesosMasters(
            MesosMastersArgs(
                color=color,
                program=self._programs.master,
                zookeeper_hosts=self.hosts(color),
                replicas=cluster.masters.replicas,
                quorum_of=cluster.masters.quorum_of,
                fresh=self.fresh(color, Tier.MASTERS),
                bootstrapped=color in cluster.masters.bootstrapped,
                zookeeper_identity=self.identity,
                access=self._config.access,
                release=cluster.engine.release,
                domain=domain and FaultDomain(domain.region, domain.zone),
                flags=cluster.masters.flags,
                rolled=self._on_cluster,
                snapshots=self.snapshots,
            ),
            self._place(made.ensemble, protect=state.protect),
        )
        made.mesos.extend(masters.ready)
        made.outputs[f"{color}_masters"] = masters.addresses
        return [*made.ensemble, *masters.ready]

    def _declare_agents(
        self, color: Color, ready: Sequence[pulumi.Resource], made: Declared
    ) -> None:
        state = self._topology.tier(color, Tier.AGENTS)
        if not state.exists:
            return
        cluster = self._config.cluster
        addresses: list[str] = []
        for pool in cluster.agents.declared_pools:
            agents = MesosAgents(
                MesosAgentsArgs(
                    color=color,
                    program=self._programs.agent,
                    election_url=f"zk://{self.hosts(color)}/mesos",
                    pool=pool,
                    fresh=self.fresh(color, Tier.AGENTS),
                    release=cluster.engine.release,
                    access=self._config.access,
                    zookeeper_identity=self.identity,
                    masters=self._any_masters(color) if self._on_cluster else (),
                    networks=self._networks,
                ),
                self._place(ready, protect=state.protect),
            )
            made.mesos.extend(agents.ready)
            addresses += agents.addresses
        on_nodes = self._agents_of_nodes(color)
        made.outputs[f"{color}_agents"] = on_nodes.as_output() if on_nodes else addresses

    def _agents_of_nodes(self, color: Color) -> NodeAgents | None:
        """What tells a colour's agents where nobody knows their addresses before they run."""
        target = self._place([], protect=False).target
        ports = target.task_ports(color, 0)
        if not target.has_nodes or ports is None:
            return None
        port = target.endpoint(Tier.AGENTS, color, PortRole.AGENT, 0).port
        return NodeAgents(port, ports, self._config.cluster.agents.total)

    def _any_masters(self, color: Color) -> tuple[str, ...]:
        """Those of both colours, the own ones first: in the middle of a migration agents follow the
        other's, and nothing of them may change for that."""
        others = [other for other in Color if other is not color]
        return tuple(address for each in (color, *others) for address in self.masters(each))

    def _hosts_of(self, color: Color, role: PortRole) -> str:
        voting = self._config.cluster.zookeeper.size.voting
        return client_hosts(color, voting, self._place([], protect=False), role)

    @property
    def _networks(self) -> Networks | None:
        profiles, kubernetes = self._config.cluster.networks.declared, self._config.kubernetes
        if not profiles or kubernetes is None:
            return None
        command = ("python", "-m", "controllers.node_network")
        return Networks(profiles, Program(command, kubernetes.images.networks))

    @property
    def _on_cluster(self) -> bool:
        return self._config.target is TargetKind.KUBERNETES
