"""The API server is asked as who runs the check; where nobody may ask it, nobody looked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import certifi
import pytest

from clients.kubernetes import Identity
from stacks.checks.declared import Declared
from stacks.checks.declared_objects import WantedObjects
from stacks.checks.run import check
from stacks.migration.evidence import Evidence
from stacks.topology import Standing
from tests.stacks.checks.test_judge_objects import READY, changed, first, of_probe, pod

Json = dict[str, Any]
WANTED = WantedObjects(
    "mesos",
    "mesos-agents",
    copied=frozenset({"blue-zookeeper"}),
    copies_every_s=6 * 3600.0,
    logs=("log-keeper",),
    probe=("probe", "probe-nodes"),
    filled=True,
)
PODS = "/api/v1/namespaces/mesos/pods"
FILLED = "/apis/external-secrets.io/v1/namespaces/{}/externalsecrets"


def cluster() -> dict[str, Json]:
    """Objects as they are when all is as declared, by path."""
    now = datetime.now(UTC).isoformat()
    labels = {"app.kubernetes.io/name": "blue-zookeeper"}
    volume = {"name": "v", "labels": labels, "creationTimestamp": now}
    ended = {**pod("ended"), "status": {"phase": "Succeeded"}}
    leaving = pod("leaving", deletionTimestamp=now)
    return {
        PODS: {"items": [pod(), pod("keeper", "log-keeper"), changed(soften, ended),
                         changed(soften, leaving)]},
        "/api/v1/namespaces/mesos-agents/pods": {"items": []},
        FILLED.format("mesos"): {"items": [{"metadata": {"name": "m"}, "status": READY}]},
        FILLED.format("mesos-agents"): {"items": []},
        "/api/v1/namespaces/mesos/persistentvolumeclaims": {
            "items": [{"metadata": volume, "status": {"phase": "Bound"}}]
        },
        "/apis/snapshot.storage.k8s.io/v1/namespaces/mesos/volumesnapshots": {
            "items": [
                {
                    "metadata": {"name": "v-1", "creationTimestamp": now},
                    "spec": {"source": {"persistentVolumeClaimName": "v"}},
                    "status": {"readyToUse": True},
                }
            ]
        },
        "/apis/apps/v1/namespaces/probe-nodes/daemonsets/probe-agent": of_probe(
            "probe-agent", {}, desiredNumberScheduled=2, numberReady=2
        ),
        "/apis/apps/v1/namespaces/probe/deployments/probe-cluster": of_probe(
            "probe-cluster", {"replicas": 1}, readyReplicas=1
        ),
    }  # fmt: skip


def soften(spec: Json) -> None:
    first(spec).pop("securityContext")


@contextlib.asynccontextmanager
async def api(objects: Mapping[str, Json], folder: Path) -> AsyncGenerator[Identity]:
    """A server that has these objects, and refuses to tell of those that are a refusal."""
    asked: set[str] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, place = head.split(" ")[:2]
        asked.add(method)
        assert "authorization: bearer token-of-the-pod" in head.lower()
        found = objects.get(place.partition("?")[0], {"reason": "NotFound", "code": 404})
        body = json.dumps(found)
        status = f"{found.get('code', 200)} told"
        kind = "content-type: application/json"
        writer.write(
            f"HTTP/1.1 {status}\r\n{kind}\r\ncontent-length: {len(body)}\r\n"
            f"connection: close\r\n\r\n{body}".encode()
        )
        await writer.drain()
        writer.close()

    token = folder / "token"
    token.write_text("token-of-the-pod\n")
    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        yield Identity(f"http://127.0.0.1:{port}", token, Path(certifi.where()))
    assert asked <= {"GET"}


async def found(identity: Identity | None, wanted: WantedObjects = WANTED) -> dict[str, Evidence]:
    declared = Declared(Standing(), (), (), objects=wanted)
    findings = await check(declared, timeout_s=10.0, identity=identity)
    return {one.name: one for one in findings.evidence if one.name != "strangers"}


async def test_all_that_is_declared_of_objects_is_asked_of_the_api_server(tmp_path: Path) -> None:
    async with api(cluster(), tmp_path) as identity:
        seen = await found(identity)

    assert {name: one.said for name, one in seen.items() if not one.ok} == {}
    assert set(seen) == {"hardening", "secrets", "copies", "logs", "probe"}
    assert all(one.looked for one in seen.values())
    # Those that have ended, or are about to, are nobody's.
    assert seen["hardening"].numbers == {"pods": 2}


async def test_what_is_otherwise_on_the_api_server_is_named(tmp_path: Path) -> None:
    objects = cluster()
    objects[PODS]["items"] = [changed(soften)]
    objects[FILLED.format("mesos")]["items"] = []
    objects["/apis/snapshot.storage.k8s.io/v1/namespaces/mesos/volumesnapshots"]["items"] = []
    claims = objects["/api/v1/namespaces/mesos/persistentvolumeclaims"]["items"]
    claims[0]["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    del objects["/apis/apps/v1/namespaces/probe/deployments/probe-cluster"]
    async with api(objects, tmp_path) as identity:
        seen = await found(identity)

    assert [name for name, one in seen.items() if one.ok] == []
    assert "masters may write to its root" in seen["hardening"].said
    assert "nothing there fills the Secrets" in seen["secrets"].said
    assert seen["copies"].said == "v has no copy"
    assert seen["logs"].said == "no pod of log-keeper"
    assert seen["probe"].said == "there are no watchers: run `pulumi up`"


async def test_what_an_account_may_not_ask_nobody_looked_at(tmp_path: Path) -> None:
    objects = cluster()
    objects[PODS] = {"reason": "Forbidden", "code": 403, "message": "may not list pods"}
    async with api(objects, tmp_path) as identity:
        seen = await found(identity)

    unseen = {name for name, one in seen.items() if not one.looked}
    assert unseen == {"hardening", "secrets", "logs"}
    assert "may not list pods" in seen["hardening"].said
    assert all(one.ok for one in seen.values())


async def test_an_api_server_that_does_not_answer_or_knows_no_copies_is_no_agreement(
    tmp_path: Path,
) -> None:
    objects = cluster()
    del objects["/apis/snapshot.storage.k8s.io/v1/namespaces/mesos/volumesnapshots"]
    async with api(objects, tmp_path) as identity:
        without = await found(identity)
    gone = await found(replace(identity, server="http://127.0.0.1:1"))

    assert "could not be asked" in without["copies"].said
    assert not without["copies"].ok
    assert [name for name, one in gone.items() if one.ok] == []


async def test_outside_of_a_pod_nobody_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    seen = await found(None)

    assert {(one.ok, one.looked) for one in seen.values()} == {(True, False)}
    assert "run this in a pod" in seen["hardening"].said
