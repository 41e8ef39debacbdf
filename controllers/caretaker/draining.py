"""Which agent is replaced next, and what happens to its tasks before.

Tasks end with an agent's pod, so it is drained first: one agent at a time, so that the others have
room for what moves. A drain that we begin is written down (the mark) before the call, and taken
back after the new pod has registered; a drain that somebody else began is theirs: its pod may be
replaced, and it stays drained. A pod in which no agent has ever run has no tasks, and neither has
one whose agent ends soon after each start and that masters do not know: when a newer description is
there it goes at once, or a description that was wrong could not be mended by another one, because
its agent never registers. Values in, one step out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clients.mesos.model import DrainState
from controllers.caretaker.rolling import Done, Pod, Replace, Wait


@dataclass(frozen=True)
class AgentPod:
    """An agent's pod and what masters know of the agent on its node; `agent_id` None: it is not
    registered. `is_awaited`: a new leader knows it by the registry, and waits for it."""

    pod: Pod
    agent_id: str | None = None
    drain: DrainState | None = None
    is_deactivated: bool = False
    is_awaited: bool = False


@dataclass(frozen=True)
class Mark:
    """Write down that we drain this agent."""

    agent_id: str


@dataclass(frozen=True)
class Drain:
    """Begin the drain; there is no way back before it has ended."""

    agent_id: str


@dataclass(frozen=True)
class Reactivate:
    """Let it be offered again."""

    agent_id: str


@dataclass(frozen=True)
class Unmark:
    """The marked agent is done."""


Step = Replace | Wait | Done | Mark | Drain | Reactivate | Unmark


def next_step(  # noqa: PLR0911 - one a step
    agents: Sequence[AgentPod], *, marked: str | None
) -> Step:
    """Decide the next step; `marked` is the agent that we are draining."""
    if idle := [one for one in agents if _is_idle(one)]:
        why = "ends again and again, unknown to masters" if idle[0].pod.has_run else "has not run"
        return Replace(idle[0].pod, f"it is old, and its agent {why}")
    if marked is not None:
        return _go_on(agents, marked)
    if ending := [one.pod.name for one in agents if one.pod.is_ending]:
        return Wait(f"{ending[0]} is on its way out")
    if troubled := [one.pod.name for one in agents if not one.pod.is_ready]:
        return Wait(f"{troubled[0]} is not ready: its node, or the new description, is at fault")
    old = sorted((one for one in agents if not one.pod.is_current), key=lambda one: one.pod.name)
    if not old:
        return Done()
    first = old[0]
    if first.agent_id is None:
        return Wait(f"the agent of {first.pod.name} is not registered, so its tasks are not known")
    if first.drain is DrainState.DRAINED:
        return Replace(first.pod, "somebody has drained it")
    if first.drain is DrainState.DRAINING:
        return Wait(f"somebody drains the agent of {first.pod.name}")
    return Mark(first.agent_id)


def _is_idle(one: AgentPod) -> bool:
    pod = one.pod
    if pod.is_current or pod.is_ready or pod.is_ending:
        return False
    is_known = one.agent_id is not None or one.is_awaited
    return not pod.has_run or (pod.keeps_ending and not is_known)


def _go_on(  # noqa: PLR0911 - one a step
    agents: Sequence[AgentPod], marked: str
) -> Step:
    ours = next((one for one in agents if one.agent_id == marked), None)
    if ours is None:
        return Wait(f"agent {marked}, which is being replaced, has not registered")
    if ours.pod.is_ending:
        return Wait(f"{ours.pod.name} is on its way out")
    if not ours.pod.is_current:
        if ours.drain is DrainState.DRAINED:
            return Replace(ours.pod, "its tasks have moved")
        if ours.drain is DrainState.DRAINING:
            return Wait(f"the tasks of {ours.pod.name} end")
        return Drain(marked)
    if not ours.pod.is_ready:
        return Wait(f"{ours.pod.name} is new and not ready")
    if ours.drain is not None or ours.is_deactivated:
        return Reactivate(marked)
    return Unmark()
