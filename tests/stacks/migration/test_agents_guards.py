"""Guards and acts on a colour's agents, whose addresses a cluster does not know before they run:
what is asked of agents that nobody has seen is no answer.
"""

from __future__ import annotations

from typing import Any

import pytest

from clients.mesos.model import Agent, Agents, Frameworks, RecoveredAgent, State, Tasks
from stacks.agents import NodeAgents, OwnAgents
from stacks.migration import readers
from stacks.migration.acts.frameworks import canary
from stacks.migration.errors import ActFailedError, AgentsMissingError
from stacks.migration.guards import Guard
from stacks.migration.guards.agents import (
    nothing_in_motion,
    registered_source_agents,
    registered_target_agents,
    room_on_source,
    room_on_target,
    source_agents_empty,
    target_agents_empty,
)
from stacks.migration.guards.frameworks import movers_known, movers_known_back
from stacks.migration.world import World
from stacks.topology import Color
from tests.stacks.migration.fake_masters import (
    BLUE,
    SITUATION,
    Masters,
    agent,
    framework,
    listed,
    task,
    world_of,
)

ON_NODES = {
    "blue": NodeAgents(5051, (31000, 31499), 2),
    "green": NodeAgents(5052, (31500, 31999), 2),
}
BLUES = ("10.0.0.1:5051", "10.0.0.2:5051")
GREENS = ("10.0.0.1:5052", "10.0.0.2:5052")


def nodes(color: Color) -> OwnAgents:
    return ON_NODES[color]


def on_node(number: int, address: str) -> Agent:
    """An agent as stacks declare it: named like its node, with its colour's ports for tasks."""
    ports = {"5051": (31000, 31499), "5052": (31500, 31999)}[address.rpartition(":")[2]]
    resources = {"cpus": 4.0, "mem": 1024.0}
    return agent(number, address, ports=(ports,), resources=resources)


def world_with(*addresses: str, tasks: Tasks | None = None, **parts: Any) -> World:
    """Agents of nodes at these addresses; unless said otherwise, a task on the first."""
    found = tuple(on_node(number, one) for number, one in enumerate(addresses))
    return world_on(Agents(found, parts.pop("recovered", ())), tasks, **parts)


def world_on(known: Agents, tasks: Tasks | None = None, **parts: Any) -> World:
    ran = tasks or Tasks((task("x", "sample", 0),), (), ())
    state = State(known, ran, Frameworks((framework("sample"),), ()))
    masters = Masters(("b:1",), cluster=state, known=known)
    given: dict[str, Any] = {"agents": nodes, "has_marathon": False, **parts}
    return world_of(masters, Masters(("g:1",)), frameworks=lambda: {"sample": "http://x"}, **given)


@pytest.mark.parametrize(
    "guard",
    [
        room_on_source, room_on_target, source_agents_empty, target_agents_empty, movers_known,
        movers_known_back,
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "agents",
    [listed(blue=("b:5",), green=("g:5",)), nodes, listed()],
    ids=["listed", "of nodes", "none declared"],
)
async def test_a_guard_on_agents_that_nobody_has_seen_does_not_hold(
    guard: Guard, agents: Any
) -> None:
    stranger = Agents((agent(0, "10.0.0.1:5051"),), ())
    with pytest.raises(AgentsMissingError, match=r"saw others: 10\.0\.0\.1:5051"):
        await guard(world_on(stranger, agents=agents), SITUATION)


async def test_room_wants_agents_of_both_colours() -> None:
    with pytest.raises(AgentsMissingError) as raised:
        await room_on_target(world_with(*BLUES), SITUATION)

    assert raised.value.color == "green"
    assert (await room_on_target(world_with(*BLUES, *GREENS), SITUATION)).ok
    short = await room_on_target(world_with(*BLUES, *GREENS[:1]), SITUATION)
    assert not short.ok
    assert short.numbers["blue"] == {"cpus": 8.0, "mem": 2048.0}


async def test_agents_with_tasks_are_not_empty_and_without_are() -> None:
    world = world_with(*BLUES, *GREENS)

    assert not (await source_agents_empty(world, SITUATION)).ok
    assert (await target_agents_empty(world, SITUATION)).ok
    moved = Tasks((task("x", "sample", 2),), (), ())
    assert (await source_agents_empty(world_with(*BLUES, *GREENS, tasks=moved), SITUATION)).ok


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"tasks": Tasks((), (task("y", "sample", 7),), ())}, "task y is unreachable"),
        (
            {"tasks": Tasks((), (), ()), "recovered": (RecoveredAgent("a-7", "n7", 5051),)},
            "agent a-7 has not come back",
        ),
    ],
)
async def test_agents_of_nodes_are_not_empty_while_something_is_out_of_reach(
    parts: dict[str, Any], expected: str
) -> None:
    found = await source_agents_empty(world_with(*BLUES, **parts), SITUATION)

    assert not found.ok
    assert expected in found.said


