"""Which pod an address names: `HOST.SERVICE.NAMESPACE.svc`, as a headless service names its own.

Kubernetes' own names for pods, read and not asked for: a member of a StatefulSet has its pod's name
for a host name. The pod must be an endpoint of that service, too, as far as services are watched
here. https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from probe.agent.local_places import split
from probe.agent.site import Site

_SVC = "svc"
# Host name, service, namespace, and then `svc`.
_PARTS = 4


class NamedPods:
    """Pods of the cluster that this probe watches, as they were at the last `learn`."""

    def __init__(self, site: Site) -> None:
        self._table = site.ledger["kubernetes_pod"]
        self._named: dict[tuple[str, str], str] = {}

    def learn(self) -> None:
        """Look at the report as it is now; where no pods are watched, this is nothing."""
        table = self._table
        self._named = {
            (str(table.get(id_, "namespace")).rpartition(";")[2], str(table.get(id_, "name"))): id_
            for id_ in table.ids()
        }

    def at(self, address: str) -> str | None:
        """The node of the pod that `host:port` names."""
        parts = split(address)[0].split(".")
        if len(parts) < _PARTS or parts[3] != _SVC:
            return None
        name, service, namespace, _ = parts[:_PARTS]
        pod = self._named.get((namespace, name))
        services = None if pod is None else self._table.get(pod, "services")
        if not isinstance(services, list):
            return None
        # Of a node of a service: cluster;namespace/name
        is_served = any(one.rpartition(";")[2] == f"{namespace}/{service}" for one in services)
        return pod if is_served else None
