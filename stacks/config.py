"""Stack configuration: the only place that reads `pulumi.Config`, and what its keys may be.

A stack is configured in `Pulumi.<stack>.yaml` below `mesos-platform:`. The models here are all
there is: an unknown key is an error that names the key, where it stands, and the nearest known one,
because a key that is silently ignored is found out in the middle of a migration.

`parse` is pure and takes values as YAML or Pulumi give them (nested ones as JSON text); `read` asks
Pulumi. `migration` is written by the executor of migrations, a person may edit it too: the gate
(stacks.gate) decides whether the move is one.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, cast, get_args

import pulumi.runtime
from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from components.mesos.access import Access
from components.monitoring.probe_watch import Watch
from components.network.cni import check_beside
from components.network.discovery import Discovery
from components.targets.port_map import SIZE, room_for
from components.workload import PortRole
from stacks.cluster_spec import ClusterSpec
from stacks.config_model import Model
from stacks.errors import ConfigError
from stacks.kubernetes_config import KubernetesConfig
from stacks.sample_apps import SAMPLE_APPS
from stacks.services_spec import ServicesConfig
from stacks.topology import Color, Placement, Position, Standing, TopologyError

NAMESPACE = "mesos-platform"
# Starts the message, so that it is told from the engine's own.
CONFIG_WRONG = "configuration of stack "
_ZOOKEEPER = PortRole.ZOOKEEPER_CLIENT
_GROUP_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


class TargetKind(StrEnum):
    """Where a stack's workloads run."""

    LOCAL = "local"
    KUBERNETES = "kubernetes"


class LocalConfig(Model):
    """The target `local`."""

    port_base: int = Field(ge=1024, le=32_000 - SIZE)
    """First of 100 consecutive free ports; below the range that the kernel hands to clients."""
    run_dir: str | None = None
    """Folder for everything that runs, below `.local/`; `.local/<stack>` when None. It is removed
    with the stack."""

    @field_validator("run_dir")
    @classmethod
    def _lies_below_local(cls, given: str | None) -> str | None:
        # What the demo removes must never be a person's own.
        parts = PurePosixPath(given).parts if given is not None else (".local", "any")
        if parts[:1] != (".local",) or len(parts) == 1 or ".." in parts:
            msg = "a run_dir is a folder below .local/, such as .local/mine, without '..'"
            raise ValueError(msg)
        return given


class BoundsConfig(Model):
    """How patient and how strict a migration of this stack is (see stacks.migration.bounds)."""

    lag_p99_ms: float = Field(default=50.0, ge=1, le=60_000)
    """99 of 100 changes must reach the other side within this time before masters are touched."""
    soak_s: float = Field(default=4.0, ge=1, le=86_400)
    """For so long they must, in one go."""
    quiet_s: float = Field(default=5.0, ge=0, le=86_400)
    """For so long no foreign session may be open on the ensemble that goes; minutes where clients
    reconnect seldom."""
    batch_size: int = Field(default=4, ge=1)
    """Tasks that move at the same time."""
    clock_skew_s: float = Field(default=5.0, ge=1)
    """Clocks of masters and agents may differ so much from the runner's."""


