"""What is told of an object of the Kubernetes API: pure, from what a probe keeps of it.

Ids are made so that relations need no look-up: pods and workloads are named by their uid, which
owners and containers' labels name too; everything else by cluster, namespace and name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from probe.agent.collectors.docker_values import time_ms
from probe.agent.kubernetes.model import (
    Claim,
    Condition,
    ContainerStatus,
    Meta,
    Namespace,
    Node,
    Pod,
    PodContainer,
    Texts,
    Volume,
    VolumeCapacity,
    Workload,
)
from probe.agent.kubernetes.quantity import whole
from probe.agent.redaction import shown_pairs
from probe.agent.text import NAME_CHARS_MAX, TEXT_CHARS_MAX, clean, clean_all
from probe.report.schema import Value

Row: TypeAlias = tuple[str, dict[str, Value]]
_ROLE = "node-role.kubernetes.io/"
_ZONE = "topology.kubernetes.io/zone"
_HOST_NAME = "kubernetes.io/hostname"
# Why a pod is not as it should be; other reasons say what it does just now.
_STARTING = frozenset({"ContainerCreating", "PodInitializing", "Completed"})


@dataclass(frozen=True)
class Scope:
    """Whose objects they are, and whether secrets are taken out of labels."""

    cluster: str
    redacts: bool = True

    def named(self, name: str, namespace: str = "") -> str:
        """Id of an object that is known by its name."""
        place = f"{clean(namespace)}/" if namespace else ""
        return f"{self.cluster};{place}{clean(name)}"

    def common(self, meta: Meta) -> dict[str, Value]:
        """What every object has."""
        found: dict[str, Value] = {
            "cluster": self.cluster,
            "name": clean(meta.name),
            "created_ms": time_ms(meta.creation_timestamp or ""),
        }
        if meta.namespace:
            found["namespace"] = self.named(meta.namespace)
        return found

    def labelled(self, meta: Meta) -> dict[str, Value]:
        """What every object with labels has."""
        return {**self.common(meta), "labels": self.pairs(meta.labels)}

    def pairs(self, labels: Texts | None) -> list[str]:
        """Labels, `name=value`."""
        return shown_pairs(labels or {}, redacts=self.redacts, chars_max=NAME_CHARS_MAX)


def namespace(found: Namespace, scope: Scope) -> Row:
    """Columns of a namespace."""
    values = scope.labelled(found.metadata)
    return scope.named(found.metadata.name), {**values, "phase": clean(found.status.phase) or None}


def node(found: Node, scope: Scope) -> Row:
    """Columns of a node."""
    meta, spec, status = found.metadata, found.spec, found.status
    labels = meta.labels or {}
    conditions = status.conditions or []
    addresses = status.addresses or []
    hosts = [one.address for one in addresses if one.type == "Hostname"]
    info = status.node_info
    return scope.named(meta.name), {
        **scope.labelled(meta),
        "host": clean(hosts[0] if hosts else labels.get(_HOST_NAME, "")) or None,
        "ready": is_true(conditions, "Ready"),
        "schedulable": not spec.unschedulable,
        "problems": clean_all(
            [one.type for one in conditions if one.type != "Ready" and one.status == "True"]
        ),
        "roles": clean_all([name[len(_ROLE) :] for name in labels if name.startswith(_ROLE)]),
        "addresses": clean_all([one.address for one in addresses if one.type != "Hostname"]),
        "taints": clean_all([_taint(t.key, t.value, t.effect) for t in spec.taints or ()]),
        "allocatable": clean_all([f"{k}={v}" for k, v in (status.allocatable or {}).items()]),
        "zone": clean(labels.get(_ZONE, "")) or None,
        "kubelet": clean(info.kubelet_version) or None,
        "runtime": clean(info.container_runtime_version) or None,
        "os": clean(info.os_image) or None,
        "kernel": clean(info.kernel_version) or None,
    }


def _taint(key: str, value: str, effect: str) -> str:
    return f"{key}={value}:{effect}" if value else f"{key}:{effect}"


def workload(kind: str, found: Workload, scope: Scope) -> Row | None:
    """Columns of a workload; None for an old revision, which keeps no pods."""
    meta, spec, status = found.metadata, found.spec, found.status
    owner = meta.controller
    if kind == "ReplicaSet" and owner is not None and not spec.replicas and not status.replicas:
        return None
    template = spec.job_template.spec.template if kind == "CronJob" else spec.template
    active = status.active
    values: dict[str, Value] = {
        **scope.labelled(meta),
        "owner": clean(owner.uid) if owner is not None else None,
        "kind": kind,
        "paused": spec.suspend or spec.paused,
        "images": images(template.spec.containers),
    }
    match kind:
        case "DaemonSet":
            values["desired"] = status.desired_number_scheduled
            values["ready"] = status.number_ready
            values["updated"] = status.updated_number_scheduled
        case "Job":
            values["desired"] = spec.completions if spec.completions is not None else 1
            values["active"] = active if isinstance(active, int) else 0
            values["succeeded"], values["failed"] = status.succeeded, status.failed
        case "CronJob":
            values["active"] = len(active) if isinstance(active, list) else 0
            values["schedule"] = clean(spec.schedule or "")
            values["last_run_ms"] = time_ms(status.last_schedule_time or "")
        case _:
            values["desired"] = 1 if spec.replicas is None else spec.replicas
            values["ready"] = status.ready_replicas
            if kind != "ReplicaSet":
                values["updated"] = status.updated_replicas
    return clean(meta.uid), values


def pod(found: Pod, scope: Scope) -> Row:
    """Columns of a pod."""
    meta, spec, status = found.metadata, found.spec, found.status
    owner = meta.controller
    statuses = [*(status.init_container_statuses or ()), *(status.container_statuses or ())]
    claims = [v.persistent_volume_claim for v in spec.volumes or ()]
    return clean(meta.uid), {
        **scope.labelled(meta),
        "workload": clean(owner.uid) if owner is not None and owner.kind != "Node" else None,
        "node": scope.named(spec.node_name) if spec.node_name else None,
        "phase": clean(status.phase) or None,
        "ready": is_true(status.conditions or (), "Ready"),
        "problem": clean(_problem(status.reason, statuses)) or None,
        "containers": clean_all([id_ for one in statuses if (id_ := container_id(one))]),
        "claims": clean_all(
            [scope.named(one.claim_name, meta.namespace) for one in claims if one is not None],
            TEXT_CHARS_MAX,
        ),
        "addresses": clean_all([one.ip for one in status.pod_ips or ()]),
        "images": images(spec.containers),
        "host_network": spec.host_network,
        "service_account": clean(spec.service_account_name) or None,
        "qos": clean(status.qos_class) or None,
        "restarts": sum(one.restart_count for one in statuses),
        "started_ms": time_ms(status.start_time or ""),
    }


def container_id(status: ContainerStatus) -> str:
    """The id that the runtime gave it, without the runtime's name: as container nodes are named."""
    return status.container_id.rpartition("://")[2]


