"""What is said of agents: those as declared hold, and whatever is otherwise is named."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from clients.mesos.model import Agent
from components.network.cni import CONFIG_FLAG
from stacks.agents import NodeAgents
from stacks.checks import judge_agents as judge
from stacks.checks import pools
from stacks.checks.declared import Declared, Profile
from stacks.checks.judge_agents import Canary
from stacks.migration import render
from stacks.migration.evidence import Findings
from stacks.topology import Color
from tests.stacks.checks.cases import DECLARED, GROUP, RESOURCES, agent, known


def test_agents_as_declared_hold_and_others_are_named() -> None:
    assert judge.agents(DECLARED, GROUP, known(agent("a:1"), agent("a:2"))).ok
    cases = {
        "a:2 is not registered": [agent("a:1")],
        "a:2 is not active": [agent("a:1"), agent("a:2", active=False)],
        "a:2 is deactivated": [agent("a:1"), agent("a:2", deactivated=True)],
        "a:2 offers cpus 2,": [
            agent("a:1"),
            agent("a:2", resources={**RESOURCES, "cpus": 2.0}),
        ],
    }
    for expected, registered in cases.items():
        found = judge.agents(DECLARED, GROUP, known(*registered))
        assert not found.ok
        assert expected in found.said


def test_agents_of_nodes_are_those_that_carry_what_their_colour_was_declared_with() -> None:
    blue = replace(GROUP, agents=NodeAgents(5051, (31000, 31499), 2))
    green = replace(GROUP, color=Color.GREEN, agents=NodeAgents(5052, (31500, 31999), 2))
    wanted = replace(DECLARED, groups=(blue, green))
    here = [agent(f"n{n}:5051", ports=((31000, 31499),)) for n in (1, 2)]
    there = [agent(f"n{n}:5052", ports=((31500, 31999),)) for n in (1, 2)]

    assert judge.agents(wanted, blue, known(*here, *there)).ok
    assert judge.agents(wanted, green, known(*here, *there)).ok
    none = judge.agents(wanted, green, known(*here))
    assert "no agent of green is registered; declared: 2 or more" in none.said
    few = judge.agents(wanted, green, known(*here, there[0]))
    assert not few.ok
    assert "no agent at port 5052 of n2, where the other colour has one" in few.said
    other = agent("n2:5052", ports=((31500, 31999),), resources={**RESOURCES, "cpus": 2.0})
    assert "n2:5052 offers cpus 2," in judge.agents(wanted, green, known(there[0], other)).said


def test_where_no_agent_is_registered_nobody_s_flags_and_limits_hold() -> None:
    blue = replace(GROUP, agents=NodeAgents(5051, (31000, 31499), 2))

    flags = judge.agent_flags(DECLARED, blue, {}, {})
    limits = judge.limits(blue, {}, {}, least=LEAST)

    assert not flags.ok
    assert "no agent of blue is registered" in flags.said
    assert (limits.ok, limits.looked) == (True, False)
    assert "no agent of blue is registered" in limits.said


def test_agents_that_are_to_go_may_be_deactivated() -> None:
    draining = replace(GROUP, agents_drain=True)

    going = known(agent("a:1", deactivated=True), agent("a:2"))
    assert judge.agents(DECLARED, draining, going).ok


LIMITING = {"isolation": "cgroups/cpu,cgroups/mem"}
SHARED = {"isolation": "posix/cpu"}


def test_an_agent_s_flags_are_those_of_its_profile() -> None:
    one = replace(DECLARED, profiles=(Profile(RESOURCES, LIMITING),))
    right = {address: {**LIMITING, "port": "1"} for address in ("a:1", "a:2")}

    assert judge.agent_flags(one, GROUP, right, {}).ok
    wrong = judge.agent_flags(one, GROUP, {**right, "a:2": SHARED}, {})
    assert "a:2: isolation is posix/cpu, declared is" in wrong.said


def two_pools(*profiles: Profile) -> Declared:
    return replace(DECLARED, profiles=profiles)


def test_an_agent_is_of_one_of_several_pools() -> None:
    two = two_pools(Profile(RESOURCES, LIMITING), Profile(RESOURCES, SHARED))

    assert judge.agent_flags(two, GROUP, {"a:1": LIMITING, "a:2": SHARED}, {}).ok
    other = judge.agent_flags(two, GROUP, {"a:1": LIMITING, "a:2": {"isolation": "none"}}, {})
    assert "a:2 runs with flags of no declared pool" in other.said
    silent = judge.agent_flags(two, GROUP, {"a:1": LIMITING, "a:2": None}, {})
    assert "a:2 does not tell its flags" in silent.said


def test_a_pool_whose_agents_run_without_its_flags_does_not_hold_beside_one_without_flags() -> None:
    hard = Profile(RESOURCES, LIMITING, count=2, pool="hard")
    two = two_pools(hard, Profile(RESOURCES, pool="plain"))
    flags = {"a:1": LIMITING, "a:2": LIMITING, "a:3": {}}

    assert judge.agent_flags(two, GROUP, flags, {}).ok
    off = judge.agent_flags(two, GROUP, {**flags, "a:2": {}}, {})
    assert not off.ok
    assert off.said == "1 of 2 agents of pool hard run with its flags and offer its resources"
    assert off.numbers["pools"] == {"of pool hard": 1, "of pool plain": 1}


def test_flags_of_one_pool_with_resources_of_another_are_of_neither() -> None:
    large, small = {**RESOURCES, "cpus": 16.0}, {**RESOURCES, "cpus": 2.0}
    two = two_pools(Profile(large, LIMITING, pool="large"), Profile(small, SHARED, pool="small"))
    flags = {"a:1": LIMITING, "a:2": SHARED}

    def known_as(**resources: dict[str, float]) -> dict[str, Agent]:
        return {f"a:{n[1]}": agent(f"a:{n[1]}", resources=r) for n, r in resources.items()}

    assert judge.agent_flags(two, GROUP, flags, known_as(a1=large, a2=small)).ok
    crossed = judge.agent_flags(two, GROUP, flags, known_as(a1=small, a2=large))
    assert not crossed.ok
    assert "a:1 runs with flags of no declared pool, or offers other resources" in crossed.said
    # Flags of neither are the same, and only what they offer tells who is of which.
    alike = two_pools(Profile(large, pool="large"), Profile(small, pool="small"))
    assert judge.agent_flags(alike, GROUP, flags, known_as(a1=small, a2=large)).ok
    both_small = judge.agent_flags(alike, GROUP, flags, known_as(a1=small, a2=small))
    assert "0 of 1 agents of pool large" in both_small.said


@given(
    st.lists(st.integers(1, 3), min_size=1, max_size=4).flatmap(
        lambda counts: st.tuples(
            st.just(counts),
            st.lists(st.frozensets(st.integers(0, len(counts) - 1)), max_size=8),
        )
    )
)
def test_pools_are_filled_where_some_choice_fills_them_and_nobody_is_counted_twice(
    given_: tuple[list[int], list[frozenset[int]]],
) -> None:
    counts, agents = given_
    profiles = [Profile({}, count=count) for count in counts]

    filled = pools.fill(profiles, agents)

    # Hall: any set of pools can be filled when those that fit one of it are at least its number.
    places = range(len(counts))
    sets = [set(s) for n in places for s in itertools.combinations(places, n + 1)]
    possible = all(sum(counts[p] for p in s) <= sum(1 for a in agents if a & s) for s in sets)
    assert (list(filled) == counts) is possible
    assert sum(filled) <= sum(1 for one in agents if one)
    assert all(there <= count for there, count in zip(filled, counts, strict=True))


def test_agents_that_were_started_with_other_networks_are_named() -> None:
    def flags(*names: str) -> dict[str, str]:
        return {CONFIG_FLAG: f"/var/lib/mesos-platform/networks/by-name/{'+'.join(names)}"}

    wanted = frozenset({"web", "mesos"})
    right = {"a:1": flags("mesos", "web")}

    assert judge.networks(wanted, right).ok
    found = judge.networks(wanted, {**right, "a:2": flags("old", "web"), "a:3": {}, "a:4": None})
    assert not found.ok
    assert "a:2 knows no mesos: it was started before they were declared" in found.said
    assert "a:2 knows old, which nobody declares" in found.said
    assert "a:3 knows no mesos, web" in found.said
    assert "a:4 does not tell its flags" in found.said


HOLDS = {"a:1": True, "a:2": True}
LEAST = len(HOLDS)


def canary(*states: str, ok: bool | None = True, limited: bool = True) -> Canary:
    return Canary("canary-1", limited, ok, 7.0, states)


def test_agents_that_held_a_canary_to_its_share_hold() -> None:
    found = judge.limits(GROUP, HOLDS, {"a:1": canary(), "a:2": canary()}, least=LEAST)

    assert (found.ok, found.looked) == (True, True)
    assert found.numbers["a:1"] == {"task": "canary-1", "within": True, "at": 7.0}


def test_a_canary_that_was_not_within_its_limits_is_named() -> None:
    found = judge.limits(GROUP, HOLDS, {"a:1": canary(ok=False)}, least=LEAST)

    assert (found.ok, found.looked) == (False, True)
    assert "canary-1 was not within its limits on a:1" in found.said


@pytest.mark.parametrize(
    ("holds", "told", "why"),
    [
        (HOLDS, {}, "no canary has run there"),
        (HOLDS, {"a:2": canary(limited=False)}, "canary-1 did not look"),
        (HOLDS, {"a:2": canary(ok=None)}, "canary-1 has not ended"),
        (HOLDS, {"a:2": canary("TASK_RUNNING", ok=None)}, "canary-1 has not ended"),
        (
            HOLDS,
            {"a:2": canary("TASK_STARTING", "TASK_LOST", ok=None)},
            "canary-1 did not end by itself (TASK_LOST)",
        ),
        ({"a:1": True, "a:2": None}, {}, "it does not tell its flags"),
    ],
)
def test_where_no_canary_has_told_nobody_looked(
    holds: dict[str, bool | None], told: dict[str, Canary], why: str
) -> None:
    found = judge.limits(GROUP, holds, {"a:1": canary(), **told}, least=LEAST)

    # It is no agreement, and no difference.
    assert (found.ok, found.looked) == (True, False)
    assert f"a:2 was not looked at, {why}" in found.said
    assert found.as_dict()["looked"] is False


def test_a_framework_that_does_not_answer_is_named() -> None:
    found = judge.limits(GROUP, HOLDS, {"a:1": canary()}, ["http://f:1"], least=LEAST)

    assert (found.ok, found.looked) == (True, False)
    assert "http://f:1 does not answer; a:2 was not looked at, no canary is known" in found.said


def test_an_agent_of_a_pool_that_holds_nobody_is_not_asked_for_a_canary() -> None:
    found = judge.limits(GROUP, {"a:1": True, "a:2": False}, {"a:1": canary()}, least=1)

    assert (found.ok, found.looked) == (True, True)


def test_agents_that_say_they_hold_nobody_fail_where_they_are_declared_to() -> None:
    none = judge.limits(GROUP, {"a:1": False, "a:2": False}, {}, least=LEAST)

    assert not none.ok
    assert none.said == (
        "0 of 2 blue agents say that they hold tasks to their share, 2 are declared to: a:1, a:2 "
        "say otherwise, see their flags"
    )
    few = judge.limits(GROUP, {"a:1": True, "a:2": False}, {"a:1": canary()}, least=LEAST)
    assert "1 of 2 blue agents say" in few.said
    # Who does not answer may hold them: that is no difference, and no agreement.
    unknown = judge.limits(GROUP, {"a:1": True, "a:2": None}, {"a:1": canary()}, least=LEAST)
    assert (unknown.ok, unknown.looked) == (True, False)


def test_what_nobody_looked_at_has_a_mark_of_its_own() -> None:
    text = io.StringIO()
    seen = judge.limits(GROUP, HOLDS, {"a:1": canary(), "a:2": canary()}, least=LEAST)
    unseen = judge.limits(GROUP, HOLDS, {}, least=LEAST)

    render.findings(Console(file=text, width=400), Findings((seen, unseen)))

    marks = [line.split()[0] for line in text.getvalue().splitlines()]
    assert marks == ["ok", "--"]
    assert Findings((seen, unseen)).failed is None