class MigrationConfig(Model):
    """Where the stack should stand (see stacks.topology)."""

    source: Color = Color.BLUE
    """Colour that a migration leaves."""
    target: Color = Color.GREEN
    """Colour that it goes to."""
    position: str = "0"
    """Position on the way: `0` to `6`, or a place between two such as `2/prepared`."""
    permit: str | None = None
    """Lets one removing move through the gate; written by the executor."""
    epochs: dict[Color, Annotated[int, Field(ge=0)]] = Field(default_factory=dict[Color, int])
    """First epoch of a colour's fresh ensemble, above that of the ensemble it takes over from."""
    client_groups: dict[str, Placement] = Field(
        default_factory=lambda: {"traffic": Placement.SOURCE}
    )
    """Client groups, and on which side each runs: `source`, `stopped` or `target`."""

    @property
    def standing(self) -> Standing:
        """As a value that stacks.topology understands."""
        return Standing(
            source=self.source,
            target=self.target,
            position=Position.parse(self.position),
            groups=self.client_groups,
        )

    @model_validator(mode="before")
    @classmethod
    def _take_position_as_text(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        values = cast("dict[str, Any]", data)
        # `position: 3` is a number to YAML.
        if isinstance(values.get("position"), int):
            return {**values, "position": str(values["position"])}
        return values

    @model_validator(mode="after")
    def _is_a_standing(self) -> MigrationConfig:
        for name in self.client_groups:
            if not _GROUP_NAME.fullmatch(name):
                msg = f"a client group is named by {_GROUP_NAME.pattern}, not {name!r}"
                raise ValueError(msg)
        _ = self.standing
        return self


class StackConfig(Model):
    """All of a stack's configuration."""

    target: TargetKind
    """Where workloads run."""
    cluster: ClusterSpec = ClusterSpec()
    services: ServicesConfig = ServicesConfig()
    """What stands beside it."""
    local: LocalConfig | None = None
    kubernetes: KubernetesConfig | None = None
    migration: MigrationConfig = Field(default_factory=MigrationConfig)
    bounds: BoundsConfig = BoundsConfig()
    drain_consents: tuple[str, ...] = ()
    """Names of frameworks that the stack does not declare, and so cannot move, whose tasks may be
    killed when the agents under them are drained."""
    app_consents: tuple[str, ...] = ()
    """Ids of apps of Marathon that may be moved although they have a volume of an agent, one
    instance, or constraints that leave no second place beside the first."""

    @property
    def apps(self) -> tuple[dict[str, Any], ...]:
        """Apps that the stack declares."""
        marathon = self.cluster.marathon
        if marathon.apps is not None:
            return marathon.apps
        return SAMPLE_APPS if self.target is TargetKind.LOCAL and marathon.instances else ()

    @model_validator(mode="after")
    def _has_its_target(self) -> StackConfig:
        if self.target is TargetKind.LOCAL and self.local is None:
            msg = "target local needs the key 'local' with a port_base"
            raise ValueError(msg)
        if self.target is TargetKind.KUBERNETES and self.kubernetes is None:
            msg = "target kubernetes needs the key 'kubernetes' with images"
            raise ValueError(msg)
        if self.target is TargetKind.LOCAL and self.cluster.zookeeper.voters is not None:
            msg = "cluster.zookeeper.voters: an ensemble on one machine keeps its size"
            raise ValueError(msg)
        return self

    @property
    def access(self) -> Access:
        """Who may do what. Agents say who they are, or whoever reaches a master could be one."""
        probe, names = self.services.probe, self.services.discovery
        return dataclasses.replace(
            self.cluster.access,
            asks_agents=True,
            is_probed=bool(probe.apps) and Watch.MESOS in probe.watch,
            has_mesos_dns=names.replicas > 0 and names.kind is Discovery.MESOS_DNS,
        )

    @model_validator(mode="after")
    def _has_room_for_services(self) -> StackConfig:
        services, is_local = self.services, self.target is TargetKind.LOCAL
        if services.edge.replicas and not self.cluster.marathon.instances:
            msg = "services.edge: an edge needs an instance of Marathon"
            raise ValueError(msg)
        if is_local and services.edge.replicas > room_for(PortRole.EDGE_HTTP):
            msg = "services.edge.replicas: one machine has room for 1"
            raise ValueError(msg)
        if is_local and services.web_route.replicas:
            msg = "services.web_route: only on target kubernetes; on one machine all is on loopback"
            raise ValueError(msg)
        if is_local and services.metrics.objects:
            msg = "services.metrics.objects: only on target kubernetes, whose operator takes them"
            raise ValueError(msg)
        if is_local and services.discovery.replicas:
            msg = "services.discovery: only on target kubernetes, whose name servers hand on a zone"
            raise ValueError(msg)
        names = services.discovery
        if (
            names.kind is Discovery.CONSUL
            and names.replicas
            and not self.cluster.marathon.instances
        ):
            msg = (
                "services.discovery: Consul is told of Marathon's apps, and needs an instance of it"
            )
            raise ValueError(msg)
        if is_local and services.probe.apps:
            msg = "services.probe: only on target kubernetes; here, run `probe agent` itself"
            raise ValueError(msg)
        if is_local and services.logging.replicas:
            msg = "services.logging: only on target kubernetes, where nodes have pods' logs"
            raise ValueError(msg)
        if not is_local and services.edge.replicas and services.edge.image is None:
            msg = "services.edge.image: expected an image of this project with HAProxy, saw none"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _has_what_it_takes(self) -> StackConfig:
        tenants = self.cluster.tenants
        if self.target is TargetKind.LOCAL:
            wanted = {
                "cluster.tenants": tenants,
                "cluster.agents.pools": self.cluster.agents.pools,
                "cluster.agents.isolation": self.cluster.agents.isolation,
                "cluster.marathon.backup": self.cluster.marathon.backup,
                "cluster.networks": self.cluster.networks.declared,
            }
            if found := [key for key, value in wanted.items() if value]:
                msg = f"{', '.join(found)}: only for target kubernetes, one machine is simpler"
                raise ValueError(msg)
        shares = [t.role for t in tenants if t.limits or t.guarantees or t.weight != 1]
        if shares and not (self.kubernetes and self.kubernetes.operator):
            msg = (
                f"roles {', '.join(shares)} have a quota or a weight, which masters keep: say in "
                "kubernetes.operator how they are reached from where Pulumi runs"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _has_what_is_watched(self) -> StackConfig:
        watch = self.services.probe.watch
        if Watch.MARATHON in watch and not self.cluster.marathon.instances:
            msg = "services.probe.watch: marathon is watched where there is an instance of it"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _has_room_for_networks(self) -> StackConfig:
        profiles, kubernetes = self.cluster.networks.declared, self.kubernetes
        if not profiles or kubernetes is None:
            return self
        if kubernetes.images.networks is None:
            msg = "kubernetes.images.networks: expected an image that sets nodes up, saw none"
            raise ValueError(msg)
        check_beside(profiles, kubernetes.node_networks)
        return self

    @model_validator(mode="after")
    def _has_room(self) -> StackConfig:
        if self.target is not TargetKind.LOCAL:
            return self
        sizes = (
            ("cluster.zookeeper.replicas", self.cluster.zookeeper.replicas, _ZOOKEEPER),
            ("cluster.masters.replicas", self.cluster.masters.replicas, PortRole.MASTER),
            ("cluster.agents.count", self.cluster.agents.total, PortRole.AGENT),
            ("cluster.marathon.instances", self.cluster.marathon.instances, PortRole.MARATHON),
            ("migration.client_groups", len(self.migration.client_groups), PortRole.CLIENTS),
        )
        wrong = [
            f"{key}: one machine has room for {room_for(role)}, saw {size}"
            for key, size, role in sizes
            if size > room_for(role)
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


def parse(values: Mapping[str, Any], stack: str) -> StackConfig:
    """Check a stack's values, without their namespace.

    Raises:
        ConfigError: naming every wrong key, where it stands and what it may be.
    """
    decoded = {key: _decode(value) for key, value in values.items()}
    try:
        return StackConfig.model_validate(decoded)
    except ValidationError as error:
        lines = [_explain(detail) for detail in error.errors()]
        text = "\n  ".join(dict.fromkeys(lines))
        msg = f"{CONFIG_WRONG}{stack} (Pulumi.{stack}.yaml) is wrong:\n  {text}"
        raise ConfigError(msg) from None
    except TopologyError as error:
        msg = f"{CONFIG_WRONG}{stack}: {NAMESPACE}:migration: {error}"
        raise ConfigError(msg) from None


def read(stack: str) -> StackConfig:
    """Read the configuration of the running program from Pulumi.

    Raises:
        ConfigError: see `parse`.
    """
    given = {**pulumi.runtime.config.get_config_env(), **pulumi.runtime.config.CONFIG.get()}
    return parse(
        {
            key.removeprefix(f"{NAMESPACE}:"): value
            for key, value in given.items()
            if key.startswith(f"{NAMESPACE}:")
        },
        stack,
    )


def _decode(value: Any) -> Any:
    """Objects reach a program as JSON text, plain values as they are written."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _explain(detail: Any) -> str:
    where: list[str] = [str(part) for part in detail["loc"] if part != "[key]"]
    key = f"{NAMESPACE}:{'.'.join(where)}" if where else NAMESPACE
    if detail["type"] == "extra_forbidden":
        known = _known_keys(where[:-1])
        near = difflib.get_close_matches(where[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{key}: unknown key {where[-1]!r}; {hint}known keys are {', '.join(known)}"
    if detail["type"] == "missing":
        return f"{key}: expected a value, saw none"
    seen = "" if isinstance(detail["input"], dict) else f", saw {detail['input']!r}"
    return f"{key}: {detail['msg'].removeprefix('Value error, ')}{seen}"


def _known_keys(where: list[str]) -> list[str]:
    model: type[BaseModel] = StackConfig
    for part in where:
        # A place in a list, or a name that somebody gave, is no key of a model: what lies there is.
        field = model.model_fields.get(part)
        if field is None:
            continue
        choices = (field.annotation, *get_args(field.annotation))
        model = next(c for c in choices if isinstance(c, type) and issubclass(c, BaseModel))
    return sorted(model.model_fields)
