"""What it takes to restart members of a StatefulSet, and to let them start with empty volumes.

Whoever does that is somebody else's process; here is what it may do by the API, member by member,
so that it is declared and asked for in the same words. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping

from components.workload import ApiRule

CLAIM = "state"
"""Name of the volume that each member claims."""


def pod_of(workload: str, index: int) -> str:
    """Name of a member's pod."""
    return f"{workload}-{index}"


def claim_of(workload: str, index: int) -> str:
    """Name of a member's claim, as a StatefulSet makes it; it outlives the pod."""
    return f"{CLAIM}-{pod_of(workload, index)}"


def rules(members: Mapping[str, int]) -> tuple[ApiRule, ...]:
    """What it takes for workloads of so many members.

    Pods go by eviction: their disruption budget keeps a quorum also from who restarts them.
    """
    pods = tuple(pod_of(name, index) for name, size in members.items() for index in range(size))
    claims = tuple(claim_of(name, index) for name, size in members.items() for index in range(size))
    return (
        ApiRule("apps", ("statefulsets",), ("get", "patch"), tuple(members)),
        ApiRule("", ("pods",), ("get",), pods),
        ApiRule("", ("pods/eviction",), ("create",), pods),
        ApiRule("", ("persistentvolumeclaims",), ("get", "delete"), claims),
    )
