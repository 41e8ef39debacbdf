"""A probe that watches a cluster: permissions, cut watches, a server that restarts, an election."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from components.monitoring import permissions
from components.monitoring.permissions import Rule
from probe.agent.collector import State
from probe.agent.kubernetes.follower import Sight
from probe.agent.kubernetes.kinds import KINDS
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.probing import (
    CLUSTER,
    Watched,
    namespace,
    service,
    settings_of,
    watching,
    workload,
)
from tests.probe.receiver import Receiver, receiving
from tests.providers.cluster.api import Cluster, Object
from tests.waiting import block_until, until

_BOUND_S = 300
_WAIT_S = 90.0


@pytest.fixture
def place(cluster: Cluster) -> Iterator[str]:
    with namespace(cluster) as name:
        yield name


def account(
    plane: ControlPlane, cluster: Cluster, place: str, rules: list[Rule], folder: Path
) -> dict[str, str]:
    """A service account that may do so much, as a kubelet would mount it; its environment."""
    metadata = {"name": "probe", "namespace": place}
    cluster.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    for kind, wanted in (("ClusterRole", rules), ("Role", permissions.ELECTION)):
        bind(cluster, kind, place, list(wanted))
    token = token_of(cluster, place)
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(token)
    (folder / "namespace").write_text(place)
    (folder / "ca.crt").write_bytes(plane.authority.own.cert.read_bytes())
    parts = urlsplit(plane.server)
    return {
        "KUBERNETES_SERVICE_HOST": str(parts.hostname),
        "KUBERNETES_SERVICE_PORT": str(parts.port),
    }


def token_of(cluster: Cluster, place: str) -> str:
    """A token of the account, which a controller writes into a Secret that asks for one."""
    annotations = {"kubernetes.io/service-account.name": "probe"}
    metadata = {"name": "probe-token", "namespace": place, "annotations": annotations}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    cluster.create({**secret, "type": "kubernetes.io/service-account-token"})

    def written() -> str | None:
        found = cluster.find(secret)
        return None if found is None else found.get("data", {}).get("token")

    return base64.b64decode(block_until(written, "a token is written", _WAIT_S)).decode()


def bind(cluster: Cluster, kind: str, place: str, rules: list[Rule]) -> None:
    api_version = "rbac.authorization.k8s.io/v1"
    is_wide = kind == "ClusterRole"
    metadata = {"name": f"probe-{place}" if is_wide else "probe"}
    if not is_wide:
        metadata["namespace"] = place
    documents = [rule.document() for rule in rules]
    cluster.apply(
        {"apiVersion": api_version, "kind": kind, "metadata": metadata, "rules": documents}
    )
    subject = {"kind": "ServiceAccount", "name": "probe", "namespace": place}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": metadata["name"]}
    cluster.apply(
        {
            "apiVersion": api_version,
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": role,
            "subjects": [subject],
        }
    )


def test_the_permissions_are_those_of_the_kinds_that_are_looked_at() -> None:
    granted = {(r.group, name) for r in permissions.CLUSTER for name in r.resources}

    assert granted == {(kind.group, kind.resource) for kind in KINDS}
    assert {verb for rule in permissions.CLUSTER for verb in rule.verbs} == {"list", "watch"}


@pytest.mark.timeout(_BOUND_S)
async def test_what_is_granted_is_enough_and_what_is_not_is_told(
    plane: ControlPlane, cluster: Cluster, place: str, tmp_path: Path
) -> None:
    folder = tmp_path / "account"
    environment = account(plane, cluster, place, list(permissions.CLUSTER), folder)
    settings = settings_of(
        plane, kubeconfig=None, service_account=str(folder), lease=permissions.LEASE
    )
    async with watching(settings, environment) as watched:
        # A role takes a moment to reach the authoriser.
        await until(lambda: has_synced(watched), "everything is seen", _WAIT_S)
        assert watched.collector.capability().misses == ()
        lease = cluster.get("coordination.k8s.io/v1", "Lease", permissions.LEASE, place)
        assert lease is not None
        assert lease["spec"]["holderIdentity"].startswith("node_")

    lease = cluster.get("coordination.k8s.io/v1", "Lease", permissions.LEASE, place)
    assert lease is not None
    assert not lease["spec"].get("holderIdentity"), "it was given back"

    less = [rule for rule in permissions.CLUSTER if rule.group != "batch"]
    bind(cluster, "ClusterRole", place, less)
    cluster.create(workload("Deployment", "web", place, replicas=1))
    async with watching(settings, environment) as watched:
        await watched.told("workload", name="web", kind="Deployment", ready=1)
        capability = watched.collector.capability()
        misses = [str(miss) for miss in capability.misses]

        assert capability.state is State.PARTIAL
        assert watched.follower("CronJob").sight is Sight.DENIED
        assert any("allow list and watch of cronjobs of batch" in miss for miss in misses)
        assert any("forbidden" in miss for miss in misses)
        assert len(misses) == 2


def has_synced(watched: Watched) -> bool:
    sights = {one.kind.name: one.sight for one in watched.collector.followers}
    optional = {kind.name for kind in KINDS if kind.optional}
    return all(
        sight is Sight.SYNCED or (name in optional and sight is Sight.ABSENT)
        for name, sight in sights.items()
    )


class Way:
    """A way to the API server, which can be cut."""

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        self._to = (str(parts.hostname), parts.port or 443)
        self._writers: set[asyncio.StreamWriter] = set()
        self.is_open = True
        self.taken = 0

    def cut(self) -> None:
        """End all connections, as a proxy that is restarted does."""
        for writer in self._writers:
            writer.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open:
            writer.transport.abort()
            return
        self.taken += 1
        there, back = await asyncio.open_connection(*self._to)
        self._writers |= {writer, back}
        if not self.is_open:  # It was cut meanwhile.
            self.cut()
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        self._writers -= {writer, back}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def way_to(plane: ControlPlane, folder: Path) -> AsyncGenerator[tuple[Way, str]]:
    """A way, and a kubeconfig that leads through it."""
    way = Way(plane.server)
    server = await asyncio.start_server(way.carry, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    file = folder / "by-the-way.kubeconfig"
    file.write_text(plane.admin.read_text().replace(plane.server, f"https://127.0.0.1:{port}"))
    try:
        yield way, str(file)
    finally:
        server.close()
        way.cut()


@pytest.mark.timeout(_BOUND_S)
async def test_a_watch_that_is_cut_goes_on_without_a_new_list(
    plane: ControlPlane, cluster: Cluster, place: str, tmp_path: Path
) -> None:
    async with (
        way_to(plane, tmp_path) as (way, kubeconfig),
        watching(settings_of(plane, kubeconfig=kubeconfig)) as watched,
    ):
        cluster.create(service("before", place))
        cluster.create(service("going", place))
        await watched.told("service", name="before")
        lists = {one.kind.name: one.lists for one in watched.collector.followers}

        way.is_open = False
        way.cut()
        cluster.create(service("meanwhile", place))
        metadata = {"name": "going", "namespace": place}
        cluster.delete({"apiVersion": "v1", "kind": "Service", "metadata": metadata})
        await until(lambda: misses_server(watched), "it is noticed", _WAIT_S)
        # What was told last holds until it is known better.
        assert watched.rows("service", name="before")
        way.is_open = True

        await watched.told("service", name="meanwhile")
        await watched.gone("service", name="going")
        await until(lambda: is_whole(watched), "all watches go on", _WAIT_S)
        again = {one.kind.name: one.lists for one in watched.collector.followers}
        assert again == lists


def misses_server(watched: Watched) -> bool:
    """Whether the one thing that is missed is the API server, and not sixteen kinds."""
    misses = watched.collector.capability().misses
    return len(misses) == 1 and misses[0].what.startswith("the API server")


def is_whole(watched: Watched) -> bool:
    return watched.collector.capability().state is State.FULL


@pytest.mark.timeout(_BOUND_S)
async def test_a_server_that_restarts_is_followed_again(
    plane: ControlPlane, cluster: Cluster, place: str
) -> None:
    async with watching(settings_of(plane)) as watched:
        cluster.create(service("before", place))
        await watched.told("service", name="before")

        # On this thread, with whose end the kernel would end the server.
        plane.restart_server()
        cluster.create(service("after", place))

        await watched.told("service", name="after")
        await until(lambda: is_whole(watched), "all kinds are seen again", _WAIT_S)
        assert watched.rows("service", name="before")


@contextlib.asynccontextmanager
async def agent(
    folder: Path, name: str, app: Receiver, kubernetes: dict[str, Any]
) -> AsyncGenerator[Process]:
    """A probe as it is in service, for a cluster and nothing else."""
    file = folder / f"{name}.json"
    settings = {
        "apps": [app.url],
        "host": name,
        "collectors": ["kubernetes"],
        "status_socket": str(folder / f"{name}.sock"),
        "publish_interval_s": 0.5,
        "kubernetes": kubernetes,
    }
    file.write_text(json.dumps(settings))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "probe.cli", "agent", "run", "--settings", str(file)),
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(os.environ),
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


@pytest.mark.timeout(_BOUND_S)
async def test_of_two_probes_one_watches_and_the_other_takes_over(
    plane: ControlPlane, cluster: Cluster, place: str, tmp_path: Path
) -> None:
    kubernetes = {
        "cluster": CLUSTER,
        "kubeconfig": str(plane.admin),
        "lease": f"{place}/probe",
        "lease_s": 5.0,
    }
    cluster.create(service("first", place))

    def tells(app: Receiver, name: str) -> bool:
        rows = app.nodes("kubernetes_service").values()
        return any(row["namespace"] == f"{CLUSTER};{place}" and row["name"] == name for row in rows)

    async with (
        receiving() as one,
        receiving() as two,
        agent(tmp_path, "one", one, kubernetes) as holder,
    ):
        await until(lambda: tells(one, "first"), "the first one watches", _WAIT_S)
        async with agent(tmp_path, "two", two, kubernetes):
            await until(lambda: "stand-by" in mode(two), "the second one stands by", _WAIT_S)
            assert "one_" in mode(two)
            assert not two.nodes("kubernetes_service")

            holder.kill()
            cluster.create(service("second", place))

            await until(lambda: tells(two, "second"), "the second one takes over", _WAIT_S)
            assert tells(two, "first")
            lease = cluster.get("coordination.k8s.io/v1", "Lease", "probe", place)
            assert lease is not None
            assert lease["spec"]["holderIdentity"].startswith("two_")
            assert lease["spec"]["leaseTransitions"] == 1


def mode(app: Receiver) -> str:
    return next((str(row["mode"]) for row in app.nodes("collector").values()), "")


@pytest.mark.timeout(_BOUND_S)
async def test_who_loses_the_lease_keeps_its_rows_until_the_other_has_told_its_own(
    plane: ControlPlane, cluster: Cluster, place: str
) -> None:
    settings = settings_of(plane, lease=f"{place}/probe", lease_s=1.0)
    async with watching(settings) as watched:
        assert watched.rows("node")

        def take() -> bool:
            spec = {"holderIdentity": "somebody", "leaseDurationSeconds": 600}
            metadata = {"name": "probe", "namespace": place}
            lease: Object = {"apiVersion": LEASES, "kind": "Lease", "metadata": metadata}
            cluster.patch(lease, {"spec": spec}, manager="somebody")
            return not watched.collector.followers

        await until(take, "it stops watching", _WAIT_S)
        assert watched.rows("node"), "nothing may seem gone"
        assert "stand-by" in watched.collector.capability().mode

        watched.clock.now += 61
        await watched.gone("node")


LEASES = "coordination.k8s.io/v1"
