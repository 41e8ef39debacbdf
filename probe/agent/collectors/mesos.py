"""Clusters: masters, agents, frameworks, tasks, Marathon's apps, ZooKeeper servers, sync engines.

A cluster has the name that the settings give it, which is its colour. One probe a cluster is enough
to ask; more of them may, because reports of the same node are merged. All are asked at once, so
that those that do not answer cost one time-out together, well below the bound of a look: who hangs
must not take the news of the others with it. What a leader of masters or of a Marathon knows stays
in the report as it was last, until that source has not told it for a minute, whoever else of its
cluster answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from clients.marathon import MarathonClient, MarathonError
from clients.mesos import ForeignLeaderError, MesosError, OperatorClient
from probe.agent import zookeeper
from probe.agent.claims import Claims
from probe.agent.collector import Capability, Miss, State
from probe.agent.collectors.mesos_rows import ALL, Marathon, Masters, Rows
from probe.agent.errors import AgentError, HttpError, SettingsError, UnreachableError
from probe.agent.local_places import split
from probe.agent.metering import at_once
from probe.agent.settings import Mesos
from probe.agent.settings import SyncEngine as EngineSettings
from probe.agent.site import Site
from probe.agent.sync_engine import SyncEngine
from probe.agent.text import clean
from probe.report.schema import Value

_TIMEOUT_S = 5.0
# For all questions to one of them. A look may take 20 s.
_ANSWERS_S_MAX = 12.0
# Roles and quota change by hand.
_SLOW_LOOKS = 6
_GONE_LOOKS = 12
_Values = Mapping[str, Value]


class MesosCollector:
    """Asks the clusters and engines of the settings."""

    name: ClassVar[str] = "mesos"
    interval_s: ClassVar[float] = 5.0

    def __init__(
        self,
        site: Site,
        clusters: Sequence[Mesos] = (),
        engines: Sequence[EngineSettings] = (),
    ) -> None:
        self._clusters = clusters
        self._engine_settings = engines
        self._claims = Claims(site.ledger, ALL)
        self._rows = Rows(site, clusters, self._claims)
        self._masters: dict[str, OperatorClient] = {}
        self._marathons: dict[tuple[str, ...], MarathonClient] = {}
        self._engines: list[SyncEngine] = []
        self._misses: dict[str, Miss] = {}
        self._silent_looks: dict[str, int] = {}
        self._looks = 0

    async def start(self) -> None:
        """Make a client for each to be asked.

        Raises:
            SettingsError: a credential or an address cannot be used.
        """
        for cluster in self._clusters:
            secret = _path(cluster.credential_file)
            try:
                if cluster.masters:
                    self._masters[cluster.cluster] = OperatorClient(
                        cluster.masters, secret, timeout_s=_TIMEOUT_S
                    )
                if cluster.marathon and cluster.marathon not in self._marathons:
                    own = _path(cluster.marathon_credential_file)
                    self._marathons[cluster.marathon] = MarathonClient(
                        cluster.marathon, own or secret, timeout_s=_TIMEOUT_S
                    )
            except (MesosError, MarathonError) as error:
                raise SettingsError(str(error)) from None
        for engine in self._engine_settings:
            self._engines.append(SyncEngine(engine.url, _path(engine.token_file)))

    async def collect(self) -> None:
        """Ask all of them, then tell of all of them."""
        is_slow = self._looks % _SLOW_LOOKS == 0
        self._looks += 1
        addresses = [a for cluster in self._clusters for a in cluster.zookeeper]
        groups = list(self._marathons)
        async with asyncio.TaskGroup() as asking:
            told = asking.create_task(at_once(map(self._ask_server, addresses)))
            engines_told = asking.create_task(at_once(map(self._ask_engine, self._engines)))
            marathons_told = asking.create_task(at_once(map(self._ask_marathon, groups)))
            masters_told = asking.create_task(
                at_once(self._ask_masters(one, is_slow) for one in self._clusters)
            )
        servers = dict(zip(addresses, told.result(), strict=True))
        engines, marathons = engines_told.result(), marathons_told.result()
        masters = masters_told.result()

        rows = self._rows
        rows.places.learn()
        rows.pods.learn()
        for group, marathon in zip(groups, marathons, strict=True):
            rows.tell_marathon(group, self._named_by(group), marathon)
            if self._is_silent(group[0], answers=marathon is not None):
                rows.forget_apps(group[0])
        for cluster, seen in zip(self._clusters, masters, strict=True):
            rows.tell_ensemble(cluster, servers)
            rows.tell_masters(cluster, seen)
            if self._is_silent(cluster.cluster, answers=seen.state is not None):
                rows.forget_state(cluster)
        for settings, engine, values in zip(
            self._engine_settings, self._engines, engines, strict=True
        ):
            rows.tell_engine(settings, str(engine.place), values)
        if not self._misses or self._looks >= _GONE_LOOKS:
            self._claims.forget_before()
        self._claims.settle()

    def capability(self) -> Capability:
        """Whoever does not answer is missed."""
        misses = tuple(self._misses.values())
        names = [one.cluster for one in self._clusters]
        names += [f"the engine at {engine.place}" for engine in self._engines]
        return Capability(
            State.PARTIAL if misses else State.FULL, f"interfaces of {', '.join(names)}", misses
        )

    async def close(self) -> None:
        """Close connections."""
        for client in (*self._masters.values(), *self._marathons.values(), *self._engines):
            await client.close()

    def _note(self, what: str, problem: Exception | None, grant: str = "") -> None:
        if problem is None:
            self._misses.pop(what, None)
        else:
            self._misses[what] = Miss(f"{what} ({clean(str(problem))})", grant)

    def _named_by(self, marathon: tuple[str, ...]) -> str:
        return next(one.cluster for one in self._clusters if one.marathon == marathon)

    def _is_silent(self, source: str, *, answers: bool) -> bool:
        """Whether what a source told is to be let go, because it has not told it for long."""
        silent = 0 if answers else self._silent_looks.get(source, 0) + 1
        self._silent_looks[source] = silent
        return silent >= _GONE_LOOKS

    # Questions. Each says what did not answer, and never raises for it.

    async def _ask_server(self, address: str) -> _Values:
        what = f"ZooKeeper server {address}"
        host, port = split(address)
        try:
            server = await zookeeper.ask(host, port)
        except HttpError as error:
            self._note(what, error, "start it, or let this host reach its client port")
            return {"problem": clean(str(error))}
        self._note(what, None)
        return server.values

    async def _ask_engine(self, engine: SyncEngine) -> _Values:
        what = f"sync engine at {engine.place}"
        try:
            values = await engine.ask()
        except AgentError as error:
            self._note(what, error, "start it, or name its token")
            return {"problem": clean(str(error))}
        self._note(what, None)
        return values

    async def _ask_marathon(self, addresses: tuple[str, ...]) -> Marathon | None:
        client = self._marathons[addresses]
        what = f"Marathon at {addresses[0]}"
        try:
            async with asyncio.timeout(_ANSWERS_S_MAX):
                seen = Marathon(
                    await client.leader(),
                    await client.info(),
                    await client.apps(),
                    await client.tasks(),
                )
        except (MarathonError, TimeoutError) as error:
            self._note(what, _told(error), "start it, or let this host reach it")
            return None
        self._note(what, None)
        return seen

    async def _ask_masters(self, cluster: Mesos, is_slow: bool) -> Masters:  # noqa: FBT001 - which of two looks
        client = self._masters.get(cluster.cluster)
        if client is None:
            return Masters()
        what = f"masters of {cluster.cluster}"
        healthy = await at_once(_is_well(client, address) for address in cluster.masters)
        seen = Masters(
            frozenset(a for a, is_well in zip(cluster.masters, healthy, strict=True) if is_well)
        )
        try:
            async with asyncio.timeout(_ANSWERS_S_MAX):
                seen.leader = await client.leader()
                seen.info = await client.master()
                seen.state = await client.state()
                if is_slow:
                    seen.roles, seen.quotas = await client.roles(), await client.quota()
            self._note(what, None)
        except ForeignLeaderError as error:
            # Its agents follow another cluster's leader; that cluster tells of them.
            seen.is_foreign = True
            is_known = any(error.leader in one.masters for one in self._clusters)
            self._note(what, None if is_known else error, "name that cluster in the settings too")
        except (MesosError, TimeoutError) as error:
            self._note(what, _told(error), "start them, or let this host reach them")
        return seen


async def _is_well(client: OperatorClient, master: str) -> bool:
    try:
        return await client.health(master)
    except MesosError:
        return False


def _told(error: Exception) -> Exception:
    """A time that has run out says nothing by itself."""
    if not isinstance(error, TimeoutError):
        return error
    return UnreachableError(f"expected all answers within {_ANSWERS_S_MAX:g} s, saw them not come")


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)
