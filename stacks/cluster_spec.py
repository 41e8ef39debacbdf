"""What a cluster is: the part of stack configuration that says nothing of where it runs.

The models are pydantic's, because a person writes them; what they mean is decided by the components
that they become, whose refusals appear here under the key that caused them.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from clients.marathon.definition import read_app
from clients.marathon.errors import DefinitionError
from components.marathon.flags import Value as MarathonFlag
from components.marathon.flags import check as check_marathon_flags
from components.mesos.access import (
    COMMON_ROLE,
    MARATHON,
    SAMPLE,
    Access,
    Framework,
    Principal,
    Tenant,
)
from components.mesos.agents import AgentPool, Caches, check_networks, check_pools
from components.mesos.engine import MASTER_FLAGS, CgroupVersion, Engine, Release, check_flags
from components.mesos.isolation import Containerizer, Isolation, Profile
from components.mesos.masters import OWN_FLAGS as MASTERS_OWN_FLAGS
from components.zookeeper import VOTERS_MIN, EnsembleSize
from stacks.config_model import Model
from stacks.networks_spec import NetworksConfig
from stacks.topology import Color

_POOL_KEYS = (
    "count",
    "cpus",
    "mem_mb",
    "disk_mb",
    "attributes",
    "selector",
    "tolerations",
    "flags",
)


def _odd(number: int) -> int:
    if number % 2 == 0:
        msg = "a quorum has an odd number of members (1, 3, 5)"
        raise ValueError(msg)
    return number


Quorum = Annotated[int, Field(ge=1, le=9), AfterValidator(_odd)]


class ZooKeeperConfig(Model):
    """Each colour's ensemble."""

    replicas: Quorum = 3
    """Servers; odd. One machine has room for 3."""
    voters: Quorum | None = None
    """How many of them vote, the first ones, while their number changes; target `kubernetes`. To
    grow from 3 to 5: set it to 3 together with `replicas: 5`, update; set it to 5, update; when the
    ensemble's caretaker says that each has joined, take it back. To shrink: set it to 3, update;
    when it says that each has left, set `replicas` to 3, update; take it back."""
    tick_time_ms: int = Field(default=500, ge=50, le=10_000)
    """ZooKeeper's basic time unit; sessions last between 2 and 20 of them."""
    heap_mb: int = Field(default=128, ge=64)
    """Java heap of each server."""

    @property
    def size(self) -> EnsembleSize:
        """How many there are, and vote."""
        return EnsembleSize(self.replicas, self.voters)

    @model_validator(mode="after")
    def _has_its_voters(self) -> Self:
        if self.voters is not None and not VOTERS_MIN <= self.voters <= self.replicas:
            msg = f"expected {VOTERS_MIN} to {self.replicas} (replicas) voters, saw {self.voters}"
            raise ValueError(msg)
        return self


class DomainConfig(Model):
    """A fault domain; all masters of a group are of one region."""

    region: str = Field(min_length=1)
    """Region."""
    zone: str = Field(min_length=1)
    """Zone."""


class MastersConfig(Model):
    """Each colour's masters."""

    replicas: Quorum = 3
    """Masters; odd, the quorum is derived. One machine has room for 5."""
    quorum_of: Quorum | None = None
    """Size that the quorum is derived of while masters are added or taken away: the larger of both.
    Set it, update, let every master be replaced; change `replicas`; take it back."""
    bootstrapped: tuple[Color, ...] = ()
    """Colours whose masters have stored a registry. From then on a group whose logs are all empty
    refuses to start, where it would come up healthy and without quotas and weights; its masters
    are restarted when a colour is added here."""
    domain: DomainConfig | None = None
    """Fault domain that they report."""
    flags: dict[str, str] = Field(default_factory=dict[str, str])
    """Further flags of `mesos-master`, held to the list of those that it knows."""

    @property
    def quorum(self) -> int:
        """How many masters must store a change."""
        return (self.quorum_of or self.replicas) // 2 + 1

    @model_validator(mode="after")
    def _is_no_less(self) -> Self:
        if self.quorum_of is not None and self.quorum_of < self.replicas:
            msg = f"quorum_of is the larger size, at least {self.replicas}, saw {self.quorum_of}"
            raise ValueError(msg)
        return self

    @field_validator("flags")
    @classmethod
    def _are_known(cls, given: dict[str, str]) -> dict[str, str]:
        check_flags("masters", given, MASTER_FLAGS, MASTERS_OWN_FLAGS)
        return given


