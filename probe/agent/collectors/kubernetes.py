"""A Kubernetes cluster: workloads, pods, services and what they stand on, by list and watch.

One probe a cluster watches all of it, elected by a Lease; the others stand by. A node's own probe
may instead look at its node and its pods alone, without an election. What the API server knows of a
pod meets what the node's probes see of it by the ids of its containers and by its own.

Whoever loses the lease keeps its rows for a while: the one that has taken over lists everything
first, and no node may seem gone meanwhile. Where it is lost because no API server answers, it may
be that nobody takes over, and the while is longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from probe.agent.collector import Capability, Miss, State
from probe.agent.errors import AgentError
from probe.agent.kubernetes import access
from probe.agent.kubernetes.api import Api
from probe.agent.kubernetes.election import Candidate
from probe.agent.kubernetes.follower import Follower, Sight
from probe.agent.kubernetes.kinds import ENDPOINTS, KINDS, POD, SERVICE, Kind
from probe.agent.kubernetes.rows import Row, Scope
from probe.agent.kubernetes.tables import Endpoints, Rows, Sink
from probe.agent.metering import counted
from probe.agent.settings import Kubernetes
from probe.agent.site import Site
from probe.agent.text import clean

_FIRST_S_MAX = 90.0
# Until the new holder has listed everything and told of it.
_RETIRE_S = 60.0
# A server that is upgraded is away for so long; after that nobody knows what still holds.
_UNHEARD_S = 300.0
# Events come by the hundred when a node is lost; nobody needs more reports than this.
_SOON_S = 0.2
_CLOSE_S_MAX = 1.0
_VERSION_S_MAX = 5.0


class KubernetesCollector:
    """Watches a cluster."""

    name: ClassVar[str] = "kubernetes"
    interval_s: ClassVar[float] = 5.0

    def __init__(
        self,
        site: Site,
        settings: Kubernetes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._site = site
        self._settings = settings or Kubernetes()
        self._environment = os.environ if environment is None else environment
        self._scope = Scope(clean(self._settings.cluster), redacts=site.redact)
        self._api: Api | None = None
        self._candidate: Candidate | None = None
        self._following: dict[asyncio.Task[None], Follower] = {}
        self._leading: asyncio.Task[None] | None = None
        self._version = ""
        self._retire_at: float | None = None
        self._has_looked = False
        self._soon: asyncio.TimerHandle | None = None
        self._sinks: dict[str, Sink] = {}

    @property
    def followers(self) -> list[Follower]:
        """Kinds that are followed now."""
        return list(self._following.values())

    async def start(self) -> None:
        """Find the API server, and stand for the lease.

        Raises:
            AbsentError: there is no cluster here, and none is named.
            SettingsError: the kubeconfig cannot be used.
        """
        settings = self._settings
        found = access.find(settings.kubeconfig, settings.service_account, self._environment)
        self._api = Api(found)
        self._sinks = self._make_sinks()
        if settings.lease is not None and settings.node is None:
            namespace, _, name = settings.lease.rpartition("/")
            self._candidate = Candidate(
                self._api,
                namespace=namespace or found.namespace,
                name=name,
                # Two lives of one pod are two candidates.
                me=f"{self._site.host}_{secrets.token_hex(4)}",
                duration_s=settings.lease_s,
                clock=self._site.clock,
                wall=self._site.wall,
            )
            await self._candidate.stand()
            self._leading = asyncio.create_task(self._lead(self._candidate))
        await self._settle()

    async def collect(self) -> None:
        """Everything is told when it happens; the first look waits for the first lists. Later ones
        do not: who has taken over would be given up, and give the lease back, over a slow list."""
        for task in (self._leading, *self._following):
            if task is not None and task.done():
                task.result()  # Raises why; the collector is made anew.
        assert self._api is not None, "started first"
        if not self._version:
            with contextlib.suppress(AgentError, TimeoutError):  # Each kind says what is wrong.
                async with asyncio.timeout(_VERSION_S_MAX):
                    self._version = clean(await self._api.version())
        if not self._has_looked and self._is_watching:
            await self._first_lists()
        self._has_looked = True

    def capability(self) -> Capability:
        """What is seen of the cluster, and what is not."""
        candidate = self._candidate
        whose = f"{self._scope.cluster} {self._version}".rstrip()
        if candidate is not None and not candidate.is_holder:
            if candidate.problem:
                grant = f"let this host reach {self._place}, and allow it lease {candidate.path}"
                return Capability(
                    State.PARTIAL,
                    f"standing for the lease of {whose}",
                    (Miss(f"the lease ({candidate.problem})", grant),),
                )
            return Capability(State.FULL, f"stand-by for {whose}: {candidate.holder} watches it")
        followers = self._following.values()
        seen = sum(one.sight is Sight.SYNCED for one in followers)
        node = self._settings.node
        where = f"pods of node {node}" if node is not None else f"{seen} kinds"
        misses = self._misses()
        state = State.PARTIAL if misses else State.FULL
        return Capability(state, f"list and watch of {where} of {whose}", misses)

    async def close(self) -> None:
        """Stop watching, and give the lease back."""
        if self._soon is not None:
            self._soon.cancel()
        leading, self._leading = self._leading, None
        if leading is not None:
            leading.cancel()
            await asyncio.wait({leading})
        await self._stop_following()
        if self._candidate is not None:
            with contextlib.suppress(AgentError, TimeoutError):  # It runs out by itself.
                async with asyncio.timeout(_CLOSE_S_MAX):
                    await self._candidate.resign()
        if self._api is not None:
            await self._api.close()

    @property
    def _is_watching(self) -> bool:
        return self._candidate is None or self._candidate.is_holder

    @property
    def _place(self) -> str:
        return "" if self._api is None else str(self._api.access.place)

    async def _lead(self, candidate: Candidate) -> None:
        """Stand for the lease until cancelled, and follow while it is ours."""
        while True:
            await asyncio.sleep(candidate.retry_s)
            await candidate.stand()
            await self._settle()

    async def _settle(self) -> None:
        """Do what the one who holds the lease does, or who does not."""
        candidate = self._candidate
        if candidate is None or self._is_watching:
            self._retire_at = None
            if not self._following:
                self._follow()
        elif candidate.holder:
            await self._stand_by(_UNHEARD_S if candidate.holder == candidate.me else _RETIRE_S)

    async def _stand_by(self, keep_s: float) -> None:
        """Somebody else watches, or may: stop, and after a while leave the telling to them."""
        now = self._site.clock()
        if self._following:
            await self._stop_following()
            self._retire_at = math.inf
        if self._retire_at is None:
            return
        self._retire_at = min(self._retire_at, now + keep_s)
        if now >= self._retire_at:
            self._retire_at = None
            for sink in self._sinks.values():
                sink.clear()

    def _follow(self) -> None:
        assert self._api is not None, "started first"
        listing = asyncio.Lock()
        node = self._settings.node
        for kind in KINDS:
            if node is not None and not kind.on_node:
                continue
            follower = Follower(
                self._api,
                kind,
                self._sinks[kind.name],
                selector="" if node is None else kind.on_node.format(node=node),
                listing=listing,
                changed=self._tell_soon,
            )
            self._following[asyncio.create_task(counted(follower.run()))] = follower

    async def _stop_following(self) -> None:
        tasks = set(self._following)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._following = {}

    async def _first_lists(self) -> None:
        """Wait until each kind has been listed, or has said why not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_S_MAX):
                for follower in self.followers:
                    await follower.tried.wait()

    def _make_sinks(self) -> dict[str, Sink]:
        ledger = self._site.ledger
        endpoints = Endpoints(ledger[POD.topology], ledger[SERVICE.topology], self._scope)
        sinks: dict[str, Sink] = {}
        for kind in KINDS:
            if kind is ENDPOINTS:
                sinks[kind.name] = endpoints
                continue
            table = ledger[kind.topology]
            told = None
            if kind is POD:
                told = endpoints.tell_pod
            elif kind is SERVICE:
                told = endpoints.tell_service
            sinks[kind.name] = Rows(
                table, partial(self._row, kind), owns=partial(self._owns, kind), told=told
            )
        return sinks

    def _row(self, kind: Kind, found: Any) -> Row | None:
        return None if kind.tell is None else kind.tell(found, self._scope)

    def _owns(self, kind: Kind, id_: str) -> bool:
        row = self._site.ledger[kind.topology].node(id_)
        return row.get("cluster") == self._scope.cluster and kind.is_told_by(row)

    def _misses(self) -> tuple[Miss, ...]:
        misses: list[Miss] = []
        troubled = [one for one in self.followers if one.sight is Sight.TROUBLED]
        if troubled and not any(one.sight is Sight.SYNCED for one in self.followers):
            grant = f"start it, or let this host reach {self._place}"
            misses.append(Miss(f"the API server ({troubled[0].problem})", grant))
            troubled = []
        misses += [
            Miss(f"changes of {one.kind.resource} ({one.problem})", "ask again") for one in troubled
        ]
        for one in self.followers:
            if one.sight is Sight.STARTING:
                misses.append(Miss(one.kind.resource, "wait: they are being listed"))
            elif one.sight is Sight.DENIED:
                group = one.kind.group or "the core group"
                grant = f"allow list and watch of {one.kind.resource} of {group}"
                misses.append(Miss(f"{one.kind.resource} ({one.problem})", grant))
            elif one.sight is Sight.ABSENT and not one.kind.optional:
                grant = "a server that knows this kind"
                misses.append(Miss(f"{one.kind.resource} ({one.problem})", grant))
        return tuple(misses)

    def _tell_soon(self) -> None:
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_SOON_S, self._tell)

    def _tell(self) -> None:
        self._soon = None
        self._site.urgent()
