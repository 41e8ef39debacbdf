"""The Pulumi program: from where a stack should stand to components, in order of dependency.

`declare` is what `pulumi up` runs through `__main__.py`, and what the Automation API runs as an
inline program: one program, whoever asks. It decides nothing: configuration says where the stack
should stand, stacks.topology what that means, components what it takes. Everything depends on the
gate, which refuses wrong moves before anything else is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from components.base import HostTarget, Placing, workload_name
from components.errors import ArgumentsError
from components.marathon.app import AppArgs, MarathonApp
from components.marathon.backup import MarathonBackup, MarathonBackupArgs
from components.marathon.service import NAME as MARATHON
from components.marathon.service import STATE_PATH, MarathonService, MarathonServiceArgs
from components.mesos.sample import (
    ClientGroup,
    ClientGroupArgs,
    SampleFramework,
    SampleFrameworkArgs,
)
from components.security.secrets import PlatformSecrets, SecretStore
from components.sync import NAME as ENGINE
from components.sync import Subtree, SyncEngine, SyncEngineArgs
from components.targets import migration
from components.workload import Program
from stacks import config as stack_config
from stacks import environment
from stacks.config import CONFIG_WRONG, StackConfig, TargetKind
from stacks.errors import ConfigError
from stacks.gate import Gate, Sizes
from stacks.services import Beside, declare_services
from stacks.tenancy import declare_tenants, secret_keys
from stacks.tiers import TierPrograms, Tiers
from stacks.topology import Color, Tier, Topology


@dataclass(frozen=True)
class Programs:
    """What executes on a target."""

    zookeeper: Program
    master: Program
    agent: Program
    framework: Program
    traffic: Program
    engine: Program
    marathon: Program
    caretaker: Program


def declare(project_dir: Path, programs: Programs | None = None) -> None:
    """Declare the running stack; called once a Pulumi run. `programs` replace what would execute.

    Raises:
        pulumi.RunError: the configuration is wrong, or asks for what no component can be.
    """
    stack = pulumi.get_stack()
    try:
        config = stack_config.read(stack)
    except ConfigError as error:
        raise pulumi.RunError(str(error)) from None
    try:
        _Stack(config, stack, project_dir, programs or programs_of(config)).declare()
    except ArgumentsError as error:
        msg = f"{CONFIG_WRONG}{stack} (Pulumi.{stack}.yaml) is wrong: {error}"
        raise pulumi.RunError(msg) from None


def programs_of(config: StackConfig) -> Programs:
    """What executes where configuration says nothing else."""
    images = config.kubernetes.images if config.kubernetes else None
    mesos = images.mesos if images else None

    def python(module: str, image: str | None) -> Program:
        return Program(("python", "-m", module), image)

    return Programs(
        zookeeper=Program(("bash",), images.zookeeper)
        if images
        else python("stacks.local.zookeeper", None),
        master=python("stacks.local.mesos_master", mesos),
        agent=python("stacks.local.mesos_agent", mesos),
        framework=python("stacks.local.framework", images and images.own(images.framework)),
        traffic=python("stacks.local.traffic", images and images.own(images.traffic)),
        engine=Program(
            ("python", "-m", "sync_engine.cli", "run"), images and images.own(images.sync_engine)
        ),
        marathon=Program(("sh",), images.marathon)
        if images and images.marathon
        else python("stacks.local.marathon", images and images.own(images.marathon_stand_in)),
        caretaker=python("controllers.caretaker", images and images.own(images.caretaker)),
    )


class _Stack:
    """One run of the program. Tiers are declared bottom up; each sees those below it."""

    def __init__(
        self, config: StackConfig, stack: str, project_dir: Path, programs: Programs
    ) -> None:
        self._config = config
        self._topology = Topology.at(config.migration.standing)
        self._programs = programs
        self._stack = stack
        self._project_dir = project_dir
        self._base: list[pulumi.Resource] = []
        # What an app's tasks need to run, and to be ended when everything is removed.
        self._mesos: list[pulumi.Resource] = []
        self._outputs: dict[str, Any] = {}

    def declare(self) -> None:
        migration = self._config.migration
        cluster = self._config.cluster
        sizes = Sizes(
            zookeeper=cluster.zookeeper.replicas,
            voters=cluster.zookeeper.voters or 0,
            masters=cluster.masters.replicas,
            quorum=cluster.masters.quorum,
            agents=cluster.agents.total if self._config.target is TargetKind.LOCAL else 0,
        )
        gate = Gate(migration.standing, migration.permit, sizes)
        self._base = [gate]
        self._target = self._make_target(gate)
        programs = self._programs
        self._tiers = Tiers(
            self._config,
            self._topology,
            TierPrograms(programs.zookeeper, programs.master, programs.agent),
            self._placing,
        )
        standing = self._topology.standing
        ensembles: dict[Color, list[pulumi.Resource]] = {}
        for color in (standing.source, standing.target):
            ensembles[color] = self._declare_color(color)
        both = [*ensembles[standing.source], *ensembles[standing.target]]
        declare_tenants(self._config, self._stack, self._tiers, [*self._base, *self._mesos])
        self._declare_engine(both)
        self._declare_framework(ensembles)
        self._declare_marathon(ensembles)
        self._declare_clients(ensembles)
        beside = Beside(
            self._topology, self._tiers, self._outputs.get("marathon") or (), self._mesos
        )
        self._outputs |= declare_services(self._config, self._stack, beside, self._placing)
        self._export(gate)

    def _make_target(self, gate: Gate) -> HostTarget:
        # Each target brings its own libraries; a local stack must not pay for Kubernetes'.
        if self._config.target is TargetKind.LOCAL:
            from components.targets.local import LocalTarget  # noqa: PLC0415 - as above

            assert self._config.local is not None
            given = self._config.local.run_dir
            run_dir = environment.run_dir_of(self._project_dir, self._stack, given)
            target = LocalTarget(run_dir, self._config.local.port_base)
            secrets = target.declare_secrets(pulumi.ResourceOptions(depends_on=[gate]))
            self._base = [gate, secrets]
            self._outputs["run_dir"] = str(target.run_dir)
            return target
        from components.monitoring import shipping  # noqa: PLC0415 - only Kubernetes needs it
        from components.targets.kubernetes import KubernetesTarget  # noqa: PLC0415 - as above

        assert self._config.kubernetes is not None
        reads_logs = bool(self._config.services.logging.replicas)
        kubernetes = self._config.kubernetes
        target = KubernetesTarget(
            namespace=kubernetes.namespace,
            storage_class=kubernetes.storage_class,
            volume_gib=kubernetes.volume_gib,
            node_networks=kubernetes.node_networks,
            spread=kubernetes.spread,
            ready_timeout_s=kubernetes.ready_timeout_s,
            caretaker_program=self._programs.caretaker,
            api_networks=kubernetes.api_networks,
            beside_agents=(shipping.WHY_PRIVILEGED,) if reads_logs else (),
        )
        self._base = [gate, *target.declare_base(pulumi.ResourceOptions(depends_on=[gate]))]
        # Of masters that do not exist now too: no update of a migration may change an account.
        masters = {
            workload_name(Tier.MASTERS, color): self._config.cluster.masters.replicas
            for color in Color
        }
        opts = pulumi.ResourceOptions(depends_on=self._base)
        target.declare_guest(migration.workload(masters), opts)
        if kubernetes.secret_store is not None:
            store = SecretStore(**dict(kubernetes.secret_store))
            keys, node_keys = secret_keys(self._config)
            PlatformSecrets(store, target, keys=keys, node_keys=node_keys, depends_on=self._base)
        # Who migrates is a pod beside the others, and has the same secrets at the same place.
        self._outputs["secrets_dir"] = target.secrets_dir
        return target

    def _placing(self, depends_on: Sequence[pulumi.Resource], *, protect: bool) -> Placing:
        return Placing(self._target, [*self._base, *depends_on], protect)

    def _declare_color(self, color: Color) -> list[pulumi.Resource]:
        """Declare the tiers of a colour; returns what its ensemble's clients wait for."""
        declared = self._tiers.declare(color)
        self._mesos += declared.mesos
        self._outputs |= declared.outputs
        return declared.ensemble

    def _declare_engine(self, ensembles: list[pulumi.Resource]) -> None:
        state = self._topology.engine
        if not state.exists:
            return
        standing = self._topology.standing
        frameworks = [Subtree("frameworks-sample", "/frameworks/sample")]
        if self._config.cluster.marathon.instances:
            frameworks.append(Subtree(f"frameworks-{MARATHON}", STATE_PATH))
        groups = [Subtree(f"clients-{name}", f"/apps/{name}") for name in standing.groups]
        engine = SyncEngine(
            SyncEngineArgs(
                name=f"{standing.source}-{standing.target}",
                program=self._programs.engine,
                hosts_a=self._tiers.engine_hosts(standing.source),
                hosts_b=self._tiers.engine_hosts(standing.target),
                subtrees=(*frameworks, *groups),
                # As old as the ensemble that it fills.
                fresh=self._tiers.fresh(standing.target, Tier.ZOOKEEPER),
                certificate=self._tiers.certificate(ENGINE),
            ),
            self._placing(ensembles, protect=state.protect),
        )
        self._outputs["engine"] = {"url": engine.url, "token_file": engine.token_file}

    def _declare_framework(self, ensembles: dict[Color, list[pulumi.Resource]]) -> None:
        color = self._topology.framework_color
        framework = SampleFramework(
            SampleFrameworkArgs(
                program=self._programs.framework,
                zookeeper_hosts=None if color is None else self._tiers.hosts(color),
                tasks=self._config.cluster.framework.tasks,
            ),
            self._placing([] if color is None else ensembles[color], protect=True),
        )
        self._outputs["frameworks"] = {"sample": framework.url}

    def _declare_marathon(self, ensembles: dict[Color, list[pulumi.Resource]]) -> None:
        config = self._config.cluster.marathon
        if not config.instances:
            return
        color = self._topology.framework_color
        marathon = MarathonService(
            MarathonServiceArgs(
                program=self._programs.marathon,
                zookeeper_hosts=None if color is None else self._tiers.hosts(color),
                instances=config.instances,
                user=config.users[0],
                flags=dict(config.flags),
                zookeeper_identity=self._tiers.identity,
                is_real=self._has_real_marathon,
            ),
            self._placing([] if color is None else ensembles[color], protect=True),
        )
        if config.backup is not None:
            order = list(Color)
            MarathonBackup(
                MarathonBackupArgs(
                    self._programs.engine.image,
                    (self._tiers.hosts(order[0]), self._tiers.hosts(order[1])),
                    None if color is None else order.index(color),
                    config.backup.every_h,
                    config.backup.keep,
                    self._tiers.identity,
                    self._tiers.snapshots,
                ),
                self._placing([] if color is None else ensembles[color], protect=False),
            )
        self._outputs["marathon"] = marathon.addresses
        endpoint = marathon.endpoint(self._stack)
        for definition in self._config.apps:
            # No tier's name: no update of a migration may touch them.
            name = "-".join(["apps", *str(definition["id"]).strip("/").split("/")])
            needed = [*self._base, *self._mesos, *marathon.ready]
            opts = pulumi.ResourceOptions(depends_on=needed)
            MarathonApp(name, AppArgs(definition), endpoint, opts)

    @property
    def _has_real_marathon(self) -> bool:
        kubernetes = self._config.kubernetes
        return kubernetes is not None and kubernetes.images.marathon is not None

    def _declare_clients(self, ensembles: dict[Color, list[pulumi.Resource]]) -> None:
        urls: dict[str, str] = {}
        traffic = self._config.cluster.traffic
        for index, name in enumerate(self._topology.standing.groups):
            color = self._topology.group_color(name)
            group = ClientGroup(
                ClientGroupArgs(
                    name=name,
                    index=index,
                    program=self._programs.traffic,
                    zookeeper_hosts=None if color is None else self._tiers.hosts(color),
                    rate_per_s=traffic.rate_per_s,
                    znodes=traffic.znodes,
                ),
                self._placing([] if color is None else ensembles[color], protect=False),
            )
            urls[name] = group.url
        self._outputs["clients"] = urls

    def _export(self, gate: Gate) -> None:
        # Outputs of the gate, not of the configuration: what the state says is what holds.
        standing = self._config.migration.standing
        self._outputs["standing"] = gate.urn.apply(lambda _: standing.describe())
        for name, value in self._outputs.items():
            pulumi.export(name, value)
