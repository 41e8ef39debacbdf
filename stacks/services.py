"""Declares what stands beside a cluster, from configuration and what the cluster has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.base import Placing
from components.mesos.agents import TIER as AGENTS
from components.monitoring.elasticsearch import ElasticsearchArgs
from components.monitoring.exporter import MesosExporter, MesosExporterArgs
from components.monitoring.probe_settings import AppsTls, ProbeArgs
from components.monitoring.probe_watch import Watched, WatchedCluster
from components.network.discovery import Discovery, DiscoveryArgs, ServiceDiscovery
from components.network.edge import EdgeProxy, EdgeProxyArgs
from components.network.registrator import TaskRegistrator, TaskRegistratorArgs
from components.network.web_route import CERTIFICATE, WebRoute, WebRouteArgs
from components.security.secrets import SecretStore
from components.workload import Certificate, Issuer, PortRole, Program
from components.zookeeper import client_hosts
from stacks.config import StackConfig, TargetKind
from stacks.tiers import Tiers
from stacks.topology import Color, Tier, Topology

Place = Callable[..., Placing]


@dataclass(frozen=True)
class Beside:
    """What services stand beside; `marathon` are its instances, `mesos` what they wait for."""

    topology: Topology
    tiers: Tiers
    marathon: Sequence[str]
    mesos: Sequence[pulumi.Resource]


def declare_services(
    config: StackConfig, stack: str, beside: Beside, place: Place
) -> dict[str, Any]:
    """Declare them; returns outputs."""
    outputs: dict[str, Any] = {}
    services = config.services
    # Nobody's ready state waits for them, and no update of a migration removes them.
    placing = place(beside.mesos, protect=False)
    if services.edge.replicas:
        edge = EdgeProxy(
            EdgeProxyArgs(
                program=Program(("python", "-m", "controllers.edge"), services.edge.image),
                marathon=tuple(beside.marathon),
                replicas=services.edge.replicas,
                group=services.edge.group,
            ),
            placing,
        )
        outputs["edge"] = {
            "addresses": edge.addresses,
            "admin": edge.admin,
            "group": services.edge.group,
        }
    if services.metrics.exporter:
        outputs["exporters"] = _exporters(config, beside, placing)
    if services.discovery.replicas:
        outputs["discovery"] = _discovery(config, stack, beside, place)
    if services.web_route.replicas:
        outputs["web_route"] = _web_route(config, beside, placing)
    if services.logging.replicas:
        outputs["logs"] = _logging(config, stack, placing)
    if services.metrics.objects:
        _telemetry(config, stack, placing)
    if services.probe.apps:
        outputs["probe"] = _probe(config, stack, beside, place([], protect=False))
    return outputs


def _exporters(config: StackConfig, beside: Beside, placing: Placing) -> dict[str, str]:
    images = config.kubernetes.images if config.kubernetes else None
    image = images and images.own(images.exporter)
    program = Program(("python", "-m", "controllers.exporter"), image)
    standing = beside.topology.standing
    found = {
        str(color): MesosExporter(
            MesosExporterArgs(color, program, beside.tiers.masters(color)), placing
        ).url
        for color in (standing.source, standing.target)
        if beside.topology.tier(color, Tier.MASTERS).exists
    }
    # On one machine there is no port for it.
    if beside.marathon and config.target is TargetKind.KUBERNETES:
        args = MesosExporterArgs(None, program, marathon=tuple(beside.marathon))
        found["marathon"] = MesosExporter(args, placing).url
    return found


def _discovery(config: StackConfig, stack: str, beside: Beside, place: Place) -> dict[str, Any]:
    wanted = config.services.discovery
    color: Color | None = beside.topology.framework_color
    placing = place(beside.mesos, protect=False)
    made = ServiceDiscovery(
        DiscoveryArgs(
            program=Program((str(wanted.kind),), wanted.image),
            kind=wanted.kind,
            zookeeper_hosts=None if color is None else beside.tiers.hosts(color),
            zone=wanted.zone,
            replicas=wanted.replicas,
            address=wanted.stub_zone and wanted.stub_zone.address,
        ),
        placing,
    )
    if wanted.stub_zone is not None:
        _stub_zone(config, stack, made, placing)
    told = {"kind": str(wanted.kind), "addresses": made.addresses, "zone": made.zone}
    if wanted.kind is Discovery.CONSUL:
        told["registrator"] = _registrator(config, beside, made, placing)
    return told


def _registrator(
    config: StackConfig, beside: Beside, made: ServiceDiscovery, placing: Placing
) -> str:
    assert config.kubernetes is not None
    images = config.kubernetes.images
    command = ("python", "-m", "controllers.registrator")
    args = TaskRegistratorArgs(
        program=Program(command, images.own(images.registrator)),
        # No other of this Kubernetes cluster has the name.
        cluster=config.kubernetes.namespace,
        marathon=tuple(beside.marathon),
        consul=tuple(made.http),
    )
    return TaskRegistrator(args, placing).url


def _web_route(config: StackConfig, beside: Beside, placing: Placing) -> list[str]:
    wanted = config.services.web_route
    issuer = wanted.tls and wanted.tls.issuer
    certificate = wanted.tls and Certificate(
        CERTIFICATE, issuer and Issuer(issuer.name, issuer.kind), wanted.tls.names
    )
    # Those of both colours, in an order that no migration changes.
    masters = tuple(address for color in Color for address in beside.tiers.masters(color))
    args = WebRouteArgs(wanted.image, masters, tuple(beside.marathon), wanted.replicas, certificate)
    return WebRoute(args, placing).urls


def _stub_zone(config: StackConfig, stack: str, made: ServiceDiscovery, placing: Placing) -> None:
    # Only where Kubernetes' libraries are loaded anyway.
    from components.network.stub_zone import StubZone, StubZoneArgs  # noqa: PLC0415 - as above
    from components.targets.kubernetes import KubernetesTarget  # noqa: PLC0415 - as above

    wanted = config.services.discovery
    assert wanted.stub_zone is not None
    assert isinstance(placing.target, KubernetesTarget)
    args = StubZoneArgs(
        zone=made.zone,
        address=wanted.stub_zone.address,
        port=int(made.addresses[0].rpartition(":")[2]),
        namespace=wanted.stub_zone.namespace,
        config_map=wanted.stub_zone.config_map,
    )
    opts = pulumi.ResourceOptions(depends_on=made.ready, provider=placing.target.provider)
    StubZone(f"{stack}-stub-zone", args, opts)


def _logging(config: StackConfig, stack: str, placing: Placing) -> str:
    # Only where Kubernetes' libraries are loaded anyway.
    from components.monitoring.log_stack import Logging, LoggingArgs  # noqa: PLC0415 - as above

    wanted, kubernetes = config.services.logging, config.kubernetes
    assert kubernetes is not None
    images = kubernetes.images
    assert wanted.filebeat is not None
    issuer = wanted.issuer and Issuer(wanted.issuer.name, wanted.issuer.kind)
    command = ("python", "-m", "controllers.log_keeper")
    args = LoggingArgs(
        namespace=kubernetes.namespace,
        agents_namespace=f"{kubernetes.namespace}-agents",
        servers=ElasticsearchArgs(wanted.elasticsearch, wanted.replicas, wanted.memory_mb, issuer),
        filebeat=wanted.filebeat,
        keeper=Program(command, images.own(images.log_keeper)),
        version=wanted.version,
        operation=wanted.operation,
        keeping=wanted.keeping,
        colors=tuple(Color),
        storage_class=kubernetes.storage_class,
        volume_gib=kubernetes.volume_gib,
        tolerations=wanted.tolerations,
        has_marathon=images.marathon is not None and bool(config.cluster.marathon.instances),
    )
    return Logging(f"{stack}-logging", args, placing).url


def _telemetry(config: StackConfig, stack: str, placing: Placing) -> None:
    # Only where Kubernetes' libraries are loaded anyway.
    from components.monitoring.telemetry import Telemetry, TelemetryArgs  # noqa: PLC0415 - as above

    assert config.kubernetes is not None
    metrics = config.services.metrics
    args = TelemetryArgs(config.kubernetes.namespace, metrics.labels, metrics.interval_s)
    Telemetry(f"{stack}-telemetry", args, _by_provider(placing))


def _probe(config: StackConfig, stack: str, beside: Beside, placing: Placing) -> dict[str, Any]:
    # Only where Kubernetes' libraries are loaded anyway.
    from components.monitoring.probe import ClusterProbe  # noqa: PLC0415 - as above

    kubernetes, wanted = config.kubernetes, config.services.probe
    assert kubernetes is not None
    image = kubernetes.images.own(wanted.image)
    args = ProbeArgs(
        program=Program(("python", "-m", "probe.cli"), image),
        apps=wanted.apps,
        api_networks=kubernetes.api_networks or kubernetes.node_networks,
        namespace=wanted.namespace or f"{kubernetes.namespace}-probe",
        cluster=wanted.cluster or stack,
        token_secret=wanted.token_secret,
        tls=wanted.tls and AppsTls(wanted.tls.secret, wanted.tls.shows_own),
        watched=_watched(config, beside, placing),
        cri_socket=wanted.cri_socket,
        watchers=wanted.watchers,
        agent_memory_mb=wanted.agent_memory_mb,
        watcher_memory_mb=wanted.watcher_memory_mb,
        ready_timeout_s=kubernetes.ready_timeout_s,
    )
    ClusterProbe(f"{stack}-probe", args, _by_provider(placing))
    return {"namespace": args.namespace, "agents_namespace": args.agents_namespace}


def _watched(config: StackConfig, beside: Beside, placing: Placing) -> Watched:
    """Both colours, in an order that no migration changes, and whichever of them exists now."""
    kubernetes, endpoint = config.kubernetes, placing.target.endpoint
    assert kubernetes is not None
    what = config.services.probe.watch
    if not what:
        return Watched()
    servers = config.cluster.zookeeper.replicas
    return Watched(
        what,
        kubernetes.namespace,
        tuple(
            WatchedCluster(
                str(color),
                tuple(client_hosts(color, servers, placing).split(",")),
                beside.tiers.masters(color),
                endpoint(AGENTS, color, PortRole.AGENT, 0).port,
            )
            for color in Color
        ),
        tuple(beside.marathon),
        kubernetes.secret_store and SecretStore(**dict(kubernetes.secret_store)),
    )


def _by_provider(placing: Placing) -> pulumi.ResourceOptions:
    from components.targets.kubernetes import KubernetesTarget  # noqa: PLC0415 - as above

    assert isinstance(placing.target, KubernetesTarget)
    return pulumi.ResourceOptions(
        depends_on=list(placing.depends_on), provider=placing.target.provider
    )