class IsolationConfig(Model):
    """How agents keep tasks apart (components.mesos.isolation)."""

    profile: Profile = Profile.CGROUPS
    """`posix`, `cgroups` or `hardened`."""
    cgroups: CgroupVersion = CgroupVersion.V2
    """Version of the nodes' control groups; each node is looked at before an agent starts there."""
    containerizers: tuple[Containerizer, ...] = (Containerizer.MESOS,)
    """What starts tasks: `mesos`, `docker`, or both; the first that can takes a task."""


class CachesConfig(Model):
    """What agents keep for the next task."""

    fetcher_mb: int = Field(default=2048, ge=0)
    """Fetched files, in MB."""
    image_headroom: float = Field(default=0.1, gt=0, lt=1)
    """Share of the disk that is kept free of images that nobody uses."""


class PoolConfig(Model):
    """Agents of one kind."""

    count: int = Field(default=2, ge=1)
    """Agents. One machine has room for 5; on Kubernetes it is how many nodes are expected."""
    cpus: float = Field(default=8.0, gt=0)
    """Processors that each agent offers; a declared number, not a measured one."""
    mem_mb: int = Field(default=8192, ge=32)
    """Memory that each agent offers."""
    disk_mb: int = Field(default=8192, ge=0)
    """Disk that each agent offers."""
    attributes: dict[str, str] = Field(default_factory=dict[str, str])
    """What frameworks may choose agents by; a changed value is refused by the agent."""
    selector: dict[str, str] = Field(default_factory=dict[str, str])
    """Labels of the nodes that it stands on."""
    tolerations: tuple[str, ...] = ()
    """Keys of taints that do not keep it away."""
    isolation: IsolationConfig | None = None
    """None: as this project's own programs do it, which is for trying things out."""
    caches: CachesConfig = CachesConfig()
    flags: dict[str, str] = Field(default_factory=dict[str, str])
    """Further flags of `mesos-agent`, held to the list of those that it knows."""

    def declared(self, name: str | None) -> AgentPool:
        """As components take it."""
        isolation = self.isolation and Isolation(**dict(self.isolation))
        given = {key: getattr(self, key) for key in _POOL_KEYS}
        caches = Caches(**dict(self.caches))
        return AgentPool(name=name, isolation=isolation, caches=caches, **given)

    @model_validator(mode="after")
    def _is_a_pool(self) -> Self:
        self.declared(None)
        return self


class AgentsConfig(PoolConfig):
    """Each colour's agents: of one kind, or in `pools`."""

    pools: dict[Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,20}[a-z0-9])?$")], PoolConfig] = (
        Field(default_factory=dict[str, PoolConfig])
    )
    """Pools by name, on nodes that no two of them share; the other keys then say nothing."""

    @property
    def declared_pools(self) -> tuple[AgentPool, ...]:
        """As components take them."""
        if not self.pools:
            return (self.declared(None),)
        return tuple(pool.declared(name) for name, pool in sorted(self.pools.items()))

    @property
    def total(self) -> int:
        """Agents of all pools."""
        return sum(pool.count for pool in self.declared_pools)

    @model_validator(mode="after")
    def _stand_apart(self) -> Self:
        check_pools(self.declared_pools)
        if self.pools and (both := self.model_fields_set - {"pools"}):
            msg = f"agents are of one kind or in pools, saw pools and {', '.join(sorted(both))}"
            raise ValueError(msg)
        return self


class EngineConfig(Model):
    """Which Mesos runs."""

    name: Engine = Engine.CLUSTERD
    """`clusterd`, the living fork, or `mesos`, which was retired in 2025."""
    version: str = "1.11.0-0.9.0"
    """Its version: which control groups its agents know follows from it."""

    @property
    def release(self) -> Release:
        """As components take it."""
        return Release(self.name, self.version)

    @model_validator(mode="after")
    def _is_a_release(self) -> Self:
        _ = self.release
        return self


class PrincipalConfig(Model):
    """Somebody who subscribes frameworks; its secret is a file `principal-<name>`."""

    name: str
    """Principal."""
    users: tuple[str, ...] = ("nobody",)
    """Users of the nodes that its tasks may run as."""


class TenantConfig(Model):
    """A role, its share of the cluster, and who subscribes with it."""

    role: str
    """Role; those below it (`dev/web`) are its own."""
    weight: float = Field(default=1.0, gt=0)
    """Share relative to others, of what no guarantee holds back."""
    limits: dict[str, float] = Field(default_factory=dict[str, float])
    """At most: cpus, mem and disk (MB), gpus."""
    guarantees: dict[str, float] = Field(default_factory=dict[str, float])
    """Kept free for it."""
    principals: tuple[PrincipalConfig, ...] = ()
    """Who subscribes with it."""

    @property
    def declared(self) -> Tenant:
        """As components take it."""
        principals = tuple(Principal(one.name, one.users) for one in self.principals)
        return Tenant(self.role, self.weight, self.limits, self.guarantees, principals)

    @model_validator(mode="after")
    def _is_a_tenant(self) -> Self:
        _ = self.declared
        return self


