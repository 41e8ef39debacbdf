"""Clusters: masters, agents, frameworks, tasks, Marathon's apps and ZooKeeper servers.

A cluster has the name that the settings give it, which is its colour. One probe a cluster is enough
to ask; more of them may, because reports of the same node are merged. What runs on this very
machine is tied to its process, by the endpoint that it listens on. What does not answer stays in
the report as what it was last, until all of its cluster is gone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from clients.marathon import MarathonClient, MarathonError
from clients.mesos import ForeignLeaderError, MesosError, OperatorClient
from clients.mesos.model import Agent, Task
from clients.mesos.model import State as ClusterState
from probe.agent import zookeeper
from probe.agent.collector import Capability, Miss, State
from probe.agent.errors import AbsentError, HttpError, SettingsError
from probe.agent.settings import Mesos
from probe.agent.site import Site
from probe.agent.text import clean, clean_all
from probe.report.schema import Value

_TIMEOUT_S = 5.0
_TASK_ENDED = frozenset(
    ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_GONE", "TASK_DROPPED")
)


class MesosCollector:
    """Asks the clusters of the settings."""

    name: ClassVar[str] = "mesos"
    interval_s: ClassVar[float] = 5.0

    def __init__(self, site: Site, clusters: Sequence[Mesos] = ()) -> None:
        self._site = site
        self._clusters = clusters
        self._clients: dict[str, OperatorClient] = {}
        self._marathons: dict[str, MarathonClient] = {}
        self._misses: dict[str, Miss] = {}
        self._owned: dict[tuple[str, str], set[str]] = {}
        self._app_of: dict[str, str] = {}
        self._listening: dict[tuple[str, int], str] = {}
        self._here: set[str] = set()

    async def start(self) -> None:
        """Make a client a cluster.

        Raises:
            AbsentError: there is no cluster to ask.
        """
        if not self._clusters:
            msg = "no cluster is named"
            raise AbsentError(msg, grant="name masters and ZooKeeper servers in `mesos`")
        for cluster in self._clusters:
            secret = None if cluster.credential_file is None else Path(cluster.credential_file)
            try:
                if cluster.masters:
                    self._clients[cluster.cluster] = OperatorClient(
                        cluster.masters, secret, timeout_s=_TIMEOUT_S
                    )
                if cluster.marathon:
                    self._marathons[cluster.cluster] = MarathonClient(
                        cluster.marathon, secret, timeout_s=_TIMEOUT_S
                    )
            except (MesosError, MarathonError) as error:
                raise SettingsError(str(error)) from None

    async def collect(self) -> None:
        """Ask all of them."""
        self._learn_places()
        for cluster in self._clusters:
            await self._ask_zookeeper(cluster)
            await self._ask_marathon(cluster)
            await self._ask_masters(cluster)

    def capability(self) -> Capability:
        """Whoever does not answer is missed."""
        misses = tuple(self._misses.values())
        mode = f"operator API of {', '.join(one.cluster for one in self._clusters)}"
        return Capability(State.PARTIAL if misses else State.FULL, mode, misses)

    async def close(self) -> None:
        """Close connections."""
        for client in self._clients.values():
            await client.close()
        for marathon in self._marathons.values():
            await marathon.close()

    def _keep(self, cluster: Mesos, topology: str, ids: set[str]) -> None:
        """Take away what this cluster has no more; others' nodes stay."""
        before = self._owned.get((cluster.cluster, topology), set())
        for id_ in before - ids:
            self._site.ledger[topology].remove(id_)
        self._owned[cluster.cluster, topology] = ids

    def _note(self, what: str, problem: Exception | None, grant: str = "") -> None:
        if problem is None:
            self._misses.pop(what, None)
        else:
            self._misses[what] = Miss(f"{what} ({clean(str(problem))})", grant)

    # ZooKeeper

    async def _ask_zookeeper(self, cluster: Mesos) -> None:
        table = self._site.ledger["zookeeper_server"]
        for address in cluster.zookeeper:
            host, _, port = address.rpartition(":")
            what = f"ZooKeeper server {address}"
            values: dict[str, Value] = {"state": None, "problem": None}
            try:
                server = await zookeeper.ask(host.strip("[]"), int(port))
                values |= server.values
                self._note(what, None)
            except HttpError as error:
                values["problem"] = clean(str(error))
                self._note(what, error, "start it, or let this host reach its client port")
            table.put(address, cluster=cluster.cluster, process=self._process_at(address), **values)
        self._keep(cluster, "zookeeper_server", set(cluster.zookeeper))

    # Marathon

    async def _ask_marathon(self, cluster: Mesos) -> None:
        client = self._marathons.get(cluster.cluster)
        if client is None:
            return
        what = f"Marathon of {cluster.cluster}"
        try:
            apps, tasks = await client.apps(), await client.tasks()
        except MarathonError as error:
            self._note(what, error, "let this host reach it")
            return
        self._note(what, None)
        table = self._site.ledger["marathon_app"]
        ids: set[str] = set()
        marathon = cluster.marathon[0]
        for app in apps:
            ids.add(f"{marathon};{app.id}")
            table.put(
                f"{marathon};{app.id}",
                name=clean(app.id),
                marathon=marathon,
                instances=app.instances,
                running=app.running,
                healthy=app.healthy,
                staged=app.staged,
                version=clean(app.version),
            )
        self._app_of = {task.id: f"{marathon};{task.app_id}" for task in tasks}
        self._keep(cluster, "marathon_app", ids)

    # Mesos

    async def _ask_masters(self, cluster: Mesos) -> None:
        client = self._clients.get(cluster.cluster)
        if client is None:
            return
        leader: str | None = None
        state: ClusterState | None = None
        what = f"masters of {cluster.cluster}"
        try:
            leader = await client.leader()
            state = await client.state()
            self._note(what, None)
        except ForeignLeaderError as error:
            # Its agents follow another cluster's leader; that cluster tells of them.
            self._note(what, error, "name that cluster in the settings too")
            self._keep_state(cluster, set(), set(), set())
        except MesosError as error:
            self._note(what, error, "start them, or let this host reach them")
        await self._tell_masters(cluster, client, leader)
        if state is not None and leader is not None:
            self._tell_state(cluster, state, leader)

    async def _tell_masters(
        self, cluster: Mesos, client: OperatorClient, leader: str | None
    ) -> None:
        table = self._site.ledger["mesos_master"]
        info = None
        if leader is not None:
            try:
                info = await client.master()
            except MesosError as error:
                self._note(f"leader of {cluster.cluster}", error, "ask again")
        for address in cluster.masters:
            is_leader = address == leader
            table.put(
                address,
                cluster=cluster.cluster,
                leading=is_leader,
                process=self._process_at(address),
                version=clean(info.version) if info is not None and is_leader else None,
                id=clean(info.id) if info is not None and is_leader else None,
            )
        self._keep(cluster, "mesos_master", set(cluster.masters))

    def _tell_state(self, cluster: Mesos, state: ClusterState, leader: str) -> None:
        local: set[str] = set()
        for agent in state.agents.registered:
            if agent.address.rpartition(":")[0] in self._here:
                local.add(agent.id)
            self._tell_agent(cluster, agent, leader)
        for framework in state.frameworks.registered:
            self._site.ledger["mesos_framework"].put(
                framework.id,
                cluster=cluster.cluster,
                name=clean(framework.name),
                roles=clean_all(list(framework.roles)),
                active=framework.active,
                connected=framework.connected,
            )
        live = [task for task in state.tasks.live if task.state not in _TASK_ENDED]
        for task in live:
            self._tell_task(cluster, task, is_here=task.agent_id in local)
        self._keep_state(
            cluster,
            {agent.id for agent in state.agents.registered},
            {framework.id for framework in state.frameworks.registered},
            {_task_id(task) for task in live},
        )

    def _keep_state(
        self, cluster: Mesos, agents: set[str], frameworks: set[str], tasks: set[str]
    ) -> None:
        self._keep(cluster, "mesos_agent", agents)
        self._keep(cluster, "mesos_framework", frameworks)
        self._keep(cluster, "mesos_task", tasks)

    def _tell_agent(self, cluster: Mesos, agent: Agent, leader: str) -> None:
        self._site.ledger["mesos_agent"].put(
            agent.id,
            cluster=cluster.cluster,
            master=leader,
            process=self._process_at(agent.address),
            hostname=clean(agent.hostname),
            address=agent.address,
            version=clean(agent.version),
            active=agent.active and not agent.deactivated,
            drain=None if agent.drain is None else agent.drain.state.value,
            attributes=clean_all([f"{k}={v}" for k, v in agent.attributes.items()]),
            resources=[f"{k}={v:g}" for k, v in sorted(agent.resources.items())],
            allocated=[f"{k}={v:g}" for k, v in sorted(agent.allocated.items())],
        )

    def _tell_task(self, cluster: Mesos, task: Task, *, is_here: bool) -> None:
        self._site.ledger["mesos_task"].put(
            _task_id(task),
            cluster=cluster.cluster,
            name=clean(task.name),
            task_id=clean(task.id),
            framework=task.framework_id,
            agent=task.agent_id,
            app=self._app_of.get(task.id),
            # A pid of another machine says nothing of one here.
            process=self._site.process_id(task.executor_pid) if is_here else None,
            state=task.state,
            resources=[f"{k}={v:g}" for k, v in sorted(task.resources.items())],
        )

    # What runs here

    def _learn_places(self) -> None:
        """Who listens where, of this host's own network."""
        self._listening = {}
        for _, endpoint in self._site.ledger["endpoint"]:
            process, port = endpoint.get("process"), endpoint.get("port")
            if isinstance(process, str) and isinstance(port, int) and "namespace" not in endpoint:
                self._listening[str(endpoint["address"]), port] = process
        told = self._site.ledger["host"].get(self._site.host, "addresses")
        addresses = told if isinstance(told, list) else []
        self._here = {one.partition(" ")[2].partition("/")[0] for one in addresses}
        self._here |= {"127.0.0.1", "::1", "localhost", self._site.host}

    def _process_at(self, address: str) -> str | None:
        """The process that listens at an address, if that is here."""
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        if host not in self._here or not port.isdigit():
            return None
        try:
            exact = str(ipaddress.ip_address(host))
        except ValueError:
            exact = "127.0.0.1"
        return self._listening.get((exact, int(port))) or self._listening.get(("*", int(port)))


def _task_id(task: Task) -> str:
    return f"{task.framework_id};{task.id}"
