"""Which agents are a colour's: by their addresses, or by what agents of every node have alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clients.mesos.model import Agent, Agents, RecoveredAgent
from stacks.agents import ListedAgents, NodeAgents, read
from tests.stacks.migration.fake_masters import agent

BLUE = NodeAgents(5051, (31000, 31499), 2)
GREEN = NodeAgents(5052, (31500, 31999), 2)


def on(node: str, port: int, *ports: tuple[int, int]) -> Agent:
    return replace(agent(0, f"{node}:{port}"), id=f"{node}:{port}", ports=ports)


BLUES = (on("n1", 5051, (31000, 31499)), on("n2", 5051, (31000, 31200), (31201, 31499)))
GREENS = (on("n1", 5052, (31500, 31999)), on("n2", 5052, (31500, 31999)))


def test_agents_of_both_colours_on_a_node_are_told_apart() -> None:
    both = (*BLUES, *GREENS)

    assert BLUE.own(both) == BLUES
    assert GREEN.own(both) == GREENS


@pytest.mark.parametrize(
    "stranger",
    [on("n3", 5051, (31000, 32000)), on("n3", 5051), on("n3", 5053, (31000, 31499))],
    ids=["mesos' usual ports for tasks", "no ports for tasks", "another port"],
)
def test_somebody_else_s_agent_is_not_taken_for_one(stranger: Agent) -> None:
    assert BLUE.own((*BLUES, stranger)) == BLUES


def test_nothing_is_lacking_where_as_many_as_declared_or_more_are_registered() -> None:
    more = (*BLUES, on("n3", 5051, (31000, 31499)))

    assert BLUE.lacking(Agents(BLUES, ())) == ()
    assert BLUE.lacking(Agents(more, ())) == ()


def test_too_few_agents_and_those_that_have_not_come_back_are_lacking() -> None:
    away = RecoveredAgent("a-2", "n2", 5051)
    other = RecoveredAgent("a-3", "n2", 5052)

    found = BLUE.lacking(Agents(BLUES[:1], (away, other)))

    assert [reason.partition(";")[0] for reason in found] == [
        "agent a-2 has not come back",
        "1 of 2 agents at port 5051 are registered",
    ]


def test_a_node_with_an_agent_of_one_colour_alone_is_named_where_both_are_declared() -> None:
    third = on("n3", 5051, (31000, 31499))
    known = Agents((*BLUES, third, *GREENS), ())

    (found,) = GREEN.lacking(known, BLUE.own(known.registered))

    assert found == "no agent at port 5052 of n3, where the other colour has one"
    assert GREEN.lacking(known) == ()


def test_listed_agents_are_those_at_their_addresses() -> None:
    wanted = ListedAgents(("n2:5051", "n9:5051"))
    known = Agents((*BLUES, *GREENS), ())

    assert wanted.own(known.registered) == (BLUES[1],)
    assert wanted.lacking(known, GREENS) == ("agent n9:5051 is not registered",)


def test_what_a_stack_exports_is_read_again() -> None:
    assert read(BLUE.as_output()) == BLUE
    assert read(["a:1", "a:2"]) == ListedAgents(("a:1", "a:2"))
    assert read(None) is None
