"""The probe on a Kubernetes cluster: an agent on every node, and two that watch the cluster.

Agents see processes and connections of their node, which no level of pod security admits: they lie
in a namespace of their own, which says why, have the three capabilities that add something
(`probe agent doctor` names them) and no others, change nothing and write nowhere. Who watches the
cluster needs none of it: those pods lie in a namespace that admits the `restricted` level only, two
of them, of which a Lease elects one; what they may ask of the API is components.monitoring.
permissions.

Tokens for the apps are files of a Secret that somebody else fills; nothing here sees one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pulumi
from pulumi_kubernetes import apps, core, meta, networking, rbac

from components.base import token
from components.errors import ArgumentsError
from components.monitoring import permissions
from components.monitoring.permissions import LEASE, Rule
from components.targets import namespaces
from components.targets.image import check_image
from components.targets.namespaces import TAKE_BACK

AGENT, WATCHER = "probe-agent", "probe-cluster"
CAPABILITIES = ("DAC_READ_SEARCH", "NET_ADMIN", "SYS_PTRACE")
TOKEN_SECRET = "probe"  # noqa: S105 - the name of a Secret, whose key `token` holds one
_WHY_PRIVILEGED = (
    "agents look at the node: its processes and connections (host pid and network namespaces), its "
    "control groups and the sockets of its container runtimes; they change nothing"
)
_SETTINGS, _TOKENS, _RUN = "/etc/probe", "/run/secrets/probe", "/run/probe"
# Where a pod finds its node's /run, with the sockets of whatever runtimes there are.
_HOST_RUN = "/host/run"
_HOSTED = {"host-run": ("/run", _HOST_RUN), "cgroups": ("/sys/fs/cgroup", "/sys/fs/cgroup")}
_API_PORTS = (443, 6443)
_DNS_PORT = 53
_USER = 10001
_LABEL = "app.kubernetes.io/name"


@dataclass(frozen=True)
class ProbeArgs:
    """What runs and where it tells. `api_networks` are those of the API's servers, which the
    watchers reach; `cluster` is its name in the report.

    Raises:
        ArgumentsError: that cannot be.
    """

    image: str
    apps: tuple[str, ...]
    api_networks: tuple[str, ...]
    namespace: str = "monitoring"
    cluster: str = "kubernetes"
    cri_socket: str = "containerd/containerd.sock"
    """The runtime's socket, below the nodes' /run."""
    watchers: int = 2
    agent_memory_mb: int = 128
    watcher_memory_mb: int = 256

    def __post_init__(self) -> None:
        check_image(self.image)
        if not self.apps:
            msg = "expected an app that the probe tells what it sees, saw none: name one"
            raise ArgumentsError(msg)
        if self.watchers < 1:
            msg = f"expected at least one probe that watches the cluster, saw {self.watchers}"
            raise ArgumentsError(msg)
        for app in self.apps:
            _port(app)

    @property
    def agents_namespace(self) -> str:
        """Where agents of nodes lie."""
        return f"{self.namespace}-nodes"


def _port(app: str) -> int:
    try:
        parts = urlsplit(app)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        msg = f"expected an app as http://host:port or https://host:port, saw {app!r}"
        raise ArgumentsError(msg) from None
    return port


def agent_settings(args: ProbeArgs) -> dict[str, Any]:
    """Settings of the agents of nodes."""
    return {
        "apps": list(args.apps),
        "token_file": f"{_TOKENS}/token",
        "status_socket": f"{_RUN}/agent.sock",
        "docker_host": f"unix://{_HOST_RUN}/docker.sock",
        "cri_socket": f"{_HOST_RUN}/{args.cri_socket}",
        "plugins": f"{_HOST_RUN}/scope/plugins",
    }


def watcher_settings(args: ProbeArgs) -> dict[str, Any]:
    """Settings of those that watch the cluster."""
    return {
        "apps": list(args.apps),
        "token_file": f"{_TOKENS}/token",
        "status_socket": f"{_RUN}/agent.sock",
        "collectors": ["kubernetes"],
        "cpu_percent_max": 25,
        "rss_mb_max": args.watcher_memory_mb * 3 // 4,
        "kubernetes": {"cluster": args.cluster, "lease": LEASE},
    }


class ClusterProbe(pulumi.ComponentResource):
    """Agents on all nodes, and who watches the cluster."""

    def __init__(self, args: ProbeArgs, provider: pulumi.ProviderResource | None = None) -> None:
        super().__init__(token("monitoring", "ClusterProbe"), "probe", {}, None)
        self._args = args
        opts = pulumi.ResourceOptions(parent=self, provider=provider)
        why = {"mesos-platform/why-privileged": _WHY_PRIVILEGED}
        base = [
            *namespaces.declare("probe", args.namespace, "restricted", {}, opts),
            *namespaces.declare("probe-nodes", args.agents_namespace, "privileged", why, opts),
        ]
        self._opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=base))
        self._declare_account()
        self._declare_policy()
        self.ready: list[pulumi.Resource] = [self._declare_agents(), self._declare_watchers()]
        self.register_outputs({"namespace": args.namespace})

    def _metadata(self, name: str, namespace: str | None) -> meta.v1.ObjectMetaArgs:
        return meta.v1.ObjectMetaArgs(
            name=name, namespace=namespace, labels=_labels(name), annotations=TAKE_BACK
        )

    def _settings(self, name: str, namespace: str, settings: Mapping[str, Any]) -> str:
        """Declare the file of settings; returns its digest."""
        text = json.dumps(settings, indent=2, sort_keys=True)
        core.v1.ConfigMap(
            name,
            metadata=self._metadata(name, namespace),
            data={"settings.json": text},
            opts=self._opts,
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _declare_account(self) -> None:
        """Who watchers are to the API, and what they may ask."""
        args, opts = self._args, self._opts
        core.v1.ServiceAccount(
            WATCHER,
            metadata=self._metadata(WATCHER, args.namespace),
            automount_service_account_token=False,
            opts=opts,
        )
        subject = rbac.v1.SubjectArgs(kind="ServiceAccount", name=WATCHER, namespace=args.namespace)
        # A name of the whole cluster, where several platforms may stand.
        wide = f"{args.namespace}-{WATCHER}"
        rbac.v1.ClusterRole(
            WATCHER,
            metadata=self._metadata(wide, None),
            rules=[_rule(rule) for rule in permissions.CLUSTER],
            opts=opts,
        )
        rbac.v1.ClusterRoleBinding(
            WATCHER,
            metadata=self._metadata(wide, None),
            role_ref=_role("ClusterRole", wide),
            subjects=[subject],
            opts=opts,
        )
        rbac.v1.Role(
            WATCHER,
            metadata=self._metadata(WATCHER, args.namespace),
            rules=[_rule(rule) for rule in permissions.ELECTION],
            opts=opts,
        )
        rbac.v1.RoleBinding(
            WATCHER,
            metadata=self._metadata(WATCHER, args.namespace),
            role_ref=_role("Role", WATCHER),
            subjects=[subject],
            opts=opts,
        )

    def _declare_policy(self) -> None:
        """Watchers reach names, the API and the apps; nobody reaches them. Agents use the network
        of their node, which policies do not cover."""
        args = self._args
        app_ports = sorted({_port(app) for app in args.apps})
        blocks = [
            networking.v1.NetworkPolicyPeerArgs(ip_block=networking.v1.IPBlockArgs(cidr=network))
            for network in args.api_networks
        ]
        networking.v1.NetworkPolicy(
            WATCHER,
            metadata=self._metadata(WATCHER, args.namespace),
            spec=networking.v1.NetworkPolicySpecArgs(
                pod_selector=meta.v1.LabelSelectorArgs(match_labels=_labels(WATCHER)),
                policy_types=["Ingress", "Egress"],
                egress=[
                    _egress(((_DNS_PORT, "UDP"), (_DNS_PORT, "TCP"))),
                    _egress(tuple((port, "TCP") for port in _API_PORTS), blocks),
                    _egress(tuple((port, "TCP") for port in app_ports)),
                ],
            ),
            opts=self._opts,
        )

    def _declare_agents(self) -> pulumi.Resource:
        args = self._args
        namespace = args.agents_namespace
        digest = self._settings(AGENT, namespace, agent_settings(args))
        security = core.v1.SecurityContextArgs(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            run_as_user=0,
            capabilities=core.v1.CapabilitiesArgs(drop=["ALL"], add=list(CAPABILITIES)),
        )
        hosted = {name: inside for name, (_, inside) in _HOSTED.items()}
        spec = core.v1.PodSpecArgs(
            host_pid=True,
            host_network=True,
            dns_policy="ClusterFirstWithHostNet",
            enable_service_links=False,
            automount_service_account_token=False,
            termination_grace_period_seconds=10,
            # Nodes that let no other pods in are looked at too.
            tolerations=[core.v1.TolerationArgs(operator="Exists")],
            security_context=core.v1.PodSecurityContextArgs(
                seccomp_profile=core.v1.SeccompProfileArgs(type="RuntimeDefault")
            ),
            containers=[_container(args, "agent", args.agent_memory_mb, security, hosted)],
            volumes=[*_volumes(AGENT), *_host_volumes()],
        )
        return apps.v1.DaemonSet(
            AGENT,
            metadata=self._metadata(AGENT, namespace),
            spec=apps.v1.DaemonSetSpecArgs(
                selector=meta.v1.LabelSelectorArgs(match_labels=_labels(AGENT)),
                update_strategy=apps.v1.DaemonSetUpdateStrategyArgs(
                    rolling_update=apps.v1.RollingUpdateDaemonSetArgs(max_unavailable="10%")
                ),
                template=_template(AGENT, digest, spec),
            ),
            opts=self._opts,
        )

    def _declare_watchers(self) -> pulumi.Resource:
        args = self._args
        digest = self._settings(WATCHER, args.namespace, watcher_settings(args))
        security = core.v1.SecurityContextArgs(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=core.v1.CapabilitiesArgs(drop=["ALL"]),
        )
        selector = meta.v1.LabelSelectorArgs(match_labels=_labels(WATCHER))
        apart = core.v1.PodAffinityTermArgs(
            topology_key="kubernetes.io/hostname", label_selector=selector
        )
        wish = core.v1.WeightedPodAffinityTermArgs(weight=100, pod_affinity_term=apart)
        spec = core.v1.PodSpecArgs(
            enable_service_links=False,
            service_account_name=WATCHER,
            automount_service_account_token=True,
            termination_grace_period_seconds=10,
            affinity=core.v1.AffinityArgs(
                pod_anti_affinity=core.v1.PodAntiAffinityArgs(
                    preferred_during_scheduling_ignored_during_execution=[wish]
                )
            ),
            security_context=core.v1.PodSecurityContextArgs(
                run_as_non_root=True,
                run_as_user=_USER,
                run_as_group=_USER,
                fs_group=_USER,
                seccomp_profile=core.v1.SeccompProfileArgs(type="RuntimeDefault"),
            ),
            containers=[_container(args, "watcher", args.watcher_memory_mb, security, {})],
            volumes=_volumes(WATCHER),
        )
        return apps.v1.Deployment(
            WATCHER,
            metadata=self._metadata(WATCHER, args.namespace),
            spec=apps.v1.DeploymentSpecArgs(
                replicas=args.watchers,
                selector=selector,
                template=_template(WATCHER, digest, spec),
            ),
            opts=self._opts,
        )


def _labels(name: str) -> dict[str, str]:
    return {_LABEL: name, "app.kubernetes.io/part-of": "mesos-platform"}


def _rule(rule: Rule) -> rbac.v1.PolicyRuleArgs:
    return rbac.v1.PolicyRuleArgs(
        api_groups=[rule.group],
        resources=list(rule.resources),
        verbs=list(rule.verbs),
        resource_names=list(rule.names) or None,
    )


def _role(kind: str, name: str) -> rbac.v1.RoleRefArgs:
    return rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind=kind, name=name)


def _egress(
    ports: tuple[tuple[int, str], ...],
    to: list[networking.v1.NetworkPolicyPeerArgs] | None = None,
) -> networking.v1.NetworkPolicyEgressRuleArgs:
    return networking.v1.NetworkPolicyEgressRuleArgs(
        to=to,
        ports=[
            networking.v1.NetworkPolicyPortArgs(port=port, protocol=protocol)
            for port, protocol in ports
        ],
    )


def _template(name: str, digest: str, spec: core.v1.PodSpecArgs) -> core.v1.PodTemplateSpecArgs:
    """Other settings are another pod."""
    return core.v1.PodTemplateSpecArgs(
        metadata=meta.v1.ObjectMetaArgs(
            labels=_labels(name), annotations={"mesos-platform/config-digest": digest}
        ),
        spec=spec,
    )


def _container(
    args: ProbeArgs,
    name: str,
    memory_mb: int,
    security: core.v1.SecurityContextArgs,
    hosted: Mapping[str, str],
) -> core.v1.ContainerArgs:
    command = ["probe", "agent", "run", "--settings", f"{_SETTINGS}/settings.json"]
    asked = ["probe", "agent", "status", "--settings", f"{_SETTINGS}/settings.json"]
    memory = f"{memory_mb}Mi"
    mounts = {"settings": _SETTINGS, "token": _TOKENS, **hosted}
    return core.v1.ContainerArgs(
        name=name,
        image=args.image,
        command=command,
        security_context=security,
        resources=core.v1.ResourceRequirementsArgs(
            requests={"cpu": "50m", "memory": memory}, limits={"memory": memory}
        ),
        liveness_probe=core.v1.ProbeArgs(
            exec_=core.v1.ExecActionArgs(command=asked),
            initial_delay_seconds=30,
            period_seconds=60,
            timeout_seconds=10,
        ),
        volume_mounts=[
            core.v1.VolumeMountArgs(name="run", mount_path=_RUN),
            *(
                core.v1.VolumeMountArgs(name=volume, mount_path=path, read_only=True)
                for volume, path in mounts.items()
            ),
        ],
    )


def _volumes(settings: str) -> list[core.v1.VolumeArgs]:
    memory = core.v1.EmptyDirVolumeSourceArgs(medium="Memory")
    secret = core.v1.SecretVolumeSourceArgs(
        secret_name=TOKEN_SECRET,
        default_mode=0o440,
        items=[core.v1.KeyToPathArgs(key="token", path="token")],
    )
    return [
        core.v1.VolumeArgs(
            name="settings", config_map=core.v1.ConfigMapVolumeSourceArgs(name=settings)
        ),
        core.v1.VolumeArgs(name="token", secret=secret),
        core.v1.VolumeArgs(name="run", empty_dir=memory),
    ]


def _host_volumes() -> list[core.v1.VolumeArgs]:
    return [
        core.v1.VolumeArgs(
            name=name, host_path=core.v1.HostPathVolumeSourceArgs(path=path, type="Directory")
        )
        for name, (path, _) in _HOSTED.items()
    ]
