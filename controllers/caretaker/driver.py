"""Looks, decides, and takes one step; again and again.

What goes wrong in a round is logged, and the next one looks anew: nothing is kept in here, so that
a caretaker may be killed at any moment. A reason to wait is told when it changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import structlog

from clients.errors import AccessError
from clients.kubernetes import KubernetesError
from clients.mesos import MesosError
from clients.mesos.model import Agent, Agents
from clients.zookeeper import ZooKeeperError
from controllers.caretaker import copies, draining, membership, rolling
from controllers.caretaker.cluster import Looked, WorkloadClient
from controllers.caretaker.draining import AgentPod
from controllers.caretaker.settings import CaretakerSettings, Order
from controllers.caretaker.voting import Voting

_log = structlog.get_logger()


class Masters(Protocol):
    """What a caretaker asks of the masters; `clients.mesos.OperatorClient` is one."""

    async def leader(self) -> str:
        """`host:port` of the leader."""
        ...

    async def agents(self) -> Agents:
        """Agents that have registered, and those that the leader waits for."""
        ...

    async def drain_agent(self, agent_id: str) -> None:
        """Begin to drain an agent."""
        ...

    async def reactivate_agent(self, agent_id: str) -> None:
        """Offer an agent again."""
        ...


class Caretaker:
    """Of one workload. `workload` is None where neither pods nor volumes are looked after,
    `masters` where the order of pods asks for none, `voting` where it is no ensemble whose members
    change."""

    def __init__(
        self,
        settings: CaretakerSettings,
        workload: WorkloadClient | None,
        masters: Masters | None,
        now: Callable[[], float] = time.time,
        *,
        voting: Voting | None = None,
    ) -> None:
        self._settings = settings
        self._workload = workload
        self._masters = masters
        self._voting = voting
        self._now = now
        self._told = ""
        self._failed: frozenset[str] = frozenset()

    async def round(self) -> None:
        """Take one step of each kind, and make the copies that are due."""
        for work in (self._replace, self._vote, self._copy):
            try:
                await work()
            except (KubernetesError, MesosError, ZooKeeperError, AccessError) as error:
                self._tell("caretaker.failed", str(error))

    async def _vote(self) -> None:
        if self._voting is None:
            return
        step = await self._voting.step()
        match step:
            case rolling.Done():
                self._tell("caretaker.done", "as many servers vote as are declared to")
            case rolling.Wait(reason):
                self._tell("caretaker.waits", reason)
            case _:
                what = "joined" if isinstance(step, membership.Join) else "left"
                self._tell(f"caretaker.{what}", f"server {step.server}")

    async def _replace(self) -> None:
        if self._settings.order is Order.NONE:
            return
        assert self._workload is not None
        looked = await self._workload.look()
        if looked is None:
            self._tell("caretaker.waits", "the workload's controller has not seen it yet")
            return
        if self._settings.order is Order.LEADER_LAST:
            step = rolling.next_step(
                looked.pods, members=self._settings.members, leader=await self._leader(looked)
            )
        else:
            step = draining.next_step(await self._agents(looked), marked=looked.marked)
        await self._take(step)

    async def _leader(self, looked: Looked) -> str | None:
        assert self._masters is not None
        # Nobody need be asked while there is nothing to roll.
        if all(pod.is_current for pod in looked.pods):
            return None
        try:
            host = (await self._masters.leader()).partition(":")[0]
        except MesosError as error:
            self._tell("caretaker.no_leader", str(error))
            return None
        return host.partition(".")[0]

    async def _agents(self, looked: Looked) -> list[AgentPod]:
        assert self._masters is not None
        if looked.marked is None and all(pod.is_current for pod in looked.pods):
            return [AgentPod(pod) for pod in looked.pods]
        port = self._settings.agent_port
        agents = await self._masters.agents()
        known = {a.hostname: a for a in agents.registered if a.port == port}
        awaited = {a.hostname for a in agents.recovered if a.port == port}
        nodes = [(pod, looked.nodes[pod.name]) for pod in looked.pods]
        return [_joined(pod, known.get(node), is_awaited=node in awaited) for pod, node in nodes]

    async def _take(self, step: draining.Step) -> None:
        assert self._workload is not None
        match step:
            case rolling.Done():
                self._told = ""
            case rolling.Wait(reason):
                self._tell("caretaker.waits", reason)
            case rolling.Replace(pod, reason):
                allowed = await self._workload.replace(pod)
                if allowed:
                    self._tell("caretaker.replaced", f"{pod.name}: {reason}")
                else:
                    self._tell("caretaker.waits", f"the disruption budget keeps {pod.name}")
            case draining.Mark(agent_id):
                await self._workload.mark(agent_id)
            case draining.Unmark():
                await self._workload.mark(None)
            case draining.Drain(agent_id) | draining.Reactivate(agent_id):
                assert self._masters is not None
                is_drain = isinstance(step, draining.Drain)
                call = self._masters.drain_agent if is_drain else self._masters.reactivate_agent
                await call(agent_id)
                self._tell("caretaker.drains" if is_drain else "caretaker.reactivated", agent_id)

    async def _copy(self) -> None:
        how = self._settings.copies
        if how is None:
            return
        assert self._workload is not None
        made = await self._workload.copies()
        failed = {copy.name: copy.error for copy in made if copy.error is not None}
        for name in sorted(failed.keys() - self._failed):
            _log.warning("caretaker.copy_failed", copy=name, error=failed[name])
        self._failed = frozenset(failed)
        claims = await self._workload.claims()
        for call in copies.calls(claims, made, now=self._now(), every_s=how.every_s, keep=how.keep):
            await self._workload.perform(call, how)
            _log.info("caretaker.copies", what=type(call).__name__, name=call.name)

    def _tell(self, event: str, text: str) -> None:
        if f"{event} {text}" != self._told:
            self._told = f"{event} {text}"
            _log.info(event, workload=self._settings.workload, reason=text)


def _joined(pod: rolling.Pod, agent: Agent | None, *, is_awaited: bool) -> AgentPod:
    if agent is None:
        return AgentPod(pod, is_awaited=is_awaited)
    drain = agent.drain.state if agent.drain else None
    return AgentPod(pod, agent.id, drain, agent.deactivated)
