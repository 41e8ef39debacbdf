"""When an object that was applied counts as ready, and what to tell a person while it is not.

Decisions over JSON documents, and one loop that asks the server for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.providers.cluster.api import Cluster, Object, part, told
from tests.providers.cluster.errors import StuckError

SKIP = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"
_POLL_S = 0.1
_TOLD_MAX = 6


def problem(of: Object) -> str | None:
    """What an object still lacks; None when it is ready."""
    status, spec = part(of, "status"), part(of, "spec")
    decide = _DECIDE.get(of["kind"])
    if decide is None:
        return None
    generation = of["metadata"].get("generation", 0)
    if status.get("observedGeneration", generation) < generation:
        return "its controller has not seen it yet"
    return decide(spec, status)


def _stateful_set(spec: dict[str, Any], status: dict[str, Any]) -> str | None:
    wanted = spec.get("replicas", 1)
    if status.get("observedGeneration") is None:
        return "its controller has not seen it yet"
    counts = {name: status.get(name, 0) for name in ("replicas", "readyReplicas")}
    if any(count != wanted for count in counts.values()):
        return f"{counts['readyReplicas']} of {wanted} pods are ready"
    rolls = part(spec, "updateStrategy").get("type") != "OnDelete"
    if rolls and status.get("updateRevision") != status.get("currentRevision"):
        return f"{status.get('updatedReplicas', 0)} of {wanted} pods are of the new revision"
    return None


def _deployment(spec: dict[str, Any], status: dict[str, Any]) -> str | None:
    wanted = spec.get("replicas", 1)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if not ready == updated == wanted or status.get("replicas", 0) != wanted:
        return f"{ready} of {wanted} pods are ready, {updated} of them new"
    return None


def _daemon_set(spec: dict[str, Any], status: dict[str, Any]) -> str | None:
    if status.get("observedGeneration") is None:
        return "its controller has not seen it yet"
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    if ready < wanted:
        return f"{ready} of {wanted} pods are ready"
    updated = status.get("updatedNumberScheduled", 0)
    if part(spec, "updateStrategy").get("type") != "OnDelete" and updated < wanted:
        return f"{updated} of {wanted} pods are new"
    return None


def _namespace(_: dict[str, Any], status: dict[str, Any]) -> str | None:
    return None if status.get("phase") == "Active" else f"it is {status.get('phase')}"


_DECIDE: dict[str, Callable[[dict[str, Any], dict[str, Any]], str | None]] = {
    "StatefulSet": _stateful_set,
    "Deployment": _deployment,
    "DaemonSet": _daemon_set,
    "Namespace": _namespace,
}


def wait_ready(cluster: Cluster, of: Object, timeout_s: float) -> Object:
    """Ask until an object is ready; returns it.

    Raises:
        StuckError: it is not within the time, with what its pods say.
    """
    if part(of, "metadata", "annotations").get(SKIP) == "true":
        return of
    deadline = time.monotonic() + timeout_s
    while True:
        live = cluster.find(of)
        seen = "it is gone" if live is None else problem(live)
        if live is not None and seen is None:
            return live
        if time.monotonic() > deadline:
            pods = "; ".join(_of_pods(cluster, of)[:_TOLD_MAX])
            msg = (
                f"expected {told(of)} to be ready within {timeout_s:g} s, saw: {seen}"
                f"{f' ({pods})' if pods else ''}. What was applied stays: mend the cause and "
                "update again"
            )
            raise StuckError(msg)
        time.sleep(_POLL_S)


def wait_gone(cluster: Cluster, of: Object, timeout_s: float) -> None:
    """Ask until an object is gone.

    Raises:
        StuckError: it is still there, with who keeps it.
    """
    deadline = time.monotonic() + timeout_s
    while (live := cluster.find(of)) is not None:
        if time.monotonic() > deadline:
            held = ", ".join(live["metadata"].get("finalizers", ())) or "nobody"
            msg = (
                f"expected {told(of)} to be gone within {timeout_s:g} s, saw it kept by {held}: "
                "see what that waits for, and update again"
            )
            raise StuckError(msg)
        time.sleep(_POLL_S)


def _of_pods(cluster: Cluster, of: Object) -> list[str]:
    selector = part(of, "spec", "selector", "matchLabels")
    if not selector:
        return []
    namespace = of["metadata"].get("namespace")
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    pods = cluster.list("v1", "Pod", namespace, selector=labels)
    said = [line for pod in pods for line in _of_pod(pod)]
    events = cluster.list("v1", "Event", namespace)
    name = of["metadata"]["name"]
    said += [
        f"{event['involvedObject']['name']}: {event['message']}"
        for event in events
        if event["type"] == "Warning" and event["involvedObject"]["name"].startswith(name)
    ]
    return list(dict.fromkeys(said))


def _of_pod(pod: Object) -> list[str]:
    name, status = pod["metadata"]["name"], part(pod, "status")
    lines = [
        f"{name}: {condition.get('reason', condition['type'])}: {condition['message']}"
        for condition in status.get("conditions", ())
        if condition["status"] == "False" and condition.get("message")
    ]
    for container in status.get("containerStatuses", ()):
        waiting = part(container, "state", "waiting")
        if waiting:
            lines.append(f"{name}: {waiting.get('reason')}: {waiting.get('message', '')}")
    return lines
