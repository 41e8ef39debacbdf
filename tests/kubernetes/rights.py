"""Somebody with fewer rights than who made a cluster, on the rig's API server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.stack import ClusterStack

USER = "keeper"
_RBAC = "rbac.authorization.k8s.io"
# Everything but what holds state.
_REMOVABLE: dict[str, Sequence[str]] = {
    "": ("*",),
    "apps": ("daemonsets", "deployments"),
    "networking.k8s.io": ("*",),
    "policy": ("*",),
    _RBAC: ("*",),
}


def without_removal_of_stateful_sets(
    plane: ControlPlane, stack: ClusterStack, *, but: str | None = None
) -> Path:
    """A kubeconfig of a user who may do all that an update does, and remove no StatefulSet but the
    one that is named. What it takes on the server goes with the stack."""
    rules: list[dict[str, Any]] = [
        # Who makes roles has to have their rights, or the right to give what it has not.
        {
            "apiGroups": ["*"],
            "resources": ["*"],
            "verbs": ["get", "list", "watch", "create", "update", "patch", "bind", "escalate"],
        },
        *(
            {"apiGroups": [group], "resources": list(kinds), "verbs": ["delete"]}
            for group, kinds in _REMOVABLE.items()
        ),
    ]
    if but is not None:
        one = {"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["delete"]}
        rules.append({**one, "resourceNames": [but]})
    # The fixture of the stack removes roles that are called like it.
    name = f"{stack.namespace}-{USER}"
    made = {"apiVersion": f"{_RBAC}/v1", "metadata": {"name": name}}
    stack.cluster.apply({**made, "kind": "ClusterRole", "rules": rules})
    binding = {
        "kind": "ClusterRoleBinding",
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": USER}],
    }
    stack.cluster.apply({**made, **binding})
    return plane.authority.kubeconfig(USER, plane.server)
