"""What Prometheus' operator and Grafana are told, on Kubernetes: whom to scrape, which rules hold,
which dashboards there are.

Objects of kinds that the operator brings (`monitoring.coreos.com`); where it is not installed the
API server says so before anything is made. Dashboards are ConfigMaps with the label that Grafana's
sidecar looks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes import meta as k8s_meta

from components.base import token
from components.errors import ArgumentsError
from components.monitoring import alerts
from components.monitoring.dashboards import DASHBOARDS, document
from components.targets.custom import foreign
from components.targets.namespaces import TAKE_BACK
from components.workload import PortRole

OPERATOR = "monitoring.coreos.com/v1"
DASHBOARD_LABEL = "grafana_dashboard"
_COMPONENT = "app.kubernetes.io/component"
SCRAPED: Mapping[str, PortRole] = {
    "zookeeper": PortRole.ZOOKEEPER_METRICS,
    "exporter": PortRole.EXPORTER,
    "engine": PortRole.ENGINE,
    "edge": PortRole.EDGE_ADMIN,
    "registrator": PortRole.REGISTRATOR,
}
"""Tier → the port of its Service that tells metrics at /metrics.

All of them are declared whether they are there now or not: what comes and goes in a migration must
change nothing that its contracts do not speak of, and who selects nothing scrapes nothing.
"""


@dataclass(frozen=True)
class TelemetryArgs:
    """`namespace` is the stack's own; `labels` are what the operator selects its objects by.

    Raises:
        ArgumentsError: scrapes would be closer than they take, or too far apart for the alerts.
    """

    namespace: str
    labels: Mapping[str, str] = field(default_factory=lambda: {"release": "prometheus"})
    interval_s: int = 15

    def __post_init__(self) -> None:
        # Alerts look at five minutes at least, and want several samples of each.
        if not 5 <= self.interval_s <= 60:  # noqa: PLR2004 - seconds, as said above
            msg = f"expected 5 to 60 seconds between two scrapes, saw {self.interval_s}"
            raise ArgumentsError(msg)


class Telemetry(pulumi.ComponentResource):
    """ServiceMonitors, rules and dashboards of one stack; `opts` name the provider."""

    def __init__(self, name: str, args: TelemetryArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__(token("monitoring", "Telemetry"), name, {}, opts)
        # A component's own dependencies are not its children's, whose namespace must be there.
        inside = pulumi.ResourceOptions(
            parent=self, provider=opts.provider, depends_on=opts.depends_on
        )
        for tier, role in SCRAPED.items():
            spec = monitor(tier, role, args)
            _object("ServiceMonitor", f"{name}-{tier}", spec, args, inside)
        _object("PrometheusRule", name, alerts.rules(), args, inside)
        for dashboard in DASHBOARDS:
            core.v1.ConfigMap(
                f"{name}-{dashboard.uid}",
                metadata=k8s_meta.v1.ObjectMetaArgs(
                    name=f"dashboard-{dashboard.uid}",
                    namespace=args.namespace,
                    labels={DASHBOARD_LABEL: "1"},
                    annotations=TAKE_BACK,
                ),
                data={f"{dashboard.uid}.json": json.dumps(document(dashboard), indent=1)},
                opts=inside,
            )
        self.register_outputs({})


def monitor(tier: str, role: PortRole, args: TelemetryArgs) -> dict[str, Any]:
    """Of a ServiceMonitor: every Service of a tier, by its named port."""
    return {
        "namespaceSelector": {"matchNames": [args.namespace]},
        "selector": {"matchLabels": {_COMPONENT: tier}},
        "endpoints": [
            {
                "port": str(role),
                "path": "/metrics",
                "interval": f"{args.interval_s}s",
                "scrapeTimeout": f"{max(4, args.interval_s - 1)}s",
            }
        ],
    }


def _object(
    kind: str, name: str, spec: Mapping[str, Any], args: TelemetryArgs, opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    metadata = k8s_meta.v1.ObjectMetaArgs(
        name=name, namespace=args.namespace, labels=args.labels, annotations=TAKE_BACK
    )
    return foreign(name, (OPERATOR, kind), metadata, {"spec": dict(spec)}, opts)
