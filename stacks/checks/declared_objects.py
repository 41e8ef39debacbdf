"""What a stack on Kubernetes declares of its pods, copies and Secrets, as values.

Beside `declared`, which says what those that run there have to answer. No input or output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.base import workload_name
from components.marathon.service import NAME as MARATHON
from components.monitoring.elasticsearch import Operation
from components.network.policies import FRAMEWORKS, LOG_KEEPER, LOGS, MASTERS, SHIPPERS, ZOOKEEPER
from components.security.secrets import Operator
from stacks.config import StackConfig
from stacks.topology import Tier, Topology

_HOUR_S = 3600.0


@dataclass(frozen=True)
class WantedObjects:
    """`foreign` are components whose pods another operator makes or completes. `copied` are
    workloads whose volumes are copied every `copies_every_s`; None: no volumes are. `logs` are
    components that logs take, none where nobody collects them. `probe` are namespaces of those that
    watch the cluster, and of its agents. `filled`: objects of External Secrets fill the Secrets."""

    namespace: str
    agents_namespace: str
    foreign: frozenset[str] = frozenset()
    copied: frozenset[str] = frozenset()
    copies_every_s: float | None = None
    logs: tuple[str, ...] = ()
    probe: tuple[str, str] | None = None
    filled: bool = False


def declared_objects(
    config: StackConfig, topology: Topology, outputs: Mapping[str, Any]
) -> WantedObjects | None:
    """What a stack at a standing declares; None where it is not on Kubernetes."""
    kubernetes = config.kubernetes
    if kubernetes is None:
        return None
    logging, snapshots, store = (
        config.services.logging,
        kubernetes.snapshots,
        kubernetes.secret_store,
    )
    probe: dict[str, Any] | None = outputs.get("probe")
    by_operator = bool(logging.replicas) and logging.operation is Operation.ECK
    return WantedObjects(
        namespace=kubernetes.namespace,
        agents_namespace=f"{kubernetes.namespace}-agents",
        foreign=frozenset({LOGS, SHIPPERS} if by_operator else ()),
        copied=frozenset(_copied(config, topology) if snapshots else ()),
        copies_every_s=snapshots.every_h * _HOUR_S if snapshots else None,
        logs=(LOGS, LOG_KEEPER, SHIPPERS) if logging.replicas else (),
        probe=(str(probe["namespace"]), str(probe["agents_namespace"])) if probe else None,
        # Vault's own operator tells of its objects in another form.
        filled=store is not None and store.operator is Operator.EXTERNAL_SECRETS,
    )


def _copied(config: StackConfig, topology: Topology) -> Iterator[str]:
    """Workloads with a caretaker that copies: those of tiers that exist now. What a tier that was
    removed has left is copied no more."""
    standing = topology.standing
    for color in (standing.source, standing.target):
        for tier, name in ((Tier.ZOOKEEPER, ZOOKEEPER), (Tier.MASTERS, MASTERS)):
            if topology.tier(color, tier).exists:
                yield workload_name(name, color)
    marathon = config.cluster.marathon
    if marathon.instances and marathon.backup is not None:
        yield workload_name(FRAMEWORKS, None, f"{MARATHON}-backup")
