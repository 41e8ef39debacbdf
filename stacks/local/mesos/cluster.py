"""What a leading master holds in memory: agents, frameworks, tasks, offers.

Only values and the bookkeeping that keeps them consistent; no input or output. All of it is rebuilt
by agents and frameworks that register again after a change of leader, except what the registry
holds. Effects (events to frameworks, subscribers and agents) go out through the streams stored
here.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from stacks.local.mesos import ports, values
from stacks.local.mesos.counters import Counters
from stacks.local.mesos.streams import Stream
from stacks.local.mesos.subscribers import Subscribers
from stacks.local.mesos.values import Json, Scalars

_COMPLETED_TASKS_MAX = 1000
_COMPLETED_FRAMEWORKS_MAX = 50


@dataclass
class Task:
    """One task; `statuses` are those of the executor, one a state, as masters keep them.

    `charged` tells whether its resources count as used: from its launch to its end.
    """

    info: Json
    framework_id: str
    agent_id: str
    role: str
    state: str = "TASK_STAGING"
    statuses: list[Json] = field(default_factory=list[Json])
    status_update_state: str | None = None
    status_update_uuid: str | None = None
    charged: bool = False

    def __post_init__(self) -> None:
        self.id = str(self.info["task_id"]["value"])
        self.resources: Scalars = values.scalars(self.info.get("resources", ()))
        self.ports: ports.Ranges = ports.of(self.info.get("resources", ()))

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self.state in values.TERMINAL_STATES

    def note(self, status: Json, latest_state: str) -> None:
        """Take a status; a state that is reported again replaces its earlier status."""
        if self.statuses and self.statuses[-1]["state"] == status["state"]:
            self.statuses[-1] = status
        else:
            self.statuses.append(status)
        if not self.is_terminal:
            self.state = latest_state
        self.status_update_state = str(status["state"])
        self.status_update_uuid = status.get("uuid")


@dataclass
class Offer:
    """Resources of one agent, offered to one framework."""

    id: str
    framework_id: str
    agent_id: str
    role: str
    resources: Scalars
    ports: ports.Ranges = ()


@dataclass
class Agent:
    """An agent that has registered with this leader. Without a stream it is disconnected."""

    id: str
    info: Json
    pid: str
    version: str
    registered_at: float
    reregistered_at: float | None = None
    stream: Stream | None = None
    tasks: dict[tuple[str, str], Task] = field(default_factory=dict[tuple[str, str], Task])
    executors: list[Json] = field(default_factory=list[Json])
    offers: dict[str, Offer] = field(default_factory=dict[str, Offer])
    deactivated: bool = False
    drain_info: Json | None = None
    drain_started_at: float | None = None
    last_pong: float = 0.0
    # Kept up to date by the cluster: what tasks that have not ended take.
    used: Scalars = field(default_factory=Scalars)

    def __post_init__(self) -> None:
        self.total: Scalars = values.scalars(self.info.get("resources", ()))
        self._available: Scalars | None = None

    @property
    def connected(self) -> bool:
        """Whether it can be reached."""
        return self.stream is not None

    @property
    def active(self) -> bool:
        """Whether its resources may be offered."""
        return self.connected and not self.deactivated

    @property
    def offered(self) -> Scalars:
        """What stands in offers."""
        return values.total(offer.resources for offer in self.offers.values())

    @property
    def available(self) -> Scalars:
        """What may be offered now; kept until it changes, for every round asks every agent."""
        if self._available is None:
            held = values.add(self.used, self.offered)
            self._available = values.subtract(self.total, held)
        return self._available

    def note_change(self) -> None:
        """What it has, uses or offers is another."""
        self._available = None

    @property
    def used_ports(self) -> ports.Ranges:
        """Ports of tasks that have not ended."""
        live = (task.ports for task in self.tasks.values() if not task.is_terminal)
        return ports.merge(piece for held in live for piece in held)

    @property
    def free_ports(self) -> ports.Ranges:
        """Ports that may be offered now."""
        offered = [piece for offer in self.offers.values() for piece in offer.ports]
        held = ports.merge([*self.used_ports, *offered])
        return ports.subtract(ports.of(self.info.get("resources", ())), held)

    def tell(self, message: Json) -> None:
        """Send the agent a message, if it can be reached."""
        if self.stream is not None:
            self.stream.send(message)


@dataclass
class Framework:
    """A framework; `recovered` means that only agents have told of it so far."""

    id: str
    info: Json
    registered_at: float
    reregistered_at: float | None = None
    unregistered_at: float = 0.0
    stream: Stream | None = None
    stream_id: str | None = None
    recovered: bool = False
    suppressed: set[str] = field(default_factory=set[str])
    tasks: dict[str, Task] = field(default_factory=dict[str, Task])
    unreachable: dict[str, Task] = field(default_factory=dict[str, Task])
    completed: deque[Task] = field(default_factory=lambda: deque[Task](maxlen=_COMPLETED_TASKS_MAX))
    offers: dict[str, Offer] = field(default_factory=dict[str, Offer])
    calls: dict[str, int] = field(default_factory=dict[str, int])
    # Kept up to date by the cluster: what its tasks take, and what it holds in offers, by role.
    used_by_role: dict[str, Scalars] = field(default_factory=dict[str, Scalars])
    offered_by_role: dict[str, Scalars] = field(default_factory=dict[str, Scalars])

    @property
    def connected(self) -> bool:
        """Whether its stream is open."""
        return self.stream is not None

    @property
    def roles(self) -> list[str]:
        """Roles it is subscribed to."""
        return list(self.info.get("roles") or [self.info.get("role") or "*"])

    @property
    def partition_aware(self) -> bool:
        """Whether it knows the states that replaced TASK_LOST."""
        return any(
            capability.get("type") == "PARTITION_AWARE"
            for capability in self.info.get("capabilities", ())
        )

    @property
    def used(self) -> Scalars:
        """What its tasks take."""
        return values.total(self.used_by_role.values())

    @property
    def offered(self) -> Scalars:
        """What it holds in offers."""
        return values.total(self.offered_by_role.values())

    def held(self, role: str) -> Scalars:
        """What it has of a role, in tasks and offers."""
        none: Scalars = {}
        used = self.used_by_role.get(role, none)
        return values.add(used, self.offered_by_role.get(role, none))

    def send_status(self, sent: Json) -> None:
        """Send the scheduler a status."""
        self.tell({"type": "UPDATE", "update": {"status": sent}})

    def tell(self, event: Json) -> None:
        """Send the scheduler an event, if it is connected."""
        if self.stream is not None:
            self.stream.send(event)


class Cluster:
    """All of it."""

    def __init__(self, master_id: str) -> None:
        self.master_id = master_id
        self.agents: dict[str, Agent] = {}
        # Agents of the registry that have not registered again since this master leads.
        self.recovered: dict[str, Json] = {}
        self.unreachable: dict[str, float] = {}
        self.gone: dict[str, float] = {}
        self.frameworks: dict[str, Framework] = {}
        self.completed_frameworks: deque[Framework] = deque(maxlen=_COMPLETED_FRAMEWORKS_MAX)
        self.offers: dict[str, Offer] = {}
        self.subscribers = Subscribers()
        self.counters = Counters()
        # What all agents have together.
        self.capacity: Scalars = {}
        self._agent_number = 0
        self._framework_number = 0
        self._offer_number = 0

    def next_agent_id(self) -> str:
        """Ids name the master that gave them out."""
        self._agent_number += 1
        return f"{self.master_id}-S{self._agent_number - 1}"

    def next_framework_id(self) -> str:
        """See `next_agent_id`."""
        self._framework_number += 1
        return f"{self.master_id}-{self._framework_number - 1:04d}"

    def next_offer_id(self) -> str:
        """See `next_agent_id`."""
        self._offer_number += 1
        return f"{self.master_id}-O{self._offer_number - 1}"

    def publish_update(self, task: Task, sent: Json) -> None:
        """Tell the operator API's subscribers of a status."""
        body = {"framework_id": {"value": task.framework_id}, "status": sent, "state": task.state}
        event = {"type": "TASK_UPDATED", "task_updated": body}
        self.subscribers.tell_of_task(event, self.frameworks[task.framework_id].info)

    def tasks(self) -> Iterator[Task]:
        """Tasks of all frameworks that have not been acknowledged as ended."""
        for framework in self.frameworks.values():
            yield from framework.tasks.values()

    def add_agent(self, agent: Agent) -> None:
        """Enter an agent."""
        self.remove_agent(agent.id)
        self.agents[agent.id] = agent
        self.capacity = values.add(self.capacity, agent.total)

    def remove_agent(self, agent_id: str) -> None:
        """Take an agent out, once its tasks and offers are."""
        agent = self.agents.pop(agent_id, None)
        if agent is not None:
            self.capacity = values.subtract(self.capacity, agent.total)

    def change_agent(self, agent: Agent, info: Json) -> None:
        """An agent has come back with more resources."""
        had, agent.info = agent.total, info
        agent.total = values.scalars(info.get("resources", ()))
        agent.note_change()
        self.capacity = values.subtract(values.add(self.capacity, agent.total), had)

    def add_task(self, task: Task) -> None:
        """Enter a task with its agent and framework."""
        self.agents[task.agent_id].tasks[task.framework_id, task.id] = task
        self.frameworks[task.framework_id].tasks[task.id] = task
        self._charge(task)

    def note(self, task: Task, status: Json, latest_state: str) -> None:
        """Take a status of a task; with its end its resources are free."""
        task.note(status, latest_state)
        if task.is_terminal:
            self._discharge(task)

    def _charge(self, task: Task) -> None:
        if task.charged or task.is_terminal:
            return
        task.charged = True
        agent, framework = self.agents[task.agent_id], self.frameworks[task.framework_id]
        agent.used = values.add(agent.used, task.resources)
        agent.note_change()
        used = framework.used_by_role.get(task.role, {})
        framework.used_by_role[task.role] = values.add(used, task.resources)

    def _discharge(self, task: Task) -> None:
        if not task.charged:
            return
        task.charged = False
        agent, framework = self.agents.get(task.agent_id), self.frameworks.get(task.framework_id)
        if agent is not None:
            agent.used = values.subtract(agent.used, task.resources)
            agent.note_change()
        if framework is not None:
            used = framework.used_by_role.get(task.role, {})
            framework.used_by_role[task.role] = values.subtract(used, task.resources)

    def remove_task(self, task: Task, *, unreachable: bool = False) -> None:
        """Take a task out; the framework keeps a memory of it."""
        self._discharge(task)
        agent = self.agents.get(task.agent_id)
        if agent is not None:
            agent.tasks.pop((task.framework_id, task.id), None)
        framework = self.frameworks.get(task.framework_id)
        if framework is not None:
            framework.tasks.pop(task.id, None)
            if unreachable:
                framework.unreachable[task.id] = task
            else:
                framework.completed.append(task)

    def add_offer(self, offer: Offer) -> None:
        """Enter an offer with its agent and framework."""
        self.offers[offer.id] = offer
        self.agents[offer.agent_id].offers[offer.id] = offer
        self.agents[offer.agent_id].note_change()
        framework = self.frameworks[offer.framework_id]
        framework.offers[offer.id] = offer
        had = framework.offered_by_role.get(offer.role, {})
        framework.offered_by_role[offer.role] = values.add(had, offer.resources)

    def remove_offer(self, offer_id: str, *, rescind: bool = False) -> Offer | None:
        """Take an offer back; `rescind` tells the framework."""
        offer = self.offers.pop(offer_id, None)
        if offer is None:
            return None
        agent = self.agents.get(offer.agent_id)
        if agent is not None:
            agent.offers.pop(offer_id, None)
            agent.note_change()
        framework = self.frameworks.get(offer.framework_id)
        if framework is not None:
            framework.offers.pop(offer_id, None)
            had = framework.offered_by_role.get(offer.role, {})
            framework.offered_by_role[offer.role] = values.subtract(had, offer.resources)
            if rescind:
                framework.tell({"type": "RESCIND", "rescind": {"offer_id": {"value": offer_id}}})
        return offer

    def rescind_agent(self, agent: Agent) -> None:
        """Take back all offers of an agent."""
        for offer_id in list(agent.offers):
            self.remove_offer(offer_id, rescind=True)

    def consumed(self, role: str) -> Scalars:
        """What tasks of a role take."""
        return values.total(f.used_by_role.get(role, {}) for f in self.frameworks.values())

    def consumed_below(self, role: str) -> Scalars:
        """What tasks of a role and of all below it take, which is what its quota bounds."""
        return values.total(
            used
            for framework in self.frameworks.values()
            for name, used in framework.used_by_role.items()
            if f"{name}/".startswith(f"{role}/")
        )

    def held(self, role: str) -> Scalars:
        """What a role and all roles below it have, in tasks and offers."""
        return values.total(
            framework.held(name)
            for framework in self.frameworks.values()
            for name in {*framework.used_by_role, *framework.offered_by_role}
            if f"{name}/".startswith(f"{role}/")
        )

    def restricted(
        self, sees: Callable[[Framework], bool], seen: Callable[[Framework], Framework]
    ) -> Cluster:
        """A copy to read from, with those frameworks only, each as `seen` shows it."""
        view = copy.copy(self)
        view.frameworks = {n: seen(f) for n, f in self.frameworks.items() if sees(f)}
        shown = (seen(f) for f in self.completed_frameworks if sees(f))
        view.completed_frameworks = deque(shown, maxlen=self.completed_frameworks.maxlen)
        return view

    def count_tasks(self) -> dict[str, int]:
        """Live tasks by state, and ended ones by what they ended as."""
        counts = dict(self.counters.tasks)
        for task in self.tasks():
            if not task.is_terminal:
                counts[task.state] = counts.get(task.state, 0) + 1
        counts["TASK_UNREACHABLE"] = sum(len(f.unreachable) for f in self.frameworks.values())
        return counts
