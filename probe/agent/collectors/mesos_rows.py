"""What is told of clusters: rows of their masters, agents, frameworks, tasks, roles and Marathons.

A cluster is called as the settings name it. During a migration a leader of one colour knows agents
of the other, too: an agent is of the cluster that names its address, whoever leads it, and a task
is where its agent is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from clients.marathon.model import App as MarathonApp
from clients.marathon.model import Info as MarathonInfo
from clients.marathon.model import Task as MarathonTask
from clients.mesos.model import Agent, Framework, MasterInfo, Quota, Role, Task
from clients.mesos.model import State as ClusterState
from probe.agent import sync_engine
from probe.agent.claims import Claims
from probe.agent.local_places import LocalPlaces, split
from probe.agent.named_pods import NamedPods
from probe.agent.redaction import Redactor, shown_pairs
from probe.agent.settings import Mesos, SyncEngine
from probe.agent.site import Site
from probe.agent.text import LIST_ITEMS_MAX, NAME_CHARS_MAX, clean, clean_all
from probe.report.schema import Value

TASK_ENDED = frozenset(
    ("TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_GONE", "TASK_DROPPED")
)
_ANY_NODE = "*"
_SERVING = frozenset(("leader", "follower", "observer", "standalone"))
_LEADING = frozenset(("leader", "standalone"))
STATE = ("mesos_agent", "mesos_framework", "mesos_task")
"""Topologies that a leader's state fills."""
ALL = (
    *(*STATE, "mesos_master", "mesos_role", "marathon", "marathon_app"),
    *("zookeeper_server", "zookeeper_ensemble", "sync_engine"),
)


@dataclass
class Masters:
    """What masters of a cluster said: who answers, who leads, and what the leader knows."""

    answering: frozenset[str] = frozenset()
    leader: str | None = None
    info: MasterInfo | None = None
    state: ClusterState | None = None
    roles: tuple[Role, ...] | None = None
    quotas: tuple[Quota, ...] = ()
    is_foreign: bool = False
    """Whether they follow another cluster's leader, which tells of their agents."""


@dataclass(frozen=True)
class Marathon:
    """What the instances of a Marathon said."""

    leader: str
    info: MarathonInfo
    apps: tuple[MarathonApp, ...]
    tasks: tuple[MarathonTask, ...]


