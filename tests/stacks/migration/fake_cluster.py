"""An API server with one StatefulSet, whose controller acts a step later than it is asked to."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from clients.kubernetes import Access
from stacks.migration.bounds import Bounds
from stacks.migration.hosts.kubernetes import DeclaredSet, KubernetesMasters
from stacks.migration.world import World
from stacks.topology import Color
from tests.stacks.migration.fake_group import Group, world_around
from tests.stacks.migration.fake_world import KilledError

Object = dict[str, Any]
SET_UID = "uid-of-the-set"
OTHERS = ("state-green-zookeeper-0", "state-green-masters-3", "state-blue-masters-0")


@dataclass
class FakeCluster:
    """Pods run the masters of a group, and what they claim holds its log. `kill_at` ends the runner
    at its nth write: before it where that is odd, else after it."""

    group: Group
    wanted: Object = field(default_factory=dict[str, Any])
    pods: dict[str, Object] = field(default_factory=dict[str, Object])
    claims: dict[str, str] = field(default_factory=dict[str, str])
    denied: frozenset[str] = frozenset()
    keeps: bool = False
    """Whether the disruption budget keeps every pod."""
    writes: list[str] = field(default_factory=list[str])
    kill_at: int | None = None
    ended: list[str] = field(default_factory=list[str])
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _chances: int = 0

    def __post_init__(self) -> None:
        self.name = f"{self.group.color}-masters"
        metadata = {"name": self.name, "uid": SET_UID, "generation": 1}
        self.wanted = {"metadata": metadata, "spec": {"replicas": 3}, "status": {}}
        self.claims = {name: f"uid-of-{name}" for name in OTHERS}
        self.settle()

    @property
    def declared(self) -> DeclaredSet:
        return DeclaredSet(self.name, "mesos", 3, SET_UID)

    def host(self, *, ready_s: float = 0.5) -> KubernetesMasters:
        return KubernetesMasters(self, self.declared, ready_s=ready_s)

    def world(self) -> World:
        """One whose source and target are both this group, on a cluster."""
        around = world_around(self.group)

        async def masters_host(_: Color) -> KubernetesMasters:
            return self.host()

        parts: dict[str, Any] = vars(around) | {"masters_host": masters_host}
        return cast("World", SimpleNamespace(**parts | {"bounds": Bounds(masters_s=0.5)}))

    # The controller, the nodes, and what protects claims

    def settle(self) -> None:
        """Let everybody come to rest."""
        for _ in range(4):
            self.step()

    def step(self) -> None:
        replicas = self.wanted["spec"]["replicas"]
        for name, pod in list(self.pods.items()):
            if "deletionTimestamp" in pod["metadata"]:
                del self.pods[name]
                self.ended.append(pod["metadata"]["uid"])
                self.group.numbers.pop(_ordinal(name), None)
            else:
                pod["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
        generation = self.wanted["metadata"]["generation"]
        seen = self.wanted["status"].get("observedGeneration") == generation
        for name in [f"{self.name}-{index}" for index in range(3)]:
            index = _ordinal(name)
            if seen and index >= replicas and name in self.pods:
                self.pods[name]["metadata"]["deletionTimestamp"] = "now"
            if seen and index < replicas and name not in self.pods:
                self._start(name)
        self.wanted["status"] = {
            "observedGeneration": generation,
            "replicas": len(self.pods),
            "readyReplicas": sum(bool(pod["status"]["conditions"]) for pod in self.pods.values()),
        }

    def _start(self, name: str) -> None:
        self.claims.setdefault(f"state-{name}", f"claim-{next(self._numbers)}")
        metadata = {"name": name, "uid": f"pod-{next(self._numbers)}"}
        self.pods[name] = {"metadata": metadata, "status": {"conditions": []}}
        self.group.start(name)

    # The API

    async def get(self, path: str) -> Object | None:
        self.step()
        kind, name = path.split("/")[-2:]
        match kind:
            case "statefulsets":
                found: Object | None = self.wanted if name == self.name else None
            case "pods":
                found = self.pods.get(name)
            case _:
                assert kind == "persistentvolumeclaims"
                uid = self.claims.get(name)
                found = None if uid is None else {"metadata": {"name": name, "uid": uid}}
        return copy.deepcopy(found)

    async def patch(self, path: str, change: Object) -> None:
        self._die(f"scale {path.rpartition('/')[2]} to {change['spec']['replicas']}")
        assert change["metadata"]["uid"] == self.wanted["metadata"]["uid"], "the server refuses"
        self.wanted["spec"]["replicas"] = change["spec"]["replicas"]
        self.wanted["metadata"]["generation"] += 1
        self._die()

    async def delete(self, path: str, *, uid: str | None = None) -> None:
        name = path.rpartition("/")[2]
        self._die(f"delete {name}")
        assert self.claims[name] == uid, "the server refuses"
        assert not self.pods, "a claim that is used stays"
        del self.claims[name]
        self.group.knows.discard(_ordinal(name))
        self._die()

    async def evict(self, namespace: str, pod: str, uid: str) -> bool:
        assert namespace == "mesos"
        if self.keeps:
            return False
        self._die(f"evict {pod}")
        if pod in self.pods and self.pods[pod]["metadata"]["uid"] == uid:
            self.pods[pod]["metadata"]["deletionTimestamp"] = "now"
        self._die()
        return True

    async def may(self, asked: Access) -> bool:
        assert asked.namespace == "mesos"
        return str(asked) not in self.denied

    def _die(self, write: str | None = None) -> None:
        if write is not None:
            self.writes.append(write)
        self._chances += 1
        if self._chances == self.kill_at:
            self.kill_at = None
            raise KilledError


def _ordinal(name: str) -> int:
    return int(name.rpartition("-")[2])
