"""A stack on the target `kubernetes` whose objects lie on a real API server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stacks.automation import StackRunner
from tests.providers.cluster.api import Cluster, Object, part

DIGEST = f"sha256:{'0' * 64}"
IMAGES = {name: f"example.invalid/{name}@{DIGEST}" for name in ("zookeeper", "mesos", "platform")}
NODES = "10.0.0.0/16"
# Of every kind that a stack makes.
KINDS = (
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("v1", "PersistentVolumeClaim"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "DaemonSet"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
)


@dataclass(frozen=True)
class ClusterStack:
    """A stack, its configuration, and what it made."""

    runner: StackRunner
    cluster: Cluster
    namespace: str

    @property
    def agents_namespace(self) -> str:
        """Where agents lie."""
        return f"{self.namespace}-agents"

    @property
    def probe_namespaces(self) -> tuple[str, str]:
        """Where the probe lies that watches the cluster, and its agents; there may be none."""
        return f"{self.namespace}-probe", f"{self.namespace}-probe-nodes"

    def configure(
        self,
        *,
        kubernetes: Mapping[str, Any] | None = None,
        cluster: Mapping[str, Any] | None = None,
        services: Mapping[str, Any] | None = None,
        bounds: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the stack's configuration, with these keys besides the usual ones."""
        settings = {"namespace": self.namespace, "node_networks": [NODES], "images": IMAGES}
        values: dict[str, Any] = {
            "mesos-platform:target": "kubernetes",
            "mesos-platform:kubernetes": {**settings, "spread": "zones", **(kubernetes or {})},
            "mesos-platform:migration": {"position": "0"},
        }
        for key, given in (("cluster", cluster), ("services", services), ("bounds", bounds)):
            if given:
                values[f"mesos-platform:{key}"] = dict(given)
        text = yaml.safe_dump({"config": values}, sort_keys=False)
        self.runner.config_file.write_text(text)

    def reconfigure(self, key: str, change: Mapping[str, Any]) -> None:
        """Write these keys of a part of the configuration; what else there is stays."""
        document = yaml.safe_load(self.runner.config_file.read_text())
        document["config"].setdefault(f"mesos-platform:{key}", {}).update(change)
        self.runner.config_file.write_text(yaml.safe_dump(document, sort_keys=False))

    def get(self, api_version: str, kind: str, name: str) -> Object:
        """An object of the stack, which must be there."""
        for namespace in (self.namespace, self.agents_namespace):
            found = self.cluster.get(api_version, kind, name, namespace)
            if found is not None:
                return found
        msg = f"no {kind} {name} in {self.namespace}"
        raise AssertionError(msg)

    def pods(self, name: str) -> list[Object]:
        """Pods of a workload."""
        found = [
            pod
            for namespace in (self.namespace, self.agents_namespace)
            for pod in self.cluster.list(
                "v1", "Pod", namespace, selector=f"app.kubernetes.io/name={name}"
            )
        ]
        return sorted(found, key=lambda pod: pod["metadata"]["name"])

    def names(self) -> set[str]:
        """`Kind name` of every object of the stack."""
        return {f"{each['kind']} {each['metadata']['name']}" for each in self.objects()}

    def objects(self) -> list[Object]:
        """Every object that the stack made, as far as it is not the namespaces' own."""
        found: list[Object] = []
        for api_version, kind in KINDS:
            for namespace in (self.namespace, self.agents_namespace):
                for each in self.cluster.list(api_version, kind, namespace):
                    each |= {"kind": kind, "apiVersion": api_version}
                    if each["metadata"]["name"] != "kube-root-ca.crt":
                        found.append(each)
        return found

    def versions(self) -> dict[str, str]:
        """What the server counts writes of each object by."""
        return {
            f"{each['kind']} {each['metadata']['name']}": each["metadata"]["resourceVersion"]
            for each in self.objects()
        }

    def generations(self) -> dict[str, int | None]:
        """How often what is wanted of each object was changed; None where nobody counts."""
        return {
            f"{each['kind']} {each['metadata']['name']}": each["metadata"].get("generation")
            for each in self.objects()
        }


def is_ready(pod: Object) -> bool:
    """Whether a pod serves, as far as its node says."""
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in part(pod, "status").get("conditions", ())
    )


def make(runner_dir: Path, cluster: Cluster, namespace: str) -> ClusterStack:
    """A stack that is configured and initialised; nothing was made yet."""
    stack = ClusterStack(StackRunner("rig", runner_dir), cluster, namespace)
    stack.configure()
    stack.runner.init()
    return stack