class FrameworkConfig(Model):
    """The sample framework."""

    tasks: int = Field(default=8, ge=0)
    """Long-running tasks that it keeps."""


class MarathonBackupConfig(Model):
    """Copies of Marathon's state on a volume of their own, on target `kubernetes`."""

    every_h: float = Field(default=6.0, ge=0.25)
    """Hours between two copies."""
    keep: int = Field(default=28, ge=1)
    """Copies that stay: a week of them."""


class MarathonConfig(Model):
    """Marathon and its apps."""

    instances: int = Field(default=1, ge=0)
    """Instances, of which one leads; 0: there is no Marathon. One machine has room for 3."""
    users: tuple[str, ...] = Field(default=("root",), min_length=1)
    """Users of the nodes that apps may run as; the first is that of apps which name none."""
    apps: tuple[dict[str, Any], ...] | None = None
    """Apps, in Marathon's own field names. None: two small ones on target `local`; none elsewhere,
    where Marathon is seldom reached from where Pulumi runs."""

    backup: MarathonBackupConfig | None = None
    """None: its state is copied by migrations alone, and with the ensemble's volumes."""
    flags: dict[str, MarathonFlag] = Field(default_factory=dict[str, MarathonFlag])
    """Further flags of Marathon, under its own names, held to the list of those that 1.10 knows.
    The stand-in follows those that mean something to it."""

    @field_validator("flags")
    @classmethod
    def _are_known(cls, given: Any) -> Any:
        check_marathon_flags(given)
        return given

    @field_validator("apps")
    @classmethod
    def _are_definitions(cls, given: tuple[dict[str, Any], ...] | None) -> Any:
        try:
            read = tuple(read_app(one) for one in given or ())
        except DefinitionError as error:
            raise ValueError(str(error)) from None
        ids = [str(app["id"]) for app in read]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            msg = f"an app is declared once, saw {', '.join(twice)} more often"
            raise ValueError(msg)
        return None if given is None else read

    @model_validator(mode="after")
    def _has_where_to_run(self) -> MarathonConfig:
        if self.apps and not self.instances:
            msg = "apps need an instance of Marathon"
            raise ValueError(msg)
        for app in self.apps or ():
            if (user := app.get("user") or self.users[0]) not in self.users:
                msg = (
                    f"expected app {app['id']} to run as one of marathon.users "
                    f"({', '.join(self.users)}), saw {user!r}: masters would refuse its tasks"
                )
                raise ValueError(msg)
        return self


class TrafficConfig(Model):
    """What each client group does."""

    rate_per_s: int = Field(default=200, ge=0)
    """Writes a second."""
    znodes: int = Field(default=1000, ge=1)
    """Znodes that they are spread over."""


class ClusterSpec(Model):
    """Sizes; equal for both colours, because a migration moves a cluster, it does not resize it."""

    engine: EngineConfig = EngineConfig()
    zookeeper: ZooKeeperConfig = ZooKeeperConfig()
    masters: MastersConfig = MastersConfig()
    agents: AgentsConfig = AgentsConfig()
    networks: NetworksConfig = NetworksConfig()
    """Of containers, on target `kubernetes`; none: they use their node's."""
    framework: FrameworkConfig = FrameworkConfig()
    marathon: MarathonConfig = MarathonConfig()
    traffic: TrafficConfig = TrafficConfig()
    tenants: tuple[TenantConfig, ...] = ()
    """Roles with their share, and who subscribes with them. With one, masters ask everybody who
    they are, and refuse what no rule allows."""

    @property
    def access(self) -> Access:
        """Who may do what, for all that have to know it."""
        frameworks = [Framework(SAMPLE)]
        if self.marathon.instances:
            role = str(self.marathon.flags.get("mesos_role", COMMON_ROLE))
            frameworks.append(Framework(MARATHON, self.marathon.users, role))
        tenants = tuple(tenant.declared for tenant in self.tenants)
        return Access(tenants, frameworks=tuple(frameworks))

    @property
    def capacity(self) -> dict[str, float]:
        """What all agents of a colour offer."""
        pools = self.agents.declared_pools
        return {
            "cpus": sum(pool.count * pool.cpus for pool in pools),
            "mem": sum(pool.count * pool.mem_mb for pool in pools),
            "disk": sum(pool.count * pool.disk_mb for pool in pools),
        }

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.access.check_capacity(self.capacity)
        for pool in self.agents.declared_pools:
            if pool.isolation is not None:
                pool.isolation.check(self.engine.release)
            if self.networks.declared:
                check_networks(pool)
        return self