def _problem(reason: str, statuses: Iterable[ContainerStatus]) -> str:
    if reason:
        return reason
    for one in statuses:
        for part in (one.state.waiting, one.state.terminated):
            if part is not None and part.reason and part.reason not in _STARTING:
                return part.reason
    return ""


def images(containers: Sequence[PodContainer] | None) -> list[str]:
    """Images of containers."""
    return clean_all([one.image for one in containers or ()])


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether a condition holds; one that is not known does not."""
    return any(one.type == type_ and one.status == "True" for one in conditions)


def volume(found: Volume, scope: Scope) -> Row:
    """Columns of a persistent volume."""
    spec = found.spec
    claimed = spec.claim_ref
    return scope.named(found.metadata.name), {
        **scope.common(found.metadata),
        "claim": scope.named(claimed.name, claimed.namespace) if claimed is not None else None,
        "phase": clean(found.status.phase) or None,
        "class": clean(spec.storage_class_name) or None,
        "driver": clean(spec.csi.driver) if spec.csi is not None else None,
        "reclaim": clean(spec.persistent_volume_reclaim_policy) or None,
        "access_modes": clean_all(spec.access_modes or []),
        "capacity_bytes": _storage(spec.capacity),
    }


def claim(found: Claim, scope: Scope) -> Row:
    """Columns of a claim."""
    meta, spec = found.metadata, found.spec
    return scope.named(meta.name, meta.namespace), {
        **scope.labelled(meta),
        "volume": scope.named(spec.volume_name) if spec.volume_name else None,
        "phase": clean(found.status.phase) or None,
        "class": clean(spec.storage_class_name or "") or None,
        "access_modes": clean_all(spec.access_modes or []),
        "requested_bytes": _storage(spec.resources.requests),
        "capacity_bytes": _storage(found.status.capacity),
    }


def _storage(capacity: VolumeCapacity | None) -> int | None:
    return None if capacity is None else whole(capacity.storage)
