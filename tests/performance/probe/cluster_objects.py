"""Objects of a Kubernetes cluster as its API writes them, of the size that real ones have.

A pod is 7 kB of JSON, of which a probe keeps a tenth: the rest (who owns which field, environments,
probes, mounts) is what a watch costs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from probe.agent.kubernetes.kinds import ENDPOINTS, KINDS, NAMESPACE, NODE, POD, SERVICE

Object = dict[str, Any]
_PODS_A_WORKLOAD, _PODS_A_NODE, _NAMESPACES = 10, 50, 20
_CREATED = "2026-01-01T00:00:00Z"
_PATHS = {kind.name: kind.path for kind in KINDS}


@dataclass(frozen=True)
class Placed:
    """An object, and the path of the list that it stands in."""

    path: str
    object: Object


def make(pods: int, seed: int) -> Iterator[Placed]:
    """A cluster of so many pods: ten a Deployment with its service, fifty a node."""
    chance = random.Random(seed)  # noqa: S311 - the same each time is what is wanted
    for number in range(_NAMESPACES):
        found = {"metadata": _meta(f"team-{number}", "", chance), "status": {"phase": "Active"}}
        yield Placed(NAMESPACE.path, found)
    for number in range(-(-pods // _PODS_A_NODE)):
        yield Placed(NODE.path, _node(number, chance))
    for number in range(-(-pods // _PODS_A_WORKLOAD)):
        size = min(_PODS_A_WORKLOAD, pods - number * _PODS_A_WORKLOAD)
        yield from _workload(number, size, chance)


def restarted(pod: Object, chance: random.Random) -> Object:
    """A pod one of whose containers has just been started anew."""
    status = pod["status"]
    first, *rest = status["containerStatuses"]
    first = {
        **first,
        "restartCount": first["restartCount"] + 1,
        "containerID": f"containerd://{chance.getrandbits(256):064x}",
    }
    return {**pod, "status": {**status, "containerStatuses": [first, *rest]}}


def _meta(name: str, namespace: str, chance: random.Random, **more: Any) -> Object:
    identity = f"{chance.getrandbits(128):032x}"
    uid = "-".join(identity[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
    found = {"name": name, "uid": uid, "resourceVersion": "1", "creationTimestamp": _CREATED}
    return {**found, **({"namespace": namespace} if namespace else {}), **more}


def _node(number: int, chance: random.Random) -> Object:
    conditions = ("MemoryPressure", "DiskPressure", "PIDPressure")
    pressures = [{"type": name, "status": "False"} for name in conditions]
    return {
        "metadata": _meta(f"node-{number}", "", chance, labels=_labels(f"node-{number}")),
        "spec": {},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": f"10.0.{number // 250}.{number % 250 + 1}"},
                {"type": "Hostname", "address": f"node-{number}"},
            ],
            "allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110"},
            "conditions": [*pressures, {"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.36.2", "osImage": "Debian GNU/Linux 13"},
            # As a kubelet tells them, to spread pods by.
            "images": [{"names": [f"registry.example/app-{n}:1"]} for n in range(50)],
        },
    }


def _workload(number: int, size: int, chance: random.Random) -> Iterator[Placed]:
    name, namespace = f"app-{number}", f"team-{number % _NAMESPACES}"
    labels = _labels(name)
    deployment = _meta(name, namespace, chance, labels=labels)
    owner = {"kind": "Deployment", "name": name, "uid": deployment["uid"], "controller": True}
    set_ = _meta(f"{name}-7d4b9c", namespace, chance, labels=labels, ownerReferences=[owner])
    template = {"spec": _pod_spec(name, "")}
    counts = {"replicas": size, "readyReplicas": size, "updatedReplicas": size}
    for kind, metadata in (("Deployment", deployment), ("ReplicaSet", set_)):
        found = {"metadata": metadata, "spec": {"replicas": size, "template": template}}
        yield Placed(_PATHS[kind], {**found, "status": counts})
    service = _meta(name, namespace, chance, labels=labels)
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    spec = {"selector": {"app": name}, "ports": ports, "clusterIP": "10.96.0.9"}
    yield Placed(SERVICE.path, {"metadata": service, "spec": {**spec, "type": "ClusterIP"}})
    pods = [_pod(name, number * _PODS_A_WORKLOAD + n, set_, chance) for n in range(size)]
    for pod in pods:
        yield Placed(POD.path, pod)
    yield Placed(ENDPOINTS.path, _slice(name, namespace, pods, chance))


def _slice(name: str, namespace: str, pods: list[Object], chance: random.Random) -> Object:
    labels = {"kubernetes.io/service-name": name}
    return {
        "metadata": _meta(f"{name}-x", namespace, chance, labels=labels),
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [pod["status"]["podIPs"][0]["ip"]],
                "conditions": {"ready": True},
                "targetRef": {
                    "kind": "Pod",
                    "name": pod["metadata"]["name"],
                    "namespace": namespace,
                    "uid": pod["metadata"]["uid"],
                },
            }
            for pod in pods
        ],
    }


def _pod(name: str, number: int, set_: Object, chance: random.Random) -> Object:
    owner = {"kind": "ReplicaSet", "name": set_["name"], "uid": set_["uid"], "controller": True}
    metadata = _meta(
        f"{set_['name']}-{number}",
        set_["namespace"],
        chance,
        labels={**_labels(name), "pod-template-hash": "7d4b9c"},
        annotations={"checksum/config": f"{chance.getrandbits(256):064x}"},
        ownerReferences=[owner],
        managedFields=[_managed("kube-controller-manager"), _managed("kubelet")],
    )
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
    address = f"10.244.{number // 250}.{number % 250 + 1}"
    return {
        "metadata": metadata,
        "spec": _pod_spec(name, f"node-{number // _PODS_A_NODE}"),
        "status": {
            "phase": "Running",
            "qosClass": "Burstable",
            "startTime": _CREATED,
            "podIPs": [{"ip": address}],
            "conditions": [
                {"type": each, "status": "True", "lastTransitionTime": _CREATED}
                for each in conditions
            ],
            "containerStatuses": [
                {
                    "name": container,
                    "containerID": f"containerd://{chance.getrandbits(256):064x}",
                    "image": f"registry.example/{container}:1.4",
                    "imageID": f"{container}@sha256:{chance.getrandbits(256):064x}",
                    "ready": True,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": _CREATED}},
                }
                for container in ("app", "proxy")
            ],
        },
    }


def _labels(name: str) -> dict[str, str]:
    known = {"name": name, "instance": name, "version": "1.4", "managed-by": "helm"}
    return {"app": name, **{f"app.kubernetes.io/{key}": value for key, value in known.items()}}


def _managed(manager: str) -> Object:
    fields: Object = {f"f:field-{number}": {"f:name": {}, "f:value": {}} for number in range(24)}
    told = {"manager": manager, "operation": "Update", "time": _CREATED}
    return {**told, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields}}


def _pod_spec(name: str, node: str) -> Object:
    ask = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10}
    environment = [
        {"name": f"SETTING_{number}", "value": f"value-{number}"} for number in range(15)
    ]
    mounts = [{"name": "config", "mountPath": "/etc/app", "readOnly": True}]
    return {
        "serviceAccountName": name,
        "containers": [
            {
                "name": container,
                "image": f"registry.example/{container}:1.4",
                "env": environment,
                "ports": [{"containerPort": 8080}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                "livenessProbe": ask,
                "readinessProbe": ask,
                "volumeMounts": mounts,
            }
            for container in ("app", "proxy")
        ],
        "volumes": [{"name": "config", "configMap": {"name": name}}],
        **({"nodeName": node} if node else {}),
    }
