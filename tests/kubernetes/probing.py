"""A probe's Kubernetes collector beside a real API server."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, Generator, Mapping
from typing import Any

from probe.agent.collectors.kubernetes import KubernetesCollector
from probe.agent.kubernetes.follower import Follower
from probe.agent.settings import Kubernetes
from probe.agent.site import Site
from tests.kubernetes import namespaces
from tests.kubernetes.control_plane import ControlPlane
from tests.probe.sites import Clock, News, site
from tests.providers.cluster.api import Cluster, Object
from tests.waiting import until

CLUSTER = "rig"
BOUND_S = 90.0
_IMAGE = "example.invalid/app:1"


class Watched:
    """A collector that watches, and what it has told."""

    def __init__(self, settings: Kubernetes, environment: Mapping[str, str] | None = None) -> None:
        self.news = News()
        self.clock = Clock()
        self.site: Site = site(urgent=self.news, clock=self.clock)
        self.collector = KubernetesCollector(self.site, settings, environment or {})

    def rows(self, topology: str, **wanted: Any) -> list[dict[str, Any]]:
        """Nodes of a topology with these values, each with its id."""
        return [
            {"id": id_, **row}
            for id_, row in self.site.ledger[f"kubernetes_{topology}"]
            if all(row.get(name) == value for name, value in wanted.items())
        ]

    async def told(self, topology: str, **wanted: Any) -> dict[str, Any]:
        """Wait for a node with these values, which must be one."""
        what = f"a {topology} with {wanted}, saw {self.rows(topology)[:20]}"
        found = await until(lambda: self.rows(topology, **wanted), what, BOUND_S)
        assert len(found) == 1, found
        return found[0]

    async def gone(self, topology: str, **wanted: Any) -> None:
        """Wait until there is no node with these values."""
        await until(
            lambda: not self.rows(topology, **wanted), f"no {topology} with {wanted}", BOUND_S
        )

    def follower(self, kind: str) -> Follower:
        return next(one for one in self.collector.followers if one.kind.name == kind)


@contextlib.asynccontextmanager
async def watching(
    settings: Kubernetes, environment: Mapping[str, str] | None = None
) -> AsyncGenerator[Watched]:
    """A collector that has looked once."""
    watched = Watched(settings, environment)
    try:
        await watched.collector.start()
        await watched.collector.collect()
        yield watched
    finally:
        await watched.collector.close()


def settings_of(plane: ControlPlane, **more: Any) -> Kubernetes:
    """Watches as somebody who may do everything, without an election."""
    given: dict[str, Any] = {
        "cluster": CLUSTER,
        "kubeconfig": str(plane.admin),
        "lease": None,
        **more,
    }
    return Kubernetes(**given)


@contextlib.contextmanager
def namespace(cluster: Cluster) -> Generator[str]:
    """A namespace of its own, removed afterwards; what is left of it is in nobody's way."""
    name = f"probe-{uuid.uuid4().hex[:8]}"
    cluster.create(namespaces.named(name))
    try:
        yield name
    finally:
        cluster.delete(namespaces.named(name))


def pod_spec(**more: Any) -> Object:
    container = {"name": "app", "image": _IMAGE, "ports": [{"containerPort": 80}]}
    return {"containers": [container], "terminationGracePeriodSeconds": 0, **more}


def template(name: str, **more: Any) -> Object:
    return {"metadata": {"labels": {"app": name}}, "spec": pod_spec(**more)}


def workload(kind: str, name: str, namespace: str, **spec: Any) -> Object:
    given = {
        "selector": {"matchLabels": {"app": name}},
        "template": template(name),
        **spec,
    }
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": given}


def service(name: str, namespace: str, **spec: Any) -> Object:
    ports = [{"name": "http", "port": 80}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }
