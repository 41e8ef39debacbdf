"""What the clusters tell, read for guards, acts and proofs. Reading changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from clients.mesos.errors import MesosError
from clients.mesos.model import Agent, Frameworks, Machine, MaintenanceSchedule, Quota
from clients.mesos.operator import OperatorClient
from components.mesos.masters import ELECTION_PATH
from stacks.migration import marathon
from stacks.migration.errors import AgentsMissingError
from stacks.migration.world import World
from stacks.topology import Color
from sync_engine import client as zookeeper

_LABEL = "json.info_"
RECOVERED = "registrar/log/recovered"
ENSEMBLE_SIZE = "registrar/log/ensemble_size"


@dataclass(frozen=True)
class Candidate:
    """A node of an election path: its number and whom it names, as the stack declares it."""

    number: int
    address: str


@dataclass(frozen=True)
class Registry:
    """What of a master's registry a migration replays."""

    quota: tuple[Quota, ...]
    weights: Mapping[str, float]
    schedule: MaintenanceSchedule
    down: frozenset[Machine] = frozenset()

    @property
    def comparable(self) -> tuple[object, ...]:
        """Equal for registries that mean the same: 1 is every role's weight unless set."""
        weights = {role: weight for role, weight in self.weights.items() if weight != 1.0}
        return (
            tuple((q.role, dict(q.limits), dict(q.guarantees)) for q in self.quota),
            weights,
            self.schedule,
            self.down,
        )

    def as_dict(self) -> dict[str, Any]:
        """For the backup."""
        return {
            "quota": [asdict(one) for one in self.quota],
            "weights": dict(self.weights),
            "maintenance_schedule": asdict(self.schedule),
            "machines_down": sorted(f"{one.hostname} {one.ip}".strip() for one in self.down),
        }


@dataclass(frozen=True)
class InventoriedAgent:
    """An agent that must be found again."""

    id: str
    address: str
    deactivated: bool


@dataclass(frozen=True)
class InventoriedTask:
    """A task that must be found again, with its process where it is known."""

    id: str
    agent_id: str
    framework_id: str
    state: str
    pid: int | None


@dataclass(frozen=True)
class InventoriedFramework:
    """A framework that must be found again; one that was not `subscribed` was gone already."""

    id: str
    name: str
    subscribed: bool


