"""Asks a cluster for all that is declared of it. Reads only: no call here changes anything."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import httpx

from clients.consul import Status
from clients.dns import look_up, resolve
from clients.errors import ClientError
from clients.http import http_client
from clients.kubernetes import Identity, KubernetesError
from clients.marathon import MarathonClient, MarathonError
from clients.mesos import parse
from clients.mesos.errors import MesosError
from clients.mesos.model import Agent
from clients.mesos.operator import OperatorClient
from clients.zookeeper import ZooKeeperError
from clients.zookeeper.ensemble import CONFIGURATION_PATH, parse_configuration
from components.mesos.isolation import limits_tasks
from components.network.discovery import Discovery
from controllers.edge.render import DIGEST_PATH, digest_of
from controllers.edge.services import find
from controllers.registrator.entries import find as find_entries
from stacks.agents import ListedAgents
from stacks.checks import canaries, judge, judge_agents, judge_services
from stacks.checks.declared import Declared, EdgeGroup, Group, Names, WantedEngine
from stacks.checks.errors import AnswerError
from stacks.checks.judge import Server
from stacks.checks.objects import ObjectLooks
from stacks.migration.evidence import Evidence, Findings
from sync_engine.client import EngineClient, EnsembleAddress, SyncError, facts, read

_TIMEOUT_S = 5.0
_SHOWN_MAX = 200
_FAILURES = (
    *(ClientError, MarathonError, MesosError, SyncError, ZooKeeperError),
    *(AnswerError, KubernetesError, httpx.HTTPError, ValueError),
)
_GET_STATE = {"type": "GET_STATE"}
T = TypeVar("T")


async def check(
    declared: Declared, *, timeout_s: float = _TIMEOUT_S, identity: Identity | None = None
) -> Findings:
    """Look at everything once; a part that cannot be asked is evidence that does not hold. The API
    server is asked as `identity`; None: as the pod that this runs in, where it is one."""
    looks = _Looks(declared, timeout_s, identity)
    try:
        found = await asyncio.gather(*(_made(name, look) for name, look in looks.all()))
    finally:
        await looks.close()
    return Findings(tuple(found))


async def _made(name: str, look: Callable[[], Awaitable[Evidence]]) -> Evidence:
    try:
        return await look()
    except _FAILURES as error:
        return judge.silent(name, error, "the cluster")


class _Looks:
    """One look a check; clients are shared."""

    def __init__(self, declared: Declared, timeout_s: float, identity: Identity | None) -> None:
        self._declared = declared
        self._timeout_s = timeout_s
        credential = declared.credential_file
        self._http = http_client(credential, None, timeout_s=timeout_s)
        self._stranger = http_client(None, None, timeout_s=timeout_s)
        self._browser = httpx.AsyncClient(verify=_whoever(), timeout=timeout_s, trust_env=False)
        self._operators = {
            group.color: OperatorClient(group.masters, credential, timeout_s=timeout_s)
            for group in declared.groups
            if group.masters
        }
        self._marathon = (
            MarathonClient(
                declared.marathon, declared.marathon_credential_file, timeout_s=timeout_s
            )
            if declared.marathon
            else None
        )
        self._objects = ObjectLooks(declared.objects, identity) if declared.objects else None

    async def close(self) -> None:
        for operator in self._operators.values():
            await operator.close()
        if self._marathon is not None:
            await self._marathon.close()
        await self._http.aclose()
        await self._stranger.aclose()
        await self._browser.aclose()
        if self._objects is not None:
            await self._objects.close()

    def all(self) -> list[tuple[str, Callable[[], Awaitable[Evidence]]]]:
        """Every check that the stack gives cause for, with its name."""
        found: list[tuple[str, Callable[[], Awaitable[Evidence]]]] = []
        for group in self._declared.groups:
            color = group.color
            if group.zookeeper:
                found.append((f"{color} ensemble", _of(self._ensemble, group)))
                found.append((f"{color} voters", _of(self._voters, group)))
            if group.masters:
                found.append((f"{color} masters", _of(self._masters, group)))
                found.append((f"{color} masters' flags", _of(self._master_flags, group)))
            if group.agents:
                found.append((f"{color} agents", _of(self._agents, group)))
                found.append((f"{color} agents' flags", _of(self._agent_flags, group)))
                if any(profile.limits_tasks for profile in self._declared.profiles):
                    found.append((f"{color} limits", _of(self._limits, group)))
        leading = self._declared.leading
        if leading is not None:
            found.append(("quota", _of(self._quota, leading)))
            found.append(("weights", _of(self._weights, leading)))
            if self._declared.networks:
                found.append(("networks", self._networks))
        found += self._beside()
        found.append(("strangers", self._strangers))
        names, edge = self._declared.names, self._declared.edge
        if names is not None:
            found += self._all_names(names, leading)
        if edge is not None and self._marathon is not None:
            found.append(("edge", _of(self._edge, edge)))
        return found + (self._objects.all() if self._objects is not None else [])

    def _beside(self) -> list[tuple[str, Callable[[], Awaitable[Evidence]]]]:
        """Checks of what stands beside the clusters."""
        found: list[tuple[str, Callable[[], Awaitable[Evidence]]]] = []
        engine = self._declared.engine
        if self._declared.marathon and self._declared.marathon_runs:
            found.append(("marathon", self._instances))
        if engine is not None:
            found.append(("sync engine", _of(self._engine, engine)))
        if self._declared.exporters:
            found.append(("exporters", self._exporters))
        return found

    def _all_names(
        self, names: Names, leading: Group | None
    ) -> Iterator[tuple[str, Callable[[], Awaitable[Evidence]]]]:
        if names.kind is Discovery.CONSUL:
            yield "names", _of(self._server_names, names)
            if self._marathon is not None and self._declared.marathon_runs:
                yield judge.APP_NAMES, _of(self._app_names, names)
        elif leading is not None:
            yield "names", lambda: self._names(names, leading)

    async def _ensemble(self, group: Group) -> Evidence:
        seen = await facts(EnsembleAddress(",".join(group.zookeeper)), timeout_s=self._timeout_s)
        return judge.ensemble(group, [Server(one.address, one.mode) for one in seen.servers])

    async def _voters(self, group: Group) -> Evidence:
        """Everybody may read who votes. A server that stands alone has no such list."""
        address = EnsembleAddress(",".join(group.zookeeper))
        seen = await facts(address, timeout_s=self._timeout_s)
        if [one.mode for one in seen.servers] == ["standalone"]:
            return judge.voters(group, {1})
        told = await read(address, CONFIGURATION_PATH, timeout_s=self._timeout_s)
        return judge.voters(group, parse_configuration((told or b"").decode()).voters)

    async def _masters(self, group: Group) -> Evidence:
        operator = self._operators[group.color]
        told = await self._each(group.masters, operator.metrics)
        return judge.masters(group, {a: found or {} for a, found in told.items()})

    async def _master_flags(self, group: Group) -> Evidence:
        told = await self._each(group.masters, self._operators[group.color].flags)
        flags = {address: found for address, found in told.items() if found is not None}
        bootstrapped = group.color in self._declared.bootstrapped
        quorum_of = self._declared.quorum_of
        return judge.master_flags(group, flags, bootstrapped=bootstrapped, quorum_of=quorum_of)

    async def _agents(self, group: Group) -> Evidence:
        return judge_agents.agents(self._declared, group, await self._leader().agents())

    async def _agent_addresses(self, group: Group) -> tuple[str, ...]:
        """Where a group's agents are asked themselves: known, or told by who leads them."""
        if group.agents is None or isinstance(group.agents, ListedAgents):
            return () if group.agents is None else group.agents.addresses
        known = (await self._leader().agents()).registered
        return tuple(agent.address for agent in group.agents.own(known))

    async def _flags_of(self, address: str) -> dict[str, str]:
        answer = await self._http.get(f"http://{address}/flags")
        answer.raise_for_status()
        return parse.flags(answer.json())

    async def _networks(self) -> Evidence:
        known = (await self._leader().agents()).registered
        told = await self._each([agent.address for agent in known], self._flags_of)
        return judge_agents.networks(self._declared.networks, told)

    async def _agent_flags(self, group: Group) -> Evidence:
        told = await self._each(await self._agent_addresses(group), self._flags_of)
        known: dict[str, Agent] = {}
        if len(self._declared.profiles) > 1:
            registered = (await self._leader().agents()).registered
            known = {agent.address: agent for agent in registered}
        return judge_agents.agent_flags(self._declared, group, told, known)

    async def _limits(self, group: Group) -> Evidence:
        known = (await self._leader().agents()).registered
        ids = {agent.id: agent.address for agent in known}
        flags = await self._each(await self._agent_addresses(group), self._flags_of)
        holds = {
            address: None if found is None else limits_tasks(found.get("isolation"))
            for address, found in flags.items()
        }
        states = await self._each(self._declared.frameworks, self._state_of)
        told = [
            one
            for framework, state in states.items()
            if state is not None
            for one in canaries.parse(framework, state)
        ]
        newest = {
            ids[agent]: canary
            for agent, canary in sorted(told, key=lambda one: one[1].at)
            if agent in ids
        }
        silent = [framework for framework, state in states.items() if state is None]
        limiting = (one for one in self._declared.profiles if one.limits_tasks)
        least = sum(one.count for one in limiting)
        return judge_agents.limits(group, holds, newest, silent, least=least)

    async def _state_of(self, framework: str) -> str:
        answer = await self._stranger.get(f"{framework}/state")
        answer.raise_for_status()
        return answer.text

    async def _quota(self, group: Group) -> Evidence:
        operator = self._operators[group.color]
        held, consumed = await asyncio.gather(operator.quota(), operator.consumption())
        return judge.quota(self._declared, held, consumed)

    async def _weights(self, group: Group) -> Evidence:
        held = await self._operators[group.color].weights()
        return judge_services.weights(self._declared.weights, held)

    async def _instances(self) -> Evidence:
        """Each is asked by itself: a client of all of them would follow the one that leads."""
        credential = self._declared.marathon_credential_file
        async with http_client(credential, None, timeout_s=self._timeout_s) as http:

            async def leader_by(address: str) -> str:
                answer = await http.get(f"http://{address}/v2/leader")
                answer.raise_for_status()
                leader: object = answer.json().get("leader")
                if not isinstance(leader, str):
                    msg = f"expected {address} to name a leader, saw {answer.text[:_SHOWN_MAX]!r}"
                    raise AnswerError(msg)
                return leader

            return judge_services.marathon(await self._each(self._declared.marathon, leader_by))

    async def _engine(self, wanted: WantedEngine) -> Evidence:
        async with EngineClient(wanted.url, wanted.token_file, timeout_s=self._timeout_s) as engine:
            return judge_services.engine(await engine.status(), wanted)

    async def _exporters(self) -> Evidence:
        async def ask(url: str) -> str:
            answer = await self._stranger.get(url)
            answer.raise_for_status()
            return answer.text

        wanted = self._declared.exporters
        return judge_services.exporters(await self._each(tuple(wanted), ask), wanted)

    async def _strangers(self) -> Evidence:
        masters = [m for group in self._declared.groups for m in group.masters]

        async def master(address: str) -> int:
            url = f"http://{address}/api/v1"
            return (await self._stranger.post(url, json=_GET_STATE)).status_code

        async def marathon(address: str) -> int:
            return (await self._stranger.get(f"http://{address}/v2/apps")).status_code

        async def route(url: str) -> int:
            return (await self._browser.get(f"{url}/")).status_code

        found = await self._each(masters, master)
        found |= await self._each(self._declared.marathon, marathon)
        return judge.anonymous(found | await self._each(self._declared.web_route, route))

    async def _names(self, names: Names, group: Group) -> Evidence:
        leader = await self._operators[group.color].leader()
        addresses = await look_up(leader.rpartition(":")[0])
        return judge.names(names.own, await self._answers(names, names.own), addresses)

    async def _server_names(self, names: Names) -> Evidence:
        """Consul knows of no leader of Mesos, but its servers know each other."""
        hosts = {server.rpartition(":")[0] for server in names.servers}
        addresses = [one for host in sorted(hosts) for one in await look_up(host)]
        return judge.names(names.own, await self._answers(names, names.own), addresses)

    async def _app_names(self, names: Names) -> Evidence:
        """One app stands for all: the registrator's metrics tell of the others."""
        assert self._marathon is not None
        apps, tasks = await asyncio.gather(self._marathon.apps(), self._marathon.tasks())
        entries = [one for one in find_entries(apps, tasks).entries if one.status is Status.PASSING]
        if not entries:
            return judge.no_app_names()
        first = min(one.name for one in entries)
        hosts = {one.host for one in entries if one.name == first}
        addresses = [one for host in sorted(hosts) for one in await look_up(host)]
        name = names.of(first)
        return judge.names(name, await self._answers(names, name), addresses, judge.APP_NAMES)

    async def _answers(self, names: Names, name: str) -> dict[str, tuple[str, ...] | None]:
        async def ask(server: str) -> tuple[str, ...]:
            return await asyncio.to_thread(resolve, name, server, timeout_s=self._timeout_s)

        return await self._each(names.servers, ask)

    async def _edge(self, edge: EdgeGroup) -> Evidence:
        assert self._marathon is not None
        apps, tasks = await asyncio.gather(self._marathon.apps(), self._marathon.tasks())
        found = find(apps, tasks, group=edge.group, taken=edge.own_ports)

        async def ask(address: str) -> str:
            answer = await self._stranger.get(f"http://{address}{DIGEST_PATH}")
            answer.raise_for_status()
            return answer.text

        seen = await self._each(edge.admin, ask)
        return judge_services.edge(edge, digest_of(found.services), seen, unknown=found.unknown)

    def _leader(self) -> OperatorClient:
        leading = self._declared.leading
        if leading is None:
            msg = "no masters are declared that lead: wait for the transition's end"
            raise ValueError(msg)
        return self._operators[leading.color]

    async def _each(
        self, addresses: Sequence[str], ask: Callable[[str], Awaitable[T]]
    ) -> dict[str, T | None]:
        """An answer of each; None of who did not give one."""

        async def one(address: str) -> T | None:
            try:
                return await ask(address)
            except _FAILURES:
                return None

        answers = await asyncio.gather(*(one(address) for address in addresses))
        return dict(zip(addresses, answers, strict=True))


def _whoever() -> ssl.SSLContext:
    """A stranger sends nothing that a false route could use, and is here by another name than that
    of the route's certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _of(look: Callable[[T], Awaitable[Evidence]], subject: T) -> Callable[[], Awaitable[Evidence]]:
    return lambda: look(subject)
