"""Guards on a colour's agents: none of them holds where nobody has seen such an agent."""

from __future__ import annotations

import pytest

from clients.mesos.model import Agents, Frameworks, State, Tasks
from stacks.migration.errors import AgentsMissingError
from stacks.migration.guards import Guard
from stacks.migration.guards.agents import (
    room_on_source,
    room_on_target,
    source_agents_empty,
    target_agents_empty,
)
from stacks.migration.guards.frameworks import movers_known, movers_known_back
from stacks.migration.world import World
from tests.stacks.migration.fake_masters import (
    BLUE,
    SITUATION,
    Masters,
    agent,
    framework,
    task,
    world_of,
)


def world_with(*addresses: str) -> World:
    """Agents at these addresses, a task on the first; two of blue and two of green declared."""
    found = Agents(tuple(agent(number, one) for number, one in enumerate(addresses)), ())
    tasks = Tasks((task("x", "sample", 0),), (), ())
    state = State(found, tasks, Frameworks((framework("sample"),), ()))
    masters = Masters(("b:1",), cluster=state, known=found)
    return world_of(
        masters,
        Masters(("g:1",)),
        agents=lambda color: ("b:5", "b:6") if color is BLUE else ("g:5", "g:6"),  # pyright: ignore[reportUnknownLambdaType] - a stand-in's method
        frameworks=lambda: {"sample": "http://x"},
        has_marathon=False,
    )


@pytest.mark.parametrize(
    "guard",
    [
        room_on_source, room_on_target, source_agents_empty, target_agents_empty, movers_known,
        movers_known_back,
    ],
)  # fmt: skip
async def test_a_guard_on_agents_that_nobody_has_seen_does_not_hold(guard: Guard) -> None:
    with pytest.raises(AgentsMissingError, match=r"expected agents of .* saw none of them among 1"):
        await guard(world_with("10.0.0.1:5051"), SITUATION)


async def test_room_wants_agents_of_both_colours() -> None:
    with pytest.raises(AgentsMissingError) as raised:
        await room_on_target(world_with("b:5"), SITUATION)

    assert raised.value.color == "green"
    assert (await room_on_target(world_with("b:5", "g:5"), SITUATION)).ok


async def test_agents_with_tasks_are_not_empty_and_without_are() -> None:
    world = world_with("b:5", "g:5")

    assert not (await source_agents_empty(world, SITUATION)).ok
    assert (await target_agents_empty(world, SITUATION)).ok
