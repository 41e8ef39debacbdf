"""What a caretaker sees and does on Kubernetes: pods, claims and copies of one workload."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from clients.kubernetes import KubernetesClient
from controllers.caretaker.copies import Call, Copy, Make
from controllers.caretaker.rolling import Pod
from controllers.caretaker.settings import CaretakerSettings, CopySettings, Kind

Object = dict[str, Any]
MARK = "mesos-platform/draining"
"""Annotation of a DaemonSet: the agent that its caretaker drains."""
_REVISION = "controller-revision-hash"
# The kubelet waits 10, 20, 40 s between them: what passes by itself has done so.
_STARTS_MIN = 3
_SOON_S = 60.0
SNAPSHOTS = "snapshot.storage.k8s.io/v1"
"""Group and version of copies."""


class Looked:
    """A workload's pods at one moment."""

    def __init__(self, pods: list[Object], current: str | None, marked: str | None) -> None:
        self.nodes = {_name(pod): str(pod["spec"].get("nodeName") or "") for pod in pods}
        self.pods = tuple(_pod(pod, current) for pod in pods)
        self.marked = marked


class WorkloadClient:
    """One workload."""

    def __init__(self, client: KubernetesClient, settings: CaretakerSettings) -> None:
        self._client = client
        self._settings = settings
        space = f"namespaces/{settings.namespace}"
        self._core = f"/api/v1/{space}"
        self._apps = f"/apis/apps/v1/{space}"
        self._path = f"{self._apps}/{settings.kind}/{settings.workload}"
        self._snapshots = f"/apis/{SNAPSHOTS}/{space}/volumesnapshots"

    async def look(self) -> Looked | None:
        """Its pods; None while there is no such workload, or its controller has not seen what is
        newest of it."""
        workload = await self._client.get(self._path)
        if workload is None:
            return None
        status, metadata = _part(workload, "status"), workload["metadata"]
        if status.get("observedGeneration", 0) < metadata.get("generation", 0):
            return None
        pods = await self._client.list(f"{self._core}/pods", self._settings.labels)
        if self._settings.kind is Kind.STATEFUL_SET:
            current: str | None = status.get("updateRevision")
        else:
            revisions = await self._client.list(
                f"{self._apps}/controllerrevisions", self._settings.labels
            )
            newest = max(revisions, key=lambda each: each["revision"], default=None)
            current = None if newest is None else _part(newest, "metadata", "labels")[_REVISION]
        return Looked(pods, current, _part(metadata, "annotations").get(MARK))

    async def replace(self, pod: Pod) -> bool:
        """Remove a pod as far as its budget allows; whether it does."""
        return await self._client.evict(self._settings.namespace, pod.name, pod.uid)

    async def mark(self, agent_id: str | None) -> None:
        """Write down which agent is drained; None: no one any more."""
        await self._client.patch(self._path, {"metadata": {"annotations": {MARK: agent_id}}})

    async def claims(self) -> list[str]:
        """Names of its claims whose volume is there."""
        found = await self._client.list(
            f"{self._core}/persistentvolumeclaims", self._settings.labels
        )
        return [_name(claim) for claim in found if _part(claim, "status").get("phase") == "Bound"]

    async def copies(self) -> list[Copy]:
        """Copies of its volumes.

        Raises:
            UnknownKindError: the cluster knows no VolumeSnapshots.
        """
        found = await self._client.list(self._snapshots, self._settings.labels)
        return [copy_of(each) for each in found]

    async def perform(self, call: Call, how: CopySettings) -> None:
        """Make a copy, or let one go."""
        if not isinstance(call, Make):
            await self._client.delete(f"{self._snapshots}/{call.name}")
            return
        body: Object = {
            "apiVersion": SNAPSHOTS,
            "kind": "VolumeSnapshot",
            "metadata": {"name": call.name, "labels": self._settings.labels},
            "spec": {
                "volumeSnapshotClassName": how.snapshot_class,
                "source": {"persistentVolumeClaimName": call.claim},
            },
        }
        await self._client.create(self._snapshots, body)


def _part(of: Object, *names: str) -> Object:
    """A part of a document by the names on the way to it; empty where there is none."""
    for name in names:
        of = of.get(name) or {}
    return of


def _name(of: Object) -> str:
    return str(of["metadata"]["name"])


def _pod(pod: Object, current: str | None) -> Pod:
    metadata = pod["metadata"]
    conditions: list[Object] = _part(pod, "status").get("conditions") or []
    containers: list[Object] = _part(pod, "status").get("containerStatuses") or []
    ordinal = metadata["name"].rpartition("-")[2]
    return Pod(
        name=metadata["name"],
        ordinal=int(ordinal) if ordinal.isdigit() else 0,
        uid=metadata["uid"],
        is_current=_part(metadata, "labels").get(_REVISION) == current,
        is_ready=any(c["type"] == "Ready" and c["status"] == "True" for c in conditions),
        is_ending="deletionTimestamp" in metadata,
        has_run=any(map(_has_run, containers)),
        keeps_ending=any(map(_keeps_ending, containers)),
    )


def _has_run(container: Object) -> bool:
    """Whether a container was ever started; one that waits now may have been before."""
    states = {*_part(container, "state"), *_part(container, "lastState")}
    return bool(states - {"waiting"}) or bool(container.get("restartCount"))


def _keeps_ending(container: Object) -> bool:
    """Whether it is held back from another start after some that did not last: one that ran for
    days and ends is started again at once, and one that ended by itself is no reason."""
    waits = _part(container, "state", "waiting").get("reason") == "CrashLoopBackOff"
    last = _part(container, "lastState", "terminated")
    if not waits or container.get("restartCount", 0) < _STARTS_MIN or "finishedAt" not in last:
        return False
    began, ended = (datetime.fromisoformat(last[key]) for key in ("startedAt", "finishedAt"))
    return (ended - began).total_seconds() < _SOON_S


def copy_of(snapshot: Object) -> Copy:
    """A VolumeSnapshot, as the API tells it."""
    status = _part(snapshot, "status")
    made = datetime.fromisoformat(snapshot["metadata"]["creationTimestamp"])
    return Copy(
        name=_name(snapshot),
        claim=str(snapshot["spec"]["source"].get("persistentVolumeClaimName")),
        made_at=made.timestamp(),
        is_ready=bool(status.get("readyToUse")),
        error=_part(status, "error").get("message"),
    )