async def test_movers_are_asked_of_tasks_on_the_colour_s_nodes() -> None:
    tasks = Tasks((task("x", "sample", 0), task("y", "batch", 1), task("z", "batch", 2)), (), ())
    found = await movers_known(world_with(*BLUES, *GREENS, tasks=tasks), SITUATION)

    assert found.numbers == {"sample": 1, "?": 1}
    assert not found.ok


async def test_fewer_agents_than_declared_are_not_registered() -> None:
    found = await registered_source_agents(world_with(*BLUES[:1]), SITUATION)

    assert not found.ok
    assert "expected agents of blue to be registered: 2 or more" in found.said
    assert "1 of 2 agents at port 5051 are registered" in found.said
    assert (await registered_source_agents(world_with(*BLUES), SITUATION)).ok
    moving = await nothing_in_motion(world_with(*BLUES[:1], *GREENS), SITUATION)
    assert not moving.ok
    assert "1 of 2 agents at port 5051" in moving.said


async def test_the_target_s_agents_are_wanted_on_every_node_of_the_source_s() -> None:
    more = (*BLUES, "10.0.0.3:5051", *GREENS)

    found = await registered_target_agents(world_with(*more), SITUATION)

    assert not found.ok
    assert "no agent at port 5052 of 10.0.0.3, where the other colour has one" in found.said
    assert (await registered_target_agents(world_with(*more, "10.0.0.3:5052"), SITUATION)).ok


async def test_an_inventory_has_idle_agents_of_nodes_and_no_idle_stranger() -> None:
    known = (on_node(0, BLUES[0]), on_node(1, BLUES[1]), agent(2, "10.0.0.9:5051"))

    found = await readers.inventory(world_on(Agents(known, ())), BLUE)

    assert [one.address for one in found.agents] == list(BLUES)


async def test_a_canary_runs_on_each_agent_of_the_target() -> None:
    asked: list[tuple[str, Any]] = []

    async def get(url: str) -> dict[str, Any]:
        asked.append((url, None))
        return {"flags": {}}

    async def post(url: str, body: Any, *, timeout_s: float) -> tuple[int, dict[str, Any]]:
        del timeout_s
        asked.append((url, body["agent_id"]))
        return 200, {"states": ["TASK_FINISHED"]}

    world = world_with(*BLUES, *GREENS, get=get, post=post)
    found = await canary(world, SITUATION, lambda _: None)

    assert [one.ok for one in found.evidence] == [True, True]
    assert asked == [
        ("http://10.0.0.1:5052/flags", None),
        ("http://x/canary", "agent-2"),
        ("http://10.0.0.2:5052/flags", None),
        ("http://x/canary", "agent-3"),
    ]


async def test_a_canary_does_not_pass_where_no_agent_could_run_it() -> None:
    with pytest.raises(ActFailedError, match="expected agents of green to be registered"):
        await canary(world_with(*BLUES), SITUATION, lambda _: None)
