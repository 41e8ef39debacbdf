"""Workloads as Kubernetes objects.

One place for what every pod must have, so that no component can forget it: the `restricted` profile
(no root, no capabilities, read-only root, seccomp), no service links (a Service named `marathon`
would inject `MARATHON_PORT`, which Marathon reads as a flag), no API token, a headless Service for
stable names, one ConfigMap with the rendered file of every member. A member finds its own by its
pod's name.

Secrets are mounted from one Secret that somebody else fills (see docs); nothing here sees a value.
Agents are the exception to `restricted`: they are the node's, so they use its network and a folder
of it, and are replaced only when their pod is deleted, after a drain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_kubernetes import apps, core, policy
from pulumi_kubernetes import meta as k8s_meta

from components.errors import ArgumentsError
from components.workload import (
    NODE_NAME,
    Endpoint,
    PortRole,
    Probe,
    Secret,
    Shape,
    Workload,
)

CONFIG_DIR = "/etc/mesos-platform"
STATE_DIR = "/var/lib/mesos-platform"
SECRETS_DIR = "/run/secrets/mesos-platform"
SECRETS_OBJECT = "mesos-platform"
_MEMBER = "MEMBER"
_USER = 10001
_PORTS = {
    PortRole.ZOOKEEPER_CLIENT: 2181,
    PortRole.ZOOKEEPER_QUORUM: 2888,
    PortRole.ZOOKEEPER_ELECTION: 3888,
    PortRole.MASTER: 5050,
    PortRole.AGENT: 5051,
    PortRole.FRAMEWORK: 8080,
    PortRole.MARATHON: 8080,
    PortRole.ENGINE: 9090,
    PortRole.CLIENTS: 9091,
}


# Agents use the network of their node, and both colours' have to stand on one beside each other.
_AGENT_OFFSETS = {"blue": 0, "green": 1}


def _port(role: PortRole, color: str | None) -> int:
    offset = _AGENT_OFFSETS[color] if role is PortRole.AGENT and color else 0
    return _PORTS[role] + offset


class KubernetesTarget:
    """Runs workloads in one namespace of the cluster that the provider is configured for."""

    def __init__(self, *, namespace: str, storage_class: str | None, volume_gib: int) -> None:
        self._namespace = namespace
        self._storage_class = storage_class
        self._volume_gib = volume_gib

    def declare_namespace(self, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
        """Declare the namespace that everything else lies in."""
        labels = {"app.kubernetes.io/managed-by": "pulumi"}
        metadata = k8s_meta.v1.ObjectMetaArgs(name=self._namespace, labels=labels)
        return [core.v1.Namespace("namespace", metadata=metadata, opts=opts)]

    def listen_host(self) -> str:
        """Every address of the pod."""
        return "0.0.0.0"  # noqa: S104 - a pod's own network; who may reach it is a policy's matter

    def endpoint(self, workload: str, color: str | None, role: PortRole, index: int) -> Endpoint:
        """Stable name of a member, by its headless Service."""
        host = f"{workload}-{index}.{workload}.{self._namespace}.svc"
        return Endpoint(host, _port(role, color))

    def task_ports(self, color: str, index: int) -> tuple[int, int] | None:
        """Every agent has a node for itself."""
        del color, index

    def directory(self, member: str) -> str:
        """Every member has a file system of its own."""
        del member
        return STATE_DIR

    def secret(self, secret: Secret) -> str:
        """File that holds a secret."""
        return f"{SECRETS_DIR}/{secret}"

    def run(
        self,
        workload: Workload,
        *,
        parent: pulumi.Resource,
        depends_on: Sequence[pulumi.Resource],
        protect: bool,
    ) -> list[pulumi.Resource]:
        """Declare a ConfigMap, a Service, the pods, and how many of them may be away at once."""
        if workload.program.image is None:
            msg = f"{workload.name}: expected an image to run on Kubernetes, saw none"
            raise ArgumentsError(msg)
        opts = pulumi.ResourceOptions(parent=parent, depends_on=list(depends_on), protect=protect)
        core.v1.ConfigMap(
            workload.name,
            metadata=self._metadata(workload),
            data={f"{m.name}{workload.config_suffix}": m.config for m in workload.members},
            opts=opts,
        )
        core.v1.Service(
            workload.name,
            metadata=self._metadata(workload),
            spec=core.v1.ServiceSpecArgs(
                cluster_ip="None",
                # Members of a quorum must find each other before they are ready.
                publish_not_ready_addresses=True,
                selector=_labels(workload),
                ports=[
                    core.v1.ServicePortArgs(name=str(role), port=port)
                    for role, port in workload.members[0].ports.items()
                ],
            ),
            opts=opts,
        )
        if len(workload.members) > 1 and workload.shape is not Shape.PER_NODE:
            policy.v1.PodDisruptionBudget(
                workload.name,
                metadata=self._metadata(workload),
                spec=policy.v1.PodDisruptionBudgetSpecArgs(
                    max_unavailable=1,
                    selector=k8s_meta.v1.LabelSelectorArgs(match_labels=_labels(workload)),
                ),
                opts=opts,
            )
        return [self._pods(workload, opts)]

    def _metadata(self, workload: Workload) -> k8s_meta.v1.ObjectMetaArgs:
        return k8s_meta.v1.ObjectMetaArgs(
            name=workload.name, namespace=self._namespace, labels=_labels(workload)
        )

    def _pods(self, workload: Workload, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        selector = k8s_meta.v1.LabelSelectorArgs(match_labels=_labels(workload))
        template = core.v1.PodTemplateSpecArgs(
            metadata=k8s_meta.v1.ObjectMetaArgs(labels=_labels(workload)),
            spec=_pod(workload),
        )
        replicas = len(workload.members) if workload.running else 0
        match workload.shape:
            case Shape.STATEFUL:
                return apps.v1.StatefulSet(
                    workload.name,
                    metadata=self._metadata(workload),
                    spec=apps.v1.StatefulSetSpecArgs(
                        replicas=replicas,
                        service_name=workload.name,
                        selector=selector,
                        pod_management_policy="Parallel",
                        template=template,
                        volume_claim_templates=self._claims(workload),
                    ),
                    opts=opts,
                )
            case Shape.STATELESS:
                spec = apps.v1.DeploymentSpecArgs(
                    replicas=replicas, selector=selector, template=template
                )
                return apps.v1.Deployment(
                    workload.name, metadata=self._metadata(workload), spec=spec, opts=opts
                )
            case Shape.PER_NODE:
                strategy = apps.v1.DaemonSetUpdateStrategyArgs(type="OnDelete")
                return apps.v1.DaemonSet(
                    workload.name,
                    metadata=self._metadata(workload),
                    spec=apps.v1.DaemonSetSpecArgs(
                        selector=selector, template=template, update_strategy=strategy
                    ),
                    opts=opts,
                )

    def _claims(self, workload: Workload) -> list[core.v1.PersistentVolumeClaimArgs]:
        if not workload.volumes:
            return []
        return [
            core.v1.PersistentVolumeClaimArgs(
                metadata=k8s_meta.v1.ObjectMetaArgs(name="state"),
                spec=core.v1.PersistentVolumeClaimSpecArgs(
                    access_modes=["ReadWriteOnce"],
                    storage_class_name=self._storage_class,
                    resources=core.v1.VolumeResourceRequirementsArgs(
                        requests={"storage": f"{self._volume_gib}Gi"}
                    ),
                ),
            )
        ]


def _labels(workload: Workload) -> dict[str, str]:
    labels = {
        "app.kubernetes.io/name": workload.name,
        "app.kubernetes.io/component": workload.tier,
        "app.kubernetes.io/part-of": "mesos-platform",
    }
    if workload.color:
        labels["mesos-platform/color"] = workload.color
    return labels


def _pod(workload: Workload) -> core.v1.PodSpecArgs:
    on_node = workload.shape is Shape.PER_NODE
    return core.v1.PodSpecArgs(
        enable_service_links=False,
        automount_service_account_token=False,
        host_network=True if on_node else None,
        termination_grace_period_seconds=max(30, workload.stop_timeout_s),
        security_context=core.v1.PodSecurityContextArgs(
            run_as_non_root=None if on_node else True,
            run_as_user=None if on_node else _USER,
            fs_group=None if on_node else _USER,
            seccomp_profile=core.v1.SeccompProfileArgs(type="RuntimeDefault"),
        ),
        topology_spread_constraints=None if on_node else _spread(workload),
        containers=[_container(workload)],
        volumes=_volumes(workload),
    )


def _spread(workload: Workload) -> list[core.v1.TopologySpreadConstraintArgs]:
    return [
        core.v1.TopologySpreadConstraintArgs(
            max_skew=1,
            topology_key="kubernetes.io/hostname",
            when_unsatisfiable="DoNotSchedule" if len(workload.members) > 1 else "ScheduleAnyway",
            label_selector=k8s_meta.v1.LabelSelectorArgs(match_labels=_labels(workload)),
        )
    ]


def _container(workload: Workload) -> core.v1.ContainerArgs:
    on_node = workload.shape is Shape.PER_NODE
    # Pods of a StatefulSet are named like members; a DaemonSet's share the first one's file.
    member = workload.members[0].name if on_node else f"$({_MEMBER})"
    places = {
        "{config}": f"{CONFIG_DIR}/{member}{workload.config_suffix}",
        "{directory}": STATE_DIR,
    }
    words = [*workload.program.command, *workload.arguments]
    return core.v1.ContainerArgs(
        name=workload.tier,
        image=workload.program.image,
        command=[places.get(word, word) for word in words],
        env=[
            _from_pod(_MEMBER, "metadata.name"),
            # Every node's agent has the same file, so it learns here which node it is.
            *([_from_pod(NODE_NAME, "spec.nodeName")] if on_node else []),
            *(core.v1.EnvVarArgs(name=k, value=v) for k, v in workload.environment.items()),
        ],
        ports=[
            core.v1.ContainerPortArgs(name=str(role), container_port=port)
            for role, port in workload.members[0].ports.items()
        ],
        readiness_probe=_probe(workload),
        security_context=core.v1.SecurityContextArgs(
            allow_privilege_escalation=None if on_node else False,
            privileged=True if on_node else None,
            read_only_root_filesystem=True,
            capabilities=None if on_node else core.v1.CapabilitiesArgs(drop=["ALL"]),
        ),
        volume_mounts=[
            core.v1.VolumeMountArgs(name="config", mount_path=CONFIG_DIR, read_only=True),
            core.v1.VolumeMountArgs(name="secrets", mount_path=SECRETS_DIR, read_only=True),
            core.v1.VolumeMountArgs(name="state", mount_path=STATE_DIR),
            core.v1.VolumeMountArgs(name="tmp", mount_path="/tmp"),  # noqa: S108 - the pod's own
        ],
    )


def _from_pod(name: str, path: str) -> core.v1.EnvVarArgs:
    field = core.v1.ObjectFieldSelectorArgs(field_path=path)
    source = core.v1.EnvVarSourceArgs(field_ref=field)
    return core.v1.EnvVarArgs(name=name, value_from=source)


def _probe(workload: Workload) -> core.v1.ProbeArgs | None:
    readiness = workload.serving or workload.readiness
    if readiness is None:
        return None
    port = workload.members[0].ports[readiness.port]
    timings: dict[str, Any] = {"period_seconds": 5, "failure_threshold": 6}
    match readiness.probe:
        case Probe.HTTP:
            action = core.v1.HTTPGetActionArgs(path=readiness.path, port=port)
            return core.v1.ProbeArgs(http_get=action, **timings)
        case Probe.TCP | Probe.ZOOKEEPER:
            # A server of an ensemble opens its port before it serves; members must start together,
            # so the readiness of one cannot wait for the quorum.
            return core.v1.ProbeArgs(tcp_socket=core.v1.TCPSocketActionArgs(port=port), **timings)


def _volumes(workload: Workload) -> list[core.v1.VolumeArgs]:
    volumes = [
        core.v1.VolumeArgs(
            name="config", config_map=core.v1.ConfigMapVolumeSourceArgs(name=workload.name)
        ),
        core.v1.VolumeArgs(
            name="secrets",
            secret=core.v1.SecretVolumeSourceArgs(
                secret_name=SECRETS_OBJECT,
                default_mode=0o440,
                items=[core.v1.KeyToPathArgs(key=str(s), path=str(s)) for s in workload.secrets],
            ),
        ),
        core.v1.VolumeArgs(name="tmp", empty_dir=core.v1.EmptyDirVolumeSourceArgs()),
    ]
    if workload.shape is Shape.PER_NODE:
        path = f"{STATE_DIR}/{workload.name}"
        source = core.v1.HostPathVolumeSourceArgs(path=path, type="DirectoryOrCreate")
        volumes.append(core.v1.VolumeArgs(name="state", host_path=source))
    elif not (workload.shape is Shape.STATEFUL and workload.volumes):
        volumes.append(
            core.v1.VolumeArgs(name="state", empty_dir=core.v1.EmptyDirVolumeSourceArgs())
        )
    return volumes
