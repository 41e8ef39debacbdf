"""A small client of the Kubernetes API, for processes that look after a workload."""

from clients.kubernetes.api import Identity, KubernetesClient, in_cluster
from clients.kubernetes.errors import (
    KubernetesError,
    RefusedError,
    UnknownKindError,
    UnreachableError,
)

__all__ = [
    "Identity",
    "KubernetesClient",
    "KubernetesError",
    "RefusedError",
    "UnknownKindError",
    "UnreachableError",
    "in_cluster",
]
