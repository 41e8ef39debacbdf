"""Asks the API server for pods, copies and what fills Secrets. Reads only, and no Secret.

It asks as the service account of the pod that it runs in. Outside of any pod, or where that account
may not ask, nobody looked: that is said of each finding, and is no difference of the cluster.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from clients.kubernetes import (
    Identity,
    KubernetesClient,
    RefusedError,
    UnreachableError,
    in_cluster,
)
from components.monitoring.probe_settings import AGENT, WATCHER
from controllers.caretaker.cluster import SNAPSHOTS, copy_of
from stacks.checks import judge_objects
from stacks.checks.declared_objects import WantedObjects
from stacks.checks.judge_objects import PART_OF, part
from stacks.migration.evidence import Evidence

Look = Callable[[], Awaitable[Evidence]]
Object = dict[str, Any]
_FILLED = "/apis/external-secrets.io/v1/namespaces/{}/externalsecrets"
_FORBIDDEN = "Forbidden"


class ObjectLooks:
    """One look a finding. `identity` None: that of the pod that this runs in."""

    def __init__(self, wanted: WantedObjects, identity: Identity | None = None) -> None:
        self._wanted = wanted
        self._client: KubernetesClient | None = None
        self._why_not: str | None = None
        try:
            self._client = KubernetesClient(identity or in_cluster())
        except UnreachableError as error:
            self._why_not = str(error)

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.close()

    def all(self) -> list[tuple[str, Look]]:
        """Every look that the stack gives cause for, with its name."""
        wanted = self._wanted
        looks: list[tuple[str, Callable[[KubernetesClient], Awaitable[Evidence]]]] = [
            ("hardening", self._hardening),
            ("secrets", self._secrets),
        ]
        if wanted.copies_every_s is not None:
            looks.append(("copies", self._copies))
        if wanted.logs:
            looks.append(("logs", self._logs))
        if wanted.probe is not None:
            looks.append(("probe", self._probe))
        return [(name, self._by_account(name, look)) for name, look in looks]

    def _by_account(
        self, name: str, look: Callable[[KubernetesClient], Awaitable[Evidence]]
    ) -> Look:
        async def made() -> Evidence:
            if self._client is None:
                return unseen(name, self._why_not or "no client of the API")
            try:
                return await look(self._client)
            except RefusedError as error:
                if error.reason != _FORBIDDEN:
                    raise
                return unseen(name, str(error))

        return made

    async def _pods(self, client: KubernetesClient) -> list[Object]:
        """Those of this platform, but for the probe's."""
        spaces = (self._wanted.namespace, self._wanted.agents_namespace)
        found = await asyncio.gather(*(client.list(_core(one, "pods"), PART_OF) for one in spaces))
        # One that has ended, or is on its way, is nobody's any more.
        return [
            pod
            for each in found
            for pod in each
            if "deletionTimestamp" not in pod["metadata"]
            and part(pod, "status").get("phase") not in {"Succeeded", "Failed"}
        ]

    async def _hardening(self, client: KubernetesClient) -> Evidence:
        return judge_objects.hardening(self._wanted, await self._pods(client))

    async def _secrets(self, client: KubernetesClient) -> Evidence:
        filled: list[Object] | None = None
        if self._wanted.filled:
            spaces = (self._wanted.namespace, self._wanted.agents_namespace)
            found = await asyncio.gather(*(client.list(_FILLED.format(one), {}) for one in spaces))
            filled = [one for each in found for one in each]
        return judge_objects.secrets(self._wanted, await self._pods(client), filled)

    async def _copies(self, client: KubernetesClient) -> Evidence:
        space = self._wanted.namespace
        claims, copies = await asyncio.gather(
            client.list(_core(space, "persistentvolumeclaims"), PART_OF),
            client.list(f"/apis/{SNAPSHOTS}/namespaces/{space}/volumesnapshots", PART_OF),
        )
        copied = [copy_of(one) for one in copies]
        return judge_objects.copies(self._wanted, claims, copied, time.time())

    async def _logs(self, client: KubernetesClient) -> Evidence:
        return judge_objects.logs(self._wanted, await self._pods(client))

    async def _probe(self, client: KubernetesClient) -> Evidence:
        assert self._wanted.probe is not None
        namespace, agents_namespace = self._wanted.probe
        agents, watchers = await asyncio.gather(
            client.get(_apps(agents_namespace, "daemonsets", AGENT)),
            client.get(_apps(namespace, "deployments", WATCHER)),
        )
        return judge_objects.probe(agents, watchers)


def unseen(name: str, why: str) -> Evidence:
    """A finding that nobody looked at."""
    said = f"not looked at: {why}"
    return Evidence(name, ok=True, said=said, told_by=judge_objects.TOLD_BY, looked=False)


def _core(namespace: str, kind: str) -> str:
    return f"/api/v1/namespaces/{namespace}/{kind}"


def _apps(namespace: str, kind: str, name: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/{kind}/{name}"
