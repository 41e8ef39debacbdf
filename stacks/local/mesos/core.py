"""The one place where a leading master changes what it holds and tells everybody concerned.

Agents and frameworks come and go, statuses arrive, agents drain: each event is a method here,
called by the APIs. Changes of the registry are stored by a quorum before anyone hears of them.
Order within one method matters where it awaits: what is checked before a store is checked again
after it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from stacks.local.errors import CallError
from stacks.local.mesos import registry, render, values
from stacks.local.mesos.candidates import Candidates
from stacks.local.mesos.cluster import Agent, Cluster, Framework, Task
from stacks.local.mesos.frameworks import Frameworks
from stacks.local.mesos.registry import Change
from stacks.local.mesos.statuses import status
from stacks.local.mesos.streams import Stream
from stacks.local.mesos.values import Json

Store = Callable[[Change], Awaitable[None]]
_log = structlog.get_logger()


class Core:
    """A leading master's state and its transitions."""

    def __init__(self, cluster: Cluster, document: Callable[[], Json], store: Store) -> None:
        self.cluster = cluster
        self._document = document
        self.store = store
        # Whose resources may have become available: offers need not wait for the next round.
        self.candidates = Candidates()
        self.frameworks = Frameworks(cluster, self.candidates)
        # One registration of an agent at a time; agents do not wait for each other.
        self._enrolling: dict[str, asyncio.Lock] = {}

    @property
    def document(self) -> Json:
        """The registry."""
        return self._document()

    def recover(self) -> None:
        """Take over what the registry says."""
        self.cluster.recovered = dict(registry.section(self.document, "agents"))
        self.cluster.unreachable = dict(registry.section(self.document, "unreachable"))
        self.cluster.gone = dict(registry.section(self.document, "gone"))

    # Agents

    async def enrol(self, message: Json, stream: Stream) -> Agent:
        """Register or re-register an agent, with the tasks it runs.

        An agent that nobody knows is admitted with its tasks: that is how a fresh master group
        adopts a running cluster.

        Raises:
            CallError: the agent was marked gone, is another one, or stands on a machine that is
                down.
        """
        lock = self._enrolling.setdefault(str(message["pid"]), asyncio.Lock())
        async with lock:
            return await self._enrol(message, stream)

    async def _enrol(self, message: Json, stream: Stream) -> Agent:
        cluster, info, pid = self.cluster, message["info"], str(message["pid"])
        agent_id: str | None = message.get("agent_id")
        if agent_id is None:
            # An agent that never heard the answer to its first registration asks again.
            same = [a for a in cluster.agents.values() if a.pid == pid and not a.tasks]
            agent_id = same[0].id if same else cluster.next_agent_id()
        if agent_id in cluster.gone:
            raise CallError(410, f"Agent {agent_id} has been marked gone")
        if self._is_down(info, pid):
            raise CallError(403, "Agent is on a machine that is DOWN for maintenance")
        info = {**info, "id": {"value": agent_id}}
        known = cluster.agents.get(agent_id)
        _check_identity(known, info, pid)
        was_recovered = agent_id in cluster.recovered
        if known is None and cluster.recovered.get(agent_id) != info:
            await self.store(registry.admit(agent_id, info))
        if known is not None:
            agent = self._relink(known, info, message, stream)
        else:
            agent = self._add_agent(agent_id, info, message, stream)
        self._restore_marks(agent)
        self._take_frameworks(message.get("frameworks", ()))
        self._take_tasks(agent, message, adopted=known is None and not was_recovered)
        stream.send({"type": "REGISTERED", "agent_id": agent_id, "master_id": cluster.master_id})
        if agent.drain_info is not None and agent.drain_info["state"] == "DRAINING":
            stream.send({"type": "DRAIN", "config": agent.drain_info["config"]})
            await self.check_drained(agent)
        if known is None:
            added = {"agent": render.agent(agent)}
            cluster.subscribers.tell({"type": "AGENT_ADDED", "agent_added": added})
        self.candidates.add(agent.id)
        return agent

    def _is_down(self, info: Json, pid: str) -> bool:
        address = pid.partition("@")[2].rpartition(":")[0]
        names = (str(info["hostname"]).lower(), address)
        return any(
            (str(machine.get("hostname", "")).lower(), str(machine.get("ip", ""))) == names
            for machine in self.document.get("machines_down") or ()
        )

    def _add_agent(self, agent_id: str, info: Json, message: Json, stream: Stream) -> Agent:
        cluster, now = self.cluster, values.now()
        returning = message.get("agent_id") is not None
        agent = Agent(
            id=agent_id,
            info=info,
            pid=str(message["pid"]),
            version=str(message.get("version", values.VERSION)),
            registered_at=now,
            reregistered_at=now if returning else None,
            stream=stream,
            last_pong=time.monotonic(),
        )
        cluster.recovered.pop(agent_id, None)
        cluster.unreachable.pop(agent_id, None)
        cluster.add_agent(agent)
        if returning:
            cluster.counters.reregistrations += 1
        else:
            cluster.counters.registrations += 1
        _log.info("agent.registered", agent=agent_id, returning=returning, pid=agent.pid)
        return agent

    def _relink(self, agent: Agent, info: Json, message: Json, stream: Stream) -> Agent:
        if agent.stream is not None:
            agent.stream.close()
        self.cluster.change_agent(agent, info)
        agent.pid, agent.stream = str(message["pid"]), stream
        agent.reregistered_at = values.now()
        agent.last_pong = time.monotonic()
        self.cluster.counters.reregistrations += 1
        return agent

    def _restore_marks(self, agent: Agent) -> None:
        marks = registry.section(self.document, "marks").get(agent.id)
        if marks is not None:
            agent.deactivated = bool(marks.get("deactivated"))
            agent.drain_info = marks.get("drain_info")
            agent.drain_started_at = marks.get("drain_started_at")

    def _take_frameworks(self, infos: Any) -> None:
        for info in infos:
            framework_id = str(info["id"]["value"])
            if framework_id not in self.cluster.frameworks:
                self.cluster.frameworks[framework_id] = Framework(
                    framework_id, info, registered_at=values.now(), recovered=True
                )

    def _take_tasks(self, agent: Agent, message: Json, *, adopted: bool) -> None:
        cluster = self.cluster
        reported: set[tuple[str, str]] = set()
        for item in message.get("tasks", ()):
            task = Task(
                info=item["info"],
                framework_id=str(item["framework_id"]),
                agent_id=agent.id,
                role=str(item["role"]),
                state=str(item["state"]),
                statuses=list(item["statuses"]),
                status_update_state=item.get("status_update_state"),
                status_update_uuid=item.get("status_update_uuid"),
            )
            framework = cluster.frameworks.get(task.framework_id)
            if framework is None:
                # Completed while the agent was away: its tasks have to go.
                agent.tell({"type": "SHUTDOWN_FRAMEWORK", "framework_id": task.framework_id})
                continue
            reported.add((task.framework_id, task.id))
            back = framework.unreachable.pop(task.id, None) is not None
            if (task.framework_id, task.id) not in agent.tasks:
                cluster.add_task(task)
                if adopted or back:
                    moved = status(
                        task,
                        task.state,
                        message="Unknown agent reregistered",
                        reason="REASON_AGENT_REREGISTERED",
                    )
                    framework.send_status(moved)
        for key, task in list(agent.tasks.items()):
            if key not in reported and not task.is_terminal:
                # The order to run it never arrived.
                self._lose(task, "TASK_DROPPED", "REASON_RECONCILIATION", "Task not known to agent")

    def unlink(self, agent: Agent, stream: Stream) -> None:
        """Its connection ended; it stays registered until pings have gone unanswered."""
        if agent.stream is stream:
            agent.stream = None
            self.cluster.rescind_agent(agent)
            _log.info("agent.disconnected", agent=agent.id)

    async def mark_unreachable(self, agent_id: str) -> None:
        """Give up on an agent that does not answer; it may come back with its tasks."""
        cluster, at = self.cluster, values.now()
        await self.store(registry.mark_unreachable(agent_id, at))
        cluster.counters.unreachable += 1
        cluster.unreachable[agent_id] = at
        cluster.recovered.pop(agent_id, None)
        agent = cluster.agents.get(agent_id)
        if agent is not None:
            self._drop_agent(agent, "TASK_UNREACHABLE", "Agent is unreachable")
        _log.warning("agent.unreachable", agent=agent_id)

    async def mark_gone(self, agent_id: str) -> None:
        """Give up on an agent for ever."""
        cluster, at = self.cluster, values.now()
        await self.store(registry.mark_gone(agent_id, at))
        cluster.gone[agent_id] = at
        cluster.recovered.pop(agent_id, None)
        cluster.unreachable.pop(agent_id, None)
        agent = cluster.agents.get(agent_id)
        if agent is not None:
            agent.tell({"type": "SHUTDOWN", "message": "Agent has been marked gone"})
            self._drop_agent(agent, "TASK_GONE_BY_OPERATOR", "Agent has been marked gone")

    async def shut_down_agent(self, agent: Agent, message: str) -> None:
        """Remove an agent whose machine goes down for maintenance."""
        await self.store(registry.remove(agent.id))
        agent.tell({"type": "SHUTDOWN", "message": message})
        self._drop_agent(agent, "TASK_LOST", message)

    def _drop_agent(self, agent: Agent, state: str, message: str) -> None:
        cluster = self.cluster
        cluster.rescind_agent(agent)
        for task in list(agent.tasks.values()):
            if task.is_terminal:
                cluster.remove_task(task)
            else:
                self._lose(task, state, "REASON_AGENT_REMOVED", message)
        cluster.remove_agent(agent.id)
        cluster.counters.removals += 1
        if agent.stream is not None:
            agent.stream.close()
            agent.stream = None
        cluster.subscribers.tell(
            {"type": "AGENT_REMOVED", "agent_removed": {"agent_id": {"value": agent.id}}}
        )

    def _lose(self, task: Task, state: str, reason: str, message: str) -> None:
        """End a task from the master's side; frameworks of the old kind hear TASK_LOST."""
        framework = self.cluster.frameworks[task.framework_id]
        shown = state if framework.partition_aware else "TASK_LOST"
        lost = status(task, shown, message=message, reason=reason)
        if state == "TASK_UNREACHABLE":
            lost["unreachable_time"] = values.nanoseconds(values.now())
        self.cluster.note(task, lost, shown)
        self.cluster.counters.note_end(shown)
        self.cluster.publish_update(task, lost)
        framework.send_status(lost)
        self.cluster.remove_task(task, unreachable=state == "TASK_UNREACHABLE")

    # Statuses

    def update(self, message: Json) -> None:
        """Take a status update of an agent and pass it on; agents repeat it until acknowledged."""
        cluster, received = self.cluster, message["status"]
        agent = cluster.agents.get(str(message["agent_id"]))
        framework = cluster.frameworks.get(str(message["framework_id"]))
        if agent is None:
            return
        if framework is None:
            # Nobody is left to acknowledge it.
            self._acknowledge_to_agent(agent, message["framework_id"], received)
            return
        task = framework.tasks.get(str(received["task_id"]["value"]))
        if task is not None:
            was_terminal = task.is_terminal
            is_new = received.get("uuid") != task.status_update_uuid
            cluster.note(task, received, str(message["latest_state"]))
            if is_new:
                cluster.counters.updates += 1
                self.cluster.publish_update(task, received)
            if task.is_terminal and not was_terminal:
                self.cluster.counters.note_end(task.state)
                self.candidates.add(agent.id)
        framework.send_status(received)

    def _acknowledge_to_agent(self, agent: Agent, framework_id: Any, received: Json) -> None:
        agent.tell(
            {
                "type": "ACKNOWLEDGE",
                "framework_id": str(framework_id),
                "task_id": received["task_id"]["value"],
                "uuid": received.get("uuid"),
            }
        )

    async def acknowledge(self, framework: Framework, body: Json) -> None:
        """A framework has taken a status: the agent may forget it, and an ended task goes."""
        cluster = self.cluster
        cluster.counters.acknowledgements += 1
        agent = cluster.agents.get(str(body["agent_id"]["value"]))
        if agent is None:
            return
        self._acknowledge_to_agent(agent, framework.id, body)
        task = framework.tasks.get(str(body["task_id"]["value"]))
        if task is None or not task.is_terminal or task.status_update_uuid != body.get("uuid"):
            return
        if task.status_update_state in values.TERMINAL_STATES:
            cluster.remove_task(task)
            await self.check_drained(agent)

    async def check_drained(self, agent: Agent) -> None:
        """Drained means: every task has ended and its framework knows."""
        drain = agent.drain_info
        if drain is None or drain["state"] != "DRAINING" or agent.tasks:
            return
        agent.drain_info = {**drain, "state": "DRAINED"}
        await self.store(registry.mark(agent.id, self.marks(agent)))
        _log.info("agent.drained", agent=agent.id)
        if drain["config"].get("mark_gone"):
            await self.mark_gone(agent.id)

    def marks(self, agent: Agent) -> Json | None:
        """What the registry keeps of an agent's drain and deactivation."""
        if not agent.deactivated and agent.drain_info is None:
            return None
        marks: Json = {"deactivated": agent.deactivated}
        if agent.drain_info is not None:
            marks["drain_info"] = agent.drain_info
            marks["drain_started_at"] = agent.drain_started_at
        return marks


def _check_identity(known: Agent | None, info: Json, pid: str) -> None:
    """Refuse an agent that comes back as another one while it still counts as registered.

    Raises:
        CallError: 410, which ends the agent and its tasks, as the Shutdown of real masters does.
    """
    if known is None:
        return
    was, is_now = known.pid.partition("@")[2], pid.partition("@")[2]
    if was.rpartition(":")[0] != is_now.rpartition(":")[0]:
        raise CallError(410, "Agent attempted to re-register with different IP / hostname")
    if known.info["hostname"] != info["hostname"]:
        raise CallError(410, "Agent attempted to re-register with different IP / hostname")