@dataclass(frozen=True)
class Inventory:
    """All agents, tasks and frameworks of a cluster, and apps' sizes by id."""

    agents: tuple[InventoriedAgent, ...] = ()
    tasks: tuple[InventoriedTask, ...] = ()
    frameworks: tuple[InventoriedFramework, ...] = ()
    apps: Mapping[str, int] = field(default_factory=dict[str, int])

    def as_dict(self) -> dict[str, Any]:
        """For the journal."""
        return {
            "agents": [asdict(one) for one in self.agents],
            "tasks": [asdict(one) for one in self.tasks],
            "frameworks": [asdict(one) for one in self.frameworks],
            "apps": dict(self.apps),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Inventory:
        """Read what `as_dict` wrote."""
        return cls(
            tuple(InventoriedAgent(**one) for one in values["agents"]),
            tuple(InventoriedTask(**one) for one in values["tasks"]),
            _frameworks_from(values["frameworks"]),
            dict(values.get("apps") or {}),
        )

    def after(self, earlier: Inventory) -> Inventory:
        """This, taken while some stand still who were subscribed to the same masters before."""
        before = {one.id for one in earlier.frameworks if one.subscribed}
        frameworks = (
            replace(one, subscribed=one.subscribed or one.id in before) for one in self.frameworks
        )
        return replace(self, frameworks=tuple(frameworks))

    @property
    def framework_ids(self) -> dict[str, str]:
        """Frameworks' ids by name; of two that have one name, that of who was subscribed."""
        ordered = sorted(self.frameworks, key=lambda one: one.subscribed)
        return {one.name: one.id for one in ordered}

    def unsubscribed_in(self, found: Frameworks) -> list[str]:
        """Frameworks of this that masters do not have subscribed, for people.

        Whoever came to an end meanwhile is missed by nobody.
        """
        there = {one.id for one in found.registered if one.connected and one.active}
        there |= {one.id for one in found.completed}
        return [
            f"{one.name} ({one.id})"
            for one in self.frameworks
            if one.subscribed and one.id not in there
        ]

    def missing_in(self, other: Inventory) -> list[str]:
        """What of this is not, or not the same, in another one; for people. Empty: all is there."""
        found_agents = {agent.id for agent in other.agents}
        found_tasks = {task.id: task for task in other.tasks}
        known = {task.id for task in self.tasks}
        problems = [f"agent {a.id} is missing" for a in self.agents if a.id not in found_agents]
        for task in self.tasks:
            seen = found_tasks.get(task.id)
            if seen is None:
                problems.append(f"task {task.id} is missing")
            elif (seen.state, seen.agent_id) != (task.state, task.agent_id):
                problems.append(f"task {task.id} is {seen.state} on {seen.agent_id}")
            elif None not in (seen.pid, task.pid) and seen.pid != task.pid:
                problems.append(f"task {task.id} has process {seen.pid}, not {task.pid}")
        problems += [f"task {task_id} is new" for task_id in found_tasks if task_id not in known]
        return problems


def _frameworks_from(
    values: Mapping[str, str] | Sequence[dict[str, Any]],
) -> tuple[InventoriedFramework, ...]:
    if isinstance(values, Mapping):
        # A journal from before it was said who was subscribed: ids by name.
        found = values.items()
        return tuple(InventoriedFramework(id_, name, subscribed=False) for name, id_ in found)
    return tuple(InventoriedFramework(**one) for one in values)


async def candidates(world: World, color: Color) -> tuple[Candidate, ...]:
    """Nodes of a colour's election path, lowest number (the leader) first."""
    address = world.ensemble(color)
    declared = world.masters(color)
    found: list[Candidate] = []
    for name in await zookeeper.children(address, ELECTION_PATH):
        if not name.startswith(_LABEL):
            continue
        content = await zookeeper.read(address, f"{ELECTION_PATH}/{name}")
        if content is None:
            continue  # Gone since it was listed.
        number = int(name.removeprefix(_LABEL))
        found.append(Candidate(number, _address_in(content, declared)))
    return tuple(sorted(found, key=lambda one: one.number))


def _address_in(content: bytes, declared: Sequence[str]) -> str:
    """Whom a node names. It has a name and an address; a stack declares either, as its target does:
    pods are called by names, which outlive them, and processes of one machine by its address."""
    try:
        info: dict[str, Any] = json.loads(content)
        address: dict[str, Any] = info["address"]
        hosts = [address[key] for key in ("ip", "hostname") if address.get(key)]
        named = [f"{host}:{address['port']}" for host in hosts]
        return next((one for one in named if one in declared), named[0])
    except (ValueError, KeyError, IndexError, AttributeError):
        return "?"


async def registry(operator: OperatorClient) -> Registry:
    """Read the part of a registry that is replayed."""
    quota, weights, schedule, status = await asyncio.gather(
        operator.quota(),
        operator.weights(),
        operator.maintenance_schedule(),
        operator.maintenance_status(),
    )
    return Registry(quota, weights, schedule, frozenset(status.down))


async def inventory(world: World, color: Color) -> Inventory:
    """Agents and live tasks as a colour's leader knows them.

    An agent that the stack has removed stays registered until its pings time out (75 s by
    default); without tasks it is nothing that anybody could find again.
    """
    state = await (await world.operator(color)).state()
    registered = state.agents.registered
    own_ids = {a.id for c in (world.source, world.target) for a in world.agents(c).own(registered)}
    busy = {task.agent_id for task in state.tasks.live}
    return Inventory(
        agents=tuple(
            InventoriedAgent(agent.id, agent.address, agent.deactivated)
            for agent in sorted(registered, key=lambda one: one.id)
            if agent.id in own_ids or agent.id in busy
        ),
        tasks=tuple(
            InventoriedTask(
                task.id, task.agent_id, task.framework_id, task.state, task.executor_pid
            )
            for task in sorted(state.tasks.live, key=lambda one: one.id)
        ),
        frameworks=tuple(
            InventoriedFramework(one.id, one.name, subscribed=one.connected and one.active)
            for one in sorted(state.frameworks.registered, key=lambda one: one.id)
        ),
    )


async def master_metrics(world: World, color: Color) -> dict[str, dict[str, float]]:
    """What each master of a colour counts; empty for one that does not answer."""
    operator = await world.operator(color)

    async def one(master: str) -> tuple[str, dict[str, float]]:
        try:
            return master, await operator.metrics(master)
        except MesosError:
            return master, {}

    return dict(await asyncio.gather(*(one(master) for master in operator.masters)))


def unready(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Masters that have not recovered their log, or whose group has another size; for people."""
    size = len(metrics)
    return [
        f"{master}: {RECOVERED}={values.get(RECOVERED)}, "
        f"{ENSEMBLE_SIZE}={values.get(ENSEMBLE_SIZE)}"
        for master, values in metrics.items()
        if values.get(RECOVERED) != 1 or values.get(ENSEMBLE_SIZE, size) != size
    ]


async def framework_states(world: World) -> dict[str, dict[str, Any]]:
    """What each framework says of itself."""
    found = {name: await world.get(f"{url}/state") for name, url in world.frameworks().items()}
    return {**found, **await marathon.states(world)}


def own(world: World, color: Color, known: Sequence[Agent]) -> tuple[Agent, ...]:
    """A colour's own agents among those that masters know.

    Raises:
        AgentsMissingError: there is none, so that nothing that is asked of them would be an answer.
    """
    wanted = world.agents(color)
    found = wanted.own(known)
    if not found:
        raise AgentsMissingError(color, wanted.describe(), [one.address for one in known])
    return found


async def own_agents(world: World, color: Color, *, everywhere: bool = False) -> tuple[Agent, ...]:
    """A colour's own agents, all that are declared; with `everywhere`, also on every node where the
    other colour has one.

    Raises:
        AgentsMissingError: not all of them have registered.
    """
    known = await (await world.operator(await world.leading())).agents()
    found = own(world, color, known.registered)
    other = world.target if color is world.source else world.source
    beside = world.agents(other).own(known.registered) if everywhere else ()
    wanted = world.agents(color)
    if lacking := wanted.lacking(known, beside):
        seen = [one.address for one in known.registered]
        raise AgentsMissingError(color, wanted.describe(), seen, lacking)
    return found
