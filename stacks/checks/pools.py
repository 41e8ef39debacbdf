"""Which pools the agents of a colour can be of. Pure.

An agent says nothing of its pool: it is known by the flags that it runs with and by what it offers.
Pools may be alike in both, or one ask for less than another, so that an agent fits several of them.
It is counted for one only: each pool must have its number while nobody is counted twice.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

from clients.mesos.model import Agent
from stacks.checks.declared import Profile

Fitting = frozenset[int]


def fitting(profiles: Sequence[Profile], flags: Mapping[str, str], agent: Agent | None) -> Fitting:
    """Pools, by their place, that an agent can be of; None: masters do not know it, and its flags
    alone tell."""
    return frozenset(
        place
        for place, profile in enumerate(profiles)
        if all(flags.get(name) == value for name, value in profile.flags.items())
        and (agent is None or offers(agent, profile))
    )


def offers(agent: Agent, profile: Profile) -> bool:
    """Whether an agent has what is declared of its pool."""
    return all(agent.resources.get(n, 0.0) == value for n, value in profile.resources.items())


def fill(profiles: Sequence[Profile], agents: Iterable[Fitting]) -> tuple[int, ...]:
    """How many agents each pool has of its number, at most that, where as many as possible are
    counted and each for one pool."""
    counted = [Counter[Fitting]() for _ in profiles]
    for agent in agents:
        _place(profiles, counted, agent)
    return tuple(each.total() for each in counted)


def _place(profiles: Sequence[Profile], counted: list[Counter[Fitting]], agent: Fitting) -> None:
    """Count an agent for a pool that lacks one; agents before it may have to be of another pool,
    each moved into the place of the next one."""
    came_from: dict[int, tuple[int, Fitting] | None] = dict.fromkeys(sorted(agent))
    waiting = deque(came_from)
    while waiting:
        pool = waiting.popleft()
        if counted[pool].total() < profiles[pool].count:
            while (step := came_from[pool]) is not None:
                before, moved = step
                counted[before][moved] -= 1
                counted[pool][moved] += 1
                pool = before
            counted[pool][agent] += 1
            return
        for other in (one for one, number in counted[pool].items() if number):
            for place in sorted(other - came_from.keys()):
                came_from[place] = (pool, other)
                waiting.append(place)
