"""A drain: an agent's tasks are ended, and it is offered no more while the resource is there.

Masters kill all tasks at once and cannot be told to stop; the agent is DRAINED when every
framework has acknowledged its tasks' ends, so a dead framework blocks a drain for ever. That is why
it has a deadline. A second drain of the same agent would drop the grace period, so it is asked for
once. Deleting the resource reactivates the agent.

Marking an agent gone cannot be taken back: it wants the words `never comes back`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import pulumi
from pulumi.dynamic import Resource as DynamicResource

from clients.mesos import NotFoundError
from clients.mesos.model import DrainState
from components.errors import DrainTimeoutError, UnknownAgentError
from components.mesos.endpoint import MesosEndpoint, connect
from components.runtime import Json, ObjectProvider, Session

if TYPE_CHECKING:
    from clients.mesos import OperatorClient

GONE_WORDS = "never comes back"
_TIMEOUT_S = 900.0
_POLL_S = 1.0


class Presence(StrEnum):
    """Whether masters know an agent."""

    REGISTERED = "registered"
    RECOVERED = "recovered"
    """Of the registry, not back since the last election: its drain goes on when it is."""
    ABSENT = "absent"


@dataclass(frozen=True)
class DrainSpec:
    """What is declared. Seconds.

    Raises:
        ValueError: the words for marking an agent gone are others, or a duration is not above 0.
    """

    agent_id: str
    max_grace_period_s: float | None = None
    mark_gone: bool = False
    timeout_s: float = _TIMEOUT_S

    def __post_init__(self) -> None:
        if not self.agent_id:
            msg = "expected an agent's id, saw none"
            raise ValueError(msg)
        if self.timeout_s <= 0 or (self.max_grace_period_s or 0) < 0:
            msg = f"expected durations above 0, saw {self.timeout_s:g} s"
            raise ValueError(msg)


@dataclass(frozen=True)
class ObservedAgent:
    """What masters tell of the agent."""

    presence: Presence
    drain: DrainState | None = None
    deactivated: bool = False


@dataclass(frozen=True)
class DrainAgent:
    """Begin; there is no way back before it has ended."""

    agent_id: str
    max_grace_period_s: float | None


@dataclass(frozen=True)
class AwaitDrained:
    """Wait until every task has ended and its framework has heard of it."""

    agent_id: str
    timeout_s: float


@dataclass(frozen=True)
class MarkGone:
    """Declare that it never comes back."""

    agent_id: str


@dataclass(frozen=True)
class Reactivate:
    """Offer it again."""

    agent_id: str


Call = DrainAgent | AwaitDrained | MarkGone | Reactivate


def plan(old: DrainSpec | None, new: DrainSpec | None, observed: ObservedAgent) -> tuple[Call, ...]:
    """Decide what to call; `observed` is of the agent of `new`, or of `old` where that is None.

    Raises:
        UnknownAgentError: there is no such agent to drain.
    """
    if new is None:
        return () if old is None else _undo(old, observed)
    was_gone = old is not None and old.mark_gone and old.agent_id == new.agent_id
    if observed.presence is Presence.ABSENT:
        if was_gone and new.mark_gone:
            return ()
        msg = (
            f"expected agent {new.agent_id} to be registered, saw none of that id: take its id "
            "from the masters' GET_AGENTS. If it has been marked gone, remove this resource"
        )
        raise UnknownAgentError(msg)
    if observed.presence is Presence.RECOVERED:
        return (AwaitDrained(new.agent_id, new.timeout_s),)
    calls: list[Call] = []
    if observed.drain is None or observed.drain is DrainState.UNKNOWN:
        calls.append(DrainAgent(new.agent_id, new.max_grace_period_s))
    if observed.drain is not DrainState.DRAINED:
        calls.append(AwaitDrained(new.agent_id, new.timeout_s))
    if new.mark_gone:
        calls.append(MarkGone(new.agent_id))
    return tuple(calls)


def _undo(old: DrainSpec, observed: ObservedAgent) -> tuple[Call, ...]:
    if old.mark_gone or observed.presence is Presence.ABSENT:
        return ()
    if observed.drain is DrainState.DRAINING or observed.presence is Presence.RECOVERED:
        return (AwaitDrained(old.agent_id, old.timeout_s), Reactivate(old.agent_id))
    if observed.deactivated or observed.drain is not None:
        return (Reactivate(old.agent_id),)
    return ()


class DrainSession(Session[DrainSpec, ObservedAgent, Call]):
    """One agent of one cluster."""

    def __init__(self, client: OperatorClient, *, poll_s: float = _POLL_S) -> None:
        self._client = client
        self._poll_s = poll_s

    async def observe(self, spec: DrainSpec) -> ObservedAgent:
        """What masters tell of the agent."""
        return await self._look(spec.agent_id)

    async def _look(self, agent_id: str) -> ObservedAgent:
        agents = await self._client.agents()
        for agent in agents.registered:
            if agent.id == agent_id:
                drain = None if agent.drain is None else agent.drain.state
                return ObservedAgent(Presence.REGISTERED, drain, agent.deactivated)
        if any(agent.id == agent_id for agent in agents.recovered):
            return ObservedAgent(Presence.RECOVERED)
        return ObservedAgent(Presence.ABSENT)

    def plan(
        self, old: DrainSpec | None, new: DrainSpec | None, observed: ObservedAgent
    ) -> tuple[Call, ...]:
        """See `plan`."""
        return plan(old, new, observed)

    async def perform(self, call: Call) -> None:
        """Make one call."""
        match call:
            case DrainAgent(agent_id, max_grace_period_s):
                await self._client.drain_agent(agent_id, max_grace_period_s=max_grace_period_s)
            case AwaitDrained(agent_id, timeout_s):
                await self._await_drained(agent_id, timeout_s)
            case MarkGone(agent_id):
                try:
                    await self._client.mark_agent_gone(agent_id)
                except NotFoundError:
                    pass  # It has been marked in between.
            case Reactivate(agent_id):
                await self._client.reactivate_agent(agent_id)

    async def _await_drained(self, agent_id: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            seen = await self._look(agent_id)
            if seen.drain is DrainState.DRAINED or seen.presence is Presence.ABSENT:
                return
            if seen.presence is Presence.REGISTERED and seen.drain is None:
                return  # Back from an election without a drain, or taken back: planned anew.
            if time.monotonic() >= deadline:
                break
            await asyncio.sleep(self._poll_s)
        tasks = [task for task in (await self._client.tasks()).live if task.agent_id == agent_id]
        owners = ", ".join(sorted({task.framework_id for task in tasks})) or "none"
        msg = (
            f"expected agent {agent_id} to be drained within {timeout_s:g} s, saw it "
            f"{seen.drain or seen.presence} with {len(tasks)} tasks of frameworks {owners}. Their "
            "frameworks must acknowledge the ends of tasks: are they connected? Run this again "
            "to wait on; a drain that has begun cannot be stopped"
        )
        raise DrainTimeoutError(msg)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


class DrainProvider(ObjectProvider[DrainSpec, ObservedAgent, Call]):
    """Carries drains to Pulumi."""

    def read_spec(self, spec: Json) -> DrainSpec:
        """Parse."""
        words = str(spec["mark_gone"])
        if words not in {"", GONE_WORDS}:
            msg = (
                f"expected mark_gone to be {GONE_WORDS!r} or nothing, saw {words!r}: it cannot be "
                "taken back, so it wants these words"
            )
            raise ValueError(msg)
        grace_s = spec["max_grace_period_s"]
        return DrainSpec(
            agent_id=str(spec["agent_id"]),
            max_grace_period_s=None if grace_s is None else float(grace_s),
            mark_gone=bool(words),
            timeout_s=float(spec["timeout_s"]),
        )

    def session(self, endpoint: Json, spec: Json) -> DrainSession:
        """Connect."""
        del spec
        return DrainSession(connect(endpoint))

    def identity(self, spec: Json) -> str:
        """The agent."""
        return str(spec["agent_id"])

    def expected(self, spec: DrainSpec) -> Json:
        """Drained, or gone."""
        return {"state": "GONE" if spec.mark_gone else str(DrainState.DRAINED)}

    def seen(self, spec: DrainSpec, observed: ObservedAgent) -> Json | None:
        """How far it is; an agent that left by itself takes its drain with it."""
        if observed.presence is Presence.ABSENT:
            return self.expected(spec) if spec.mark_gone else None
        if observed.presence is Presence.RECOVERED:
            return self.expected(spec)
        return {"state": str(observed.drain or "ACTIVE")}


@dataclass(frozen=True)
class DrainArgs:
    """Which agent, how long its tasks may take to end, and how long to wait for all of it."""

    agent_id: str
    max_grace_period_s: float | None = None
    mark_gone: Literal["", "never comes back"] = ""
    timeout_s: float = _TIMEOUT_S

    @property
    def properties(self) -> Json:
        """As plain values of a resource."""
        return {
            "agent_id": self.agent_id,
            "max_grace_period_s": self.max_grace_period_s,
            "mark_gone": self.mark_gone,
            "timeout_s": self.timeout_s,
        }


class AgentDrain(DynamicResource, module="mesos", name="AgentDrain"):
    """A drained agent."""

    def __init__(
        self,
        name: str,
        args: DrainArgs,
        endpoint: MesosEndpoint,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        properties = {"endpoint": endpoint.properties, "spec": args.properties}
        super().__init__(DrainProvider(), name, properties, opts)
