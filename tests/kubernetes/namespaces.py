"""Namespaces of the many-nodes rig, and their removal without waiting for what nobody waits for."""

from __future__ import annotations

from tests.providers.cluster.api import Cluster, Object
from tests.waiting import block_until

_EMPTY_S_MAX = 120.0


def named(name: str) -> Object:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def remove(cluster: Cluster, *names: str) -> None:
    """Remove namespaces, and wait until no pod is left in them.

    Agents hold ports of nodes, which the next ones use. The namespaces themselves stay for half of
    their pods' grace, and are in nobody's way.
    """
    for name in names:
        cluster.delete(named(name))
    block_until(
        lambda: not any(cluster.list("v1", "Pod", name) for name in names),
        f"the end of all pods in {', '.join(names)}",
        _EMPTY_S_MAX,
    )
