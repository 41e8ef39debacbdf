"""NetworkPolicies of a workload: what components.network.policies allows, and nothing else.

A namespace denies everything both ways; each workload then gets the flows of its tier. Agents use
their node's network, which policies do not cover: others meet them as addresses of nodes, and who
reaches an agent's own port is for a firewall of the nodes to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pulumi_kubernetes import meta, networking

from components.network import policies
from components.network.policies import Flow
from components.targets.pod_ports import protocols
from components.workload import PortRole, Workload

# Namespaces carry these labels when their pods may read metrics, use ZooKeeper, apps or the web
# interfaces, or watch what runs.
MAY_READ_METRICS = "mesos-platform/may-read-metrics"
MAY_USE_ZOOKEEPER = "mesos-platform/may-use-zookeeper"
MAY_READ_LOGS = "mesos-platform/may-read-logs"
MAY_RUN_LOGS = "mesos-platform/may-run-logs"
MAY_USE_APPS = "mesos-platform/may-use-apps"
MAY_USE_WEB = "mesos-platform/may-use-web"
MAY_WATCH = "mesos-platform/may-watch"
_NAME = "kubernetes.io/metadata.name"
_SYSTEM = {_NAME: "kube-system"}
_OUTSIDE = {
    policies.MONITORING: {MAY_READ_METRICS: "true"},
    policies.GUESTS: {MAY_USE_ZOOKEEPER: "true"},
    policies.VISITORS: {MAY_USE_APPS: "true"},
    policies.BROWSERS: {MAY_USE_WEB: "true"},
    policies.PROBE: {MAY_WATCH: "true"},
    policies.RESOLVERS: _SYSTEM,
    policies.LOG_OPERATOR: {MAY_RUN_LOGS: "true"},
    policies.READERS: {MAY_READ_LOGS: "true"},
}
# Agents of a real cluster give these to tasks unless their resources say otherwise.
_TASK_PORT_LAST = 32000
_COMPONENT = "app.kubernetes.io/component"
_COLOR = "mesos-platform/color"
_DNS_PORT = 53
# Of the API's Service, and of its servers behind it: which one a policy sees, networks differ in.
_API_PORTS = (443, 6443)


@dataclass(frozen=True)
class Reach:
    """What flows mean on a cluster: the networks of its nodes and of its API servers, and which
    port a role has."""

    node_networks: Sequence[str]
    ports: dict[PortRole, tuple[int, ...]]
    api_networks: Sequence[str] = ()
    namespaces: tuple[str, str] = ("", "")
    """That of pods, and that of what lies on nodes."""

    def spec(
        self, workload: Workload, selector: dict[str, str]
    ) -> networking.v1.NetworkPolicySpecArgs:
        """The policy of a workload's pods."""
        return networking.v1.NetworkPolicySpecArgs(
            pod_selector=meta.v1.LabelSelectorArgs(match_labels=selector),
            policy_types=["Ingress", "Egress"],
            ingress=[
                networking.v1.NetworkPolicyIngressRuleArgs(
                    from_=self._peers(flow, flow.source, workload), ports=self._ports(flow)
                )
                for flow in policies.into(workload.tier)
                if flow.role in workload.members[0].ports
            ],
            egress=[
                _names(),
                *(
                    networking.v1.NetworkPolicyEgressRuleArgs(
                        to=self._peers(flow, flow.target, workload), ports=self._ports(flow)
                    )
                    for flow in policies.out_of(workload.tier)
                ),
                *([self._api()] if workload.api_rules else []),
            ],
        )

    def _api(self) -> networking.v1.NetworkPolicyEgressRuleArgs:
        return networking.v1.NetworkPolicyEgressRuleArgs(
            to=[
                networking.v1.NetworkPolicyPeerArgs(
                    ip_block=networking.v1.IPBlockArgs(cidr=network)
                )
                for network in self.api_networks
            ],
            ports=[
                networking.v1.NetworkPolicyPortArgs(protocol="TCP", port=port)
                for port in _API_PORTS
            ],
        )

    def _ports(self, flow: Flow) -> list[networking.v1.NetworkPolicyPortArgs]:
        return [
            networking.v1.NetworkPolicyPortArgs(
                protocol=protocol,
                port=port,
                end_port=_TASK_PORT_LAST if flow.role is PortRole.TASKS else None,
            )
            for protocol in protocols(flow.role)
            for port in self.ports[flow.role]
        ]

    def _peers(
        self, flow: Flow, tier: str, workload: Workload
    ) -> list[networking.v1.NetworkPolicyPeerArgs]:
        if tier == policies.AGENTS:
            return [
                networking.v1.NetworkPolicyPeerArgs(
                    ip_block=networking.v1.IPBlockArgs(cidr=network)
                )
                for network in self.node_networks
            ]
        if tier in _OUTSIDE:
            outside = meta.v1.LabelSelectorArgs(match_labels=_OUTSIDE[tier])
            return [networking.v1.NetworkPolicyPeerArgs(namespace_selector=outside)]
        wanted = {_COMPONENT: tier}
        if policies.SHIPPERS in {tier, workload.tier}:
            # The two ends lie in different namespaces.
            there = self.namespaces[tier == policies.SHIPPERS]
            return [
                networking.v1.NetworkPolicyPeerArgs(
                    namespace_selector=meta.v1.LabelSelectorArgs(match_labels={_NAME: there}),
                    pod_selector=meta.v1.LabelSelectorArgs(match_labels=wanted),
                )
            ]
        if flow.within_color and workload.color:
            wanted[_COLOR] = workload.color
        chosen = meta.v1.LabelSelectorArgs(match_labels=wanted)
        return [networking.v1.NetworkPolicyPeerArgs(pod_selector=chosen)]


def of_namespace(name: str) -> networking.v1.NetworkPolicyPeerArgs:
    """Every pod of a namespace."""
    labels = meta.v1.LabelSelectorArgs(match_labels={_NAME: name})
    return networking.v1.NetworkPolicyPeerArgs(namespace_selector=labels)


def deny_all() -> networking.v1.NetworkPolicySpecArgs:
    """Of a namespace: no pod opens or takes a connection."""
    return networking.v1.NetworkPolicySpecArgs(
        pod_selector=meta.v1.LabelSelectorArgs(), policy_types=["Ingress", "Egress"]
    )


def _names() -> networking.v1.NetworkPolicyEgressRuleArgs:
    system = meta.v1.LabelSelectorArgs(match_labels=_SYSTEM)
    return networking.v1.NetworkPolicyEgressRuleArgs(
        to=[networking.v1.NetworkPolicyPeerArgs(namespace_selector=system)],
        ports=[
            networking.v1.NetworkPolicyPortArgs(protocol=protocol, port=_DNS_PORT)
            for protocol in ("UDP", "TCP")
        ],
    )