class Rows:
    """Writes rows. Marathons are told before masters, whose tasks name their apps."""

    def __init__(self, site: Site, clusters: Sequence[Mesos], claims: Claims) -> None:
        self.places = LocalPlaces(site)
        self.pods = NamedPods(site)
        self._site = site
        self._claims = claims
        self._cluster_of = {address: one.cluster for one in clusters for address in one.agents}
        # Clusters may share an ensemble; its servers are of the first that names them.
        self._server_of: dict[str, str] = {}
        for one in clusters:
            for address in one.zookeeper:
                self._server_of.setdefault(address, one.cluster)
        self._app_of: dict[str, str] = {}

    # ZooKeeper, and what keeps ensembles equal

    def tell_ensemble(self, cluster: Mesos, servers: Mapping[str, Mapping[str, Value]]) -> None:
        """Servers of a cluster's ensemble by what they said, and the ensemble that they are."""
        name, members = cluster.cluster, cluster.zookeeper
        states = {address: servers[address].get("state") for address in members}
        for address in members:
            unknown: dict[str, Value] = {"state": None, "problem": None}
            self._site.ledger["zookeeper_server"].put(
                address,
                cluster=self._server_of[address],
                process=self.places.process_at(address),
                pod=self.pods.at(address),
                **{**unknown, **servers[address]},
            )
        own = {address for address in members if self._server_of[address] == name}
        self._claims.claim(name, "zookeeper_server", own)
        serving = sum(state in _SERVING for state in states.values())
        if members:
            self._site.ledger["zookeeper_ensemble"].put(
                name,
                cluster=name,
                leader=next((a for a, state in states.items() if state in _LEADING), None),
                servers=len(members),
                serving=serving,
                quorum=serving > len(members) // 2,
            )
        self._claims.claim(name, "zookeeper_ensemble", {name} if members else set())

    def tell_engine(self, settings: SyncEngine, address: str, seen: Mapping[str, Value]) -> None:
        """A sync engine by what it said."""
        values: dict[str, Value] = dict.fromkeys(("problem", *sync_engine.COLUMNS))
        self._site.ledger["sync_engine"].put(
            address,
            ensemble_a=settings.a,
            ensemble_b=settings.b,
            process=self.places.process_at(address),
            pod=self.pods.at(address),
            **{**values, **seen},
        )
        self._claims.claim(address, "sync_engine", {address})

    # Marathon

    def tell_marathon(self, addresses: Sequence[str], cluster: str, seen: Marathon | None) -> None:
        """Instances; of those that told it, apps too. Without an answer apps stay as they were."""
        ledger, owner = self._site.ledger, addresses[0]
        framework = clean(seen.info.framework_id or "") or None if seen is not None else None
        subscribed = ledger["mesos_framework"].get(framework or "", "cluster")
        cluster = subscribed if isinstance(subscribed, str) else cluster
        for address in addresses:
            ledger["marathon"].put(
                address,
                cluster=cluster,
                leading=seen is not None and address == seen.leader,
                framework=framework,
                process=self.places.process_at(address),
                pod=self.pods.at(address),
                version=clean(seen.info.version) if seen is not None else None,
            )
        self._claims.claim(owner, "marathon", set(addresses))
        if seen is None:
            return
        ids = {app.id: f"{owner};{clean(app.id)}" for app in seen.apps}
        for app in seen.apps:
            ledger["marathon_app"].put(
                ids[app.id],
                cluster=cluster,
                name=clean(app.id),
                framework=framework,
                marathon=clean(seen.leader),
                instances=app.instances,
                running=app.running,
                healthy=app.healthy,
                staged=app.staged,
                version=clean(app.version),
            )
        self._forget_tasks(owner)
        self._app_of |= {task.id: f"{owner};{clean(task.app_id)}" for task in seen.tasks}
        self._claims.claim(owner, "marathon_app", set(ids.values()))

    def forget_apps(self, owner: str) -> None:
        """Claim nothing of what a Marathon knows, by the first of its addresses."""
        self._forget_tasks(owner)
        self._claims.claim(owner, "marathon_app", set())

    def _forget_tasks(self, owner: str) -> None:
        for task in [t for t, app in self._app_of.items() if app.startswith(f"{owner};")]:
            del self._app_of[task]

    # Mesos

    def tell_masters(self, cluster: Mesos, seen: Masters) -> None:
        """Masters of a cluster, and what their leader knows."""
        table = self._site.ledger["mesos_master"]
        for address in cluster.masters:
            leads = address == seen.leader
            table.put(
                address,
                cluster=cluster.cluster,
                leading=leads,
                answers=leads or address in seen.answering,
                process=self.places.process_at(address),
                pod=self.pods.at(address),
                version=clean(seen.info.version) if seen.info is not None and leads else None,
                id=clean(seen.info.id) if seen.info is not None and leads else None,
            )
        self._claims.claim(cluster.cluster, "mesos_master", set(cluster.masters))
        if seen.is_foreign:
            self.forget_state(cluster)
        elif seen.state is not None and seen.leader is not None:
            self._tell_state(cluster, seen.state, seen.leader)
        if seen.roles is not None:
            self._tell_roles(cluster, seen.roles, seen.quotas)

    def forget_state(self, cluster: Mesos) -> None:
        """Claim nothing of what a cluster's leader knows."""
        for topology in (*STATE, "mesos_role"):
            self._claims.claim(cluster.cluster, topology, set())

    def _tell_roles(self, cluster: Mesos, roles: Sequence[Role], quotas: Sequence[Quota]) -> None:
        """Roles of a cluster, those that have a quota and nobody in them too."""
        by_role = {quota.role: quota for quota in quotas}
        named = {role.name: role for role in roles}
        ids: set[str] = set()
        for name in named.keys() | by_role.keys():
            role, quota = named.get(name), by_role.get(name)
            ids.add(id_ := f"{cluster.cluster};{clean(name)}")
            self._site.ledger["mesos_role"].put(
                id_,
                cluster=cluster.cluster,
                name=clean(name),
                weight=role.weight if role is not None else None,
                frameworks=clean_all(list(role.framework_ids)) if role is not None else [],
                allocated=_quantities(role.resources) if role is not None else [],
                quota_limits=_quantities(quota.limits) if quota is not None else None,
                quota_guarantees=_quantities(quota.guarantees) if quota is not None else None,
            )
        self._claims.claim(cluster.cluster, "mesos_role", ids)

    def _tell_state(self, cluster: Mesos, state: ClusterState, leader: str) -> None:
        agents = {agent.id: agent for agent in state.agents.registered}
        for agent in agents.values():
            self._tell_agent(self._cluster(cluster, agent), agent, leader)
        for framework in state.frameworks.registered:
            self._tell_framework(cluster, framework, leader)
        live = [task for task in state.tasks.live if task.state not in TASK_ENDED]
        for task in live:
            self._tell_task(cluster, task, agents.get(task.agent_id))
        told = (
            {clean(id_) for id_ in agents},
            {clean(framework.id) for framework in state.frameworks.registered},
            {task_id(task) for task in live},
        )
        for topology, ids in zip(STATE, told, strict=True):
            self._claims.claim(cluster.cluster, topology, ids)

    def _cluster(self, cluster: Mesos, agent: Agent | None) -> str:
        if agent is None:
            return cluster.cluster
        anywhere = f"{_ANY_NODE}:{split(agent.address)[1]}"
        named = self._cluster_of.get(agent.address) or self._cluster_of.get(anywhere)
        return named or cluster.cluster

    def _tell_agent(self, cluster: str, agent: Agent, leader: str) -> None:
        self._site.ledger["mesos_agent"].put(
            clean(agent.id),
            cluster=cluster,
            master=clean(leader),
            process=self.places.process_at(agent.address),
            hostname=clean(agent.hostname),
            address=clean(agent.address),
            version=clean(agent.version),
            active=agent.active and not agent.deactivated,
            drain=None if agent.drain is None else agent.drain.state.value,
            attributes=shown_pairs(
                agent.attributes, redacts=self._site.redact, chars_max=NAME_CHARS_MAX
            ),
            resources=_quantities(agent.resources),
            allocated=_quantities(agent.allocated),
        )

    def _tell_framework(self, cluster: Mesos, framework: Framework, leader: str) -> None:
        self._site.ledger["mesos_framework"].put(
            clean(framework.id),
            cluster=cluster.cluster,
            master=clean(leader),
            name=clean(framework.name),
            roles=clean_all(list(framework.roles)),
            process=self._scheduler(framework, leader),
            web_url=self._shown(framework.webui_url) or None,
            active=framework.active,
            connected=framework.connected,
        )

    def _scheduler(self, framework: Framework, leader: str) -> str | None:
        """The process at a framework's web address: not one that stands in front of it, for it
        must be a client of the leader, too."""
        try:
            parts = urlsplit(framework.webui_url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:  # Somebody else's text.
            return None
        process = self.places.process_at(f"{parts.hostname}:{port}")
        if process is None or not self.places.talks_to(process, leader):
            return None
        return process

    def _shown(self, text: str) -> str:
        """A text of somebody else's, without the secrets in it."""
        return Redactor().text(text, NAME_CHARS_MAX) if self._site.redact else clean(text)

    def _tell_task(self, cluster: Mesos, task: Task, agent: Agent | None) -> None:
        is_here = agent is not None and self.places.is_here(agent.address)
        self._site.ledger["mesos_task"].put(
            task_id(task),
            cluster=self._cluster(cluster, agent),
            name=clean(task.name),
            task_id=clean(task.id),
            framework=clean(task.framework_id),
            agent=clean(task.agent_id),
            app=self._app_of.get(task.id),
            container=clean(task.container_id) if task.container_id else None,
            # A pid of another machine says nothing of one here.
            process=self._site.process_id(task.executor_pid) if is_here else None,
            role=clean(task.role) or None,
            state=clean(task.state),
            resources=_quantities(task.resources),
        )


def task_id(task: Task) -> str:
    """The id of a task's node."""
    return f"{clean(task.framework_id)};{clean(task.id)}"


def _quantities(scalars: Mapping[str, float]) -> list[str]:
    return [f"{clean(name)}={value:g}" for name, value in sorted(scalars.items())][:LIST_ITEMS_MAX]
