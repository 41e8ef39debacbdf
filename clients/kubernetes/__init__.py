"""A small client of the Kubernetes API, for processes that look after a workload."""

from clients.kubernetes.api import Access, Identity, KubernetesClient, in_cluster
from clients.kubernetes.errors import (
    ForbiddenError,
    KubernetesError,
    RefusedError,
    UnknownKindError,
    UnreachableError,
)

__all__ = [
    "Access",
    "ForbiddenError",
    "Identity",
    "KubernetesClient",
    "KubernetesError",
    "RefusedError",
    "UnknownKindError",
    "UnreachableError",
    "in_cluster",
]
