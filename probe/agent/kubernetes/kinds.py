"""Kinds of the Kubernetes API that are looked at, as data: one line each.

`tests/kubernetes` holds the permissions of the component to this table, so that a probe is granted
what it asks for and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from probe.agent.kubernetes import routing_rows, rows
from probe.agent.kubernetes.model import Claim, Namespace, Node, Pod, Volume, Workload
from probe.agent.kubernetes.routing import EndpointSlice, Gateway, HttpRoute, Ingress, Service
from probe.agent.kubernetes.rows import Row, Scope
from probe.report.schema import Value

_APPS = "apps"
_NETWORK = "networking.k8s.io"
_GATEWAY = "gateway.networking.k8s.io"
Tell = Callable[[Any, Scope], Row | None]


@dataclass(frozen=True)
class Kind:
    """One kind. `tell` is None for one that has no rows of its own; `optional` is one that somebody
    may have installed; `on_node` selects what a node's own probe looks at, where it does."""

    name: str
    group: str
    resource: str
    model: type[Any]
    topology: str
    tell: Tell | None
    optional: bool = False
    on_node: str = ""

    @property
    def path(self) -> str:
        """Where all of them are listed."""
        root = f"/apis/{self.group}" if self.group else "/api"
        return f"{root}/v1/{self.resource}"

    def is_told_by(self, row: Mapping[str, Value]) -> bool:
        """Whether a row of its topology is of this kind, where several share one."""
        return row.get("kind", self.name) == self.name


def _workload(name: str) -> Tell:
    return partial(rows.workload, name)


def _kept(name: str, group: str, resource: str) -> Kind:
    return Kind(name, group, resource, Workload, "kubernetes_workload", _workload(name))


NAMESPACE = Kind("Namespace", "", "namespaces", Namespace, "kubernetes_namespace", rows.namespace)
NODE = Kind("Node", "", "nodes", Node, "kubernetes_node", rows.node, on_node="metadata.name={node}")
POD = Kind("Pod", "", "pods", Pod, "kubernetes_pod", rows.pod, on_node="spec.nodeName={node}")
SERVICE = Kind("Service", "", "services", Service, "kubernetes_service", routing_rows.service)
ENDPOINTS = Kind(
    "EndpointSlice", "discovery.k8s.io", "endpointslices", EndpointSlice, "kubernetes_pod", None
)
KINDS = (
    NAMESPACE,
    NODE,
    _kept("Deployment", _APPS, "deployments"),
    _kept("StatefulSet", _APPS, "statefulsets"),
    _kept("DaemonSet", _APPS, "daemonsets"),
    _kept("ReplicaSet", _APPS, "replicasets"),
    _kept("Job", "batch", "jobs"),
    _kept("CronJob", "batch", "cronjobs"),
    POD,
    SERVICE,
    ENDPOINTS,
    Kind("Ingress", _NETWORK, "ingresses", Ingress, "kubernetes_ingress", routing_rows.ingress),
    Kind(
        *("HTTPRoute", _GATEWAY, "httproutes", HttpRoute, "kubernetes_ingress"),
        routing_rows.route,
        optional=True,
    ),
    Kind(
        *("Gateway", _GATEWAY, "gateways", Gateway, "kubernetes_gateway"),
        routing_rows.gateway,
        optional=True,
    ),
    Kind("PersistentVolume", "", "persistentvolumes", Volume, "kubernetes_volume", rows.volume),
    Kind(
        "PersistentVolumeClaim", "", "persistentvolumeclaims", Claim, "kubernetes_claim", rows.claim
    ),
)
