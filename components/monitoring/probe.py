"""The probe on a Kubernetes cluster: an agent on every node, and two that watch the cluster.

Agents see processes and connections of their node, which no level of pod security admits: they lie
in a namespace of their own, which says why, have the three capabilities that add something
(`probe agent doctor` names them) and no others, change nothing and write nowhere. Who watches the
cluster needs none of it: those pods lie in a namespace that admits the `restricted` level only, two
of them, of which a Lease elects one; what they may ask of the API is components.monitoring.
permissions. Where Mesos is watched they ask it, too (components.monitoring.probe_watch).

Tokens, certificates for the apps and credentials of Mesos are files of Secrets that somebody else
fills; nothing here sees one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_kubernetes import apps, core, meta, networking, rbac

from components.base import token
from components.monitoring import permissions, probe_pods
from components.monitoring.permissions import Rule
from components.monitoring.probe_settings import (
    AGENT,
    WATCHER,
    ProbeArgs,
    agent_settings,
    watcher_settings,
)
from components.monitoring.probe_watch import WATCHED_SECRET
from components.security.secrets import SecretStore
from components.targets import custom, namespaces
from components.targets.namespaces import TAKE_BACK
from components.targets.network import MAY_WATCH, of_namespace

_WHY_PRIVILEGED = (
    "agents look at the node: its processes and connections (host pid and network namespaces), its "
    "control groups and the sockets of its container runtimes, which the usual profile of AppArmor "
    "would hide; they change nothing"
)
_API_PORTS = (443, 6443)
_DNS_PORT = 53
_LABEL = "app.kubernetes.io/name"


class ClusterProbe(pulumi.ComponentResource):
    """Agents on all nodes, and who watches the cluster; `opts` name the provider."""

    def __init__(
        self, name: str, args: ProbeArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(token("monitoring", "ClusterProbe"), name, {}, opts)
        self._args = args
        inside = pulumi.ResourceOptions(parent=self, provider=opts and opts.provider)
        why = {"mesos-platform/why-privileged": _WHY_PRIVILEGED}
        may = (MAY_WATCH,) if args.watched.what else ()
        base = [
            *namespaces.declare("probe", args.namespace, "restricted", {}, inside, may=may),
            *namespaces.declare("probe-nodes", args.agents_namespace, "privileged", why, inside),
        ]
        self._opts = pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=base))
        access = [*self._declare_account(), self._declare_policy()]
        if args.watched.store is not None and args.watched.keys:
            access.append(self._declare_credentials(args.watched.store))
        self.ready: list[pulumi.Resource] = [
            self._declare_agents(),
            self._declare_watchers(access),
        ]
        self.register_outputs({"namespace": args.namespace})

    def _metadata(self, name: str, namespace: str | None) -> meta.v1.ObjectMetaArgs:
        return meta.v1.ObjectMetaArgs(
            name=name, namespace=namespace, labels=_labels(name), annotations=TAKE_BACK
        )

    def _settings(
        self, name: str, namespace: str, settings: Mapping[str, Any]
    ) -> tuple[core.v1.ConfigMap, str]:
        """Declare the file of settings; returns it with its digest."""
        text = json.dumps(settings, indent=2, sort_keys=True)
        made = core.v1.ConfigMap(
            name,
            metadata=self._metadata(name, namespace),
            data={"settings.json": text},
            opts=self._opts,
        )
        return made, hashlib.sha256(text.encode()).hexdigest()[:16]

    def _after(self, *first: pulumi.Resource) -> pulumi.ResourceOptions:
        """Of pods: what they need is there, and they are ready in time."""
        bound = f"{self._args.ready_timeout_s}s"
        own = pulumi.ResourceOptions(
            depends_on=list(first),
            custom_timeouts=pulumi.CustomTimeouts(create=bound, update=bound, delete=bound),
        )
        return pulumi.ResourceOptions.merge(self._opts, own)

    def _declare_account(self) -> list[pulumi.Resource]:
        """Who watchers are to the API, and what they may ask."""
        args, opts = self._args, self._opts
        account = core.v1.ServiceAccount(
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
        of_cluster = rbac.v1.ClusterRoleBinding(
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
        own = rbac.v1.RoleBinding(
            WATCHER,
            metadata=self._metadata(WATCHER, args.namespace),
            role_ref=_role("Role", WATCHER),
            subjects=[subject],
            opts=opts,
        )
        return [account, of_cluster, own]

    def _declare_credentials(self, store: SecretStore) -> pulumi.Resource:
        """What fills the Secret with watchers' credentials."""
        return custom.filled_secret(
            f"{WATCHER}-credentials",
            self._metadata(WATCHED_SECRET, self._args.namespace),
            secret=WATCHED_SECRET,
            store=store,
            keys=self._args.watched.keys,
            opts=self._opts,
        )

    def _declare_policy(self) -> pulumi.Resource:
        """Watchers reach names, the API, the apps and what they watch; nobody reaches them. Agents
        use the network of their node, which policies do not cover."""
        args, watched = self._args, self._args.watched
        blocks = [
            networking.v1.NetworkPolicyPeerArgs(ip_block=networking.v1.IPBlockArgs(cidr=network))
            for network in args.api_networks
        ]
        return networking.v1.NetworkPolicy(
            WATCHER,
            metadata=self._metadata(WATCHER, args.namespace),
            spec=networking.v1.NetworkPolicySpecArgs(
                pod_selector=meta.v1.LabelSelectorArgs(match_labels=_labels(WATCHER)),
                policy_types=["Ingress", "Egress"],
                egress=[
                    _egress(((_DNS_PORT, "UDP"), (_DNS_PORT, "TCP"))),
                    _egress(tuple((port, "TCP") for port in _API_PORTS), blocks),
                    _egress(tuple((port, "TCP") for port in args.app_ports)),
                    *(
                        [
                            _egress(
                                tuple((port, "TCP") for port in watched.ports),
                                [of_namespace(watched.namespace)],
                            )
                        ]
                        if watched.what
                        else []
                    ),
                ],
            ),
            opts=self._opts,
        )

    def _declare_agents(self) -> pulumi.Resource:
        args = self._args
        namespace = args.agents_namespace
        settings, digest = self._settings(AGENT, namespace, agent_settings(args))
        return apps.v1.DaemonSet(
            AGENT,
            metadata=self._metadata(AGENT, namespace),
            spec=apps.v1.DaemonSetSpecArgs(
                selector=meta.v1.LabelSelectorArgs(match_labels=_labels(AGENT)),
                update_strategy=apps.v1.DaemonSetUpdateStrategyArgs(
                    rolling_update=apps.v1.RollingUpdateDaemonSetArgs(max_unavailable="10%")
                ),
                template=_template(AGENT, digest, probe_pods.agent(args)),
            ),
            opts=self._after(settings),
        )

    def _declare_watchers(self, access: list[pulumi.Resource]) -> pulumi.Resource:
        args = self._args
        settings, digest = self._settings(WATCHER, args.namespace, watcher_settings(args))
        labels = _labels(WATCHER)
        return apps.v1.Deployment(
            WATCHER,
            metadata=self._metadata(WATCHER, args.namespace),
            spec=apps.v1.DeploymentSpecArgs(
                replicas=args.watchers,
                selector=meta.v1.LabelSelectorArgs(match_labels=labels),
                template=_template(WATCHER, digest, probe_pods.watcher(args, labels)),
            ),
            opts=self._after(settings, *access),
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
