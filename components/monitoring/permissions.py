"""What a cluster's probe may ask of the Kubernetes API: what it looks at, and nothing that writes.

The one thing it writes is its own Lease, by which several of them choose one. Values only; tests
hold them to what the probe asks for, and a real API server to both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LEASE = "probe-kubernetes"
_READ = ("list", "watch")


@dataclass(frozen=True)
class Rule:
    """Verbs on resources of a group; `names` are the only objects that it is about."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...] = _READ
    names: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As the API writes it."""
        found: dict[str, Any] = {
            "apiGroups": [self.group],
            "resources": list(self.resources),
            "verbs": list(self.verbs),
        }
        return found | ({"resourceNames": list(self.names)} if self.names else {})


CLUSTER = (
    Rule(
        "",
        (
            *("namespaces", "nodes", "persistentvolumeclaims", "persistentvolumes"),
            *("pods", "services"),
        ),
    ),
    Rule("apps", ("daemonsets", "deployments", "replicasets", "statefulsets")),
    Rule("batch", ("cronjobs", "jobs")),
    Rule("discovery.k8s.io", ("endpointslices",)),
    Rule("networking.k8s.io", ("ingresses",)),
    Rule("gateway.networking.k8s.io", ("gateways", "httproutes")),
)
"""Of a probe that watches a cluster."""
ELECTION = (
    # A name that is not there yet cannot be granted.
    Rule("coordination.k8s.io", ("leases",), ("create",)),
    Rule("coordination.k8s.io", ("leases",), ("get", "patch"), (LEASE,)),
)
"""Of one of several, in their own namespace."""
