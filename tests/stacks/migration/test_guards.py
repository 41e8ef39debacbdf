"""Guards and acts on a world of plain values: what they refuse, and what they say of it."""

from __future__ import annotations

from typing import Any

import pytest

from clients.marathon.model import App, Deployment
from clients.mesos.model import (
    Agents,
    Frameworks,
    Machine,
    MaintenanceSchedule,
    Quota,
    State,
    Tasks,
    Window,
)
from stacks.agents import NodeAgents
from stacks.migration.acts.registry import carry
from stacks.migration.guards.agents import clocks_agree
from stacks.migration.guards.frameworks import (
    apps_movable,
    movers_known,
    movers_known_back,
    no_deployment,
)
from stacks.migration.guards.masters import access_equal
from stacks.migration.world import World
from stacks.topology import Color
from tests.stacks.migration.fake_masters import (
    BLUE,
    GREEN,
    SITUATION,
    Masters,
    agent,
    framework,
    listed,
    task,
    world_of,
)

M1, M2 = Machine("one", "10.0.0.1"), Machine("two", "10.0.0.2")


def schedule_of(*machines: Machine) -> MaintenanceSchedule:
    return (
        MaintenanceSchedule((Window(machines, start_ns=1),)) if machines else MaintenanceSchedule()
    )


@pytest.mark.parametrize(
    ("offsets", "ok", "words"),
    [
        ({"a:1": 0.4, "b:1": -0.6}, True, "2 of 2 servers"),
        ({"a:1": 0.4, "b:1": None}, True, "1 of 2 servers"),
        ({"a:1": 0.4, "b:1": -9.0}, False, "b:1 by -9.0 s"),
    ],
)
async def test_a_clock_that_is_off_is_named(
    offsets: dict[str, float | None], ok: bool, words: str
) -> None:
    async def offset(address: str) -> float | None:
        return offsets[address]

    world = world_of(
        Masters(("a:1",)),
        Masters(()),
        clock_offset_s=offset,
        agents=listed(blue=("b:1",)),
    )
    found = await clocks_agree(world, SITUATION)
    assert found.ok is ok
    assert words in found.said


async def test_agents_that_no_declaration_knows_are_asked_where_they_registered() -> None:
    asked: list[str] = []

    async def offset(address: str) -> float:
        asked.append(address)
        return 0.0

    masters = Masters(("a:1",))
    masters.known = Agents((agent(1, "10.0.0.2:5051"),), ())

    def agents(color: Color) -> NodeAgents:
        del color
        return NodeAgents(5051, (31000, 31499), 1)

    world = world_of(masters, Masters(()), agents=agents, clock_offset_s=offset)

    assert (await clocks_agree(world, SITUATION)).ok
    assert asked == ["a:1", "10.0.0.2:5051"]


async def test_masters_that_ask_for_another_credential_are_named() -> None:
    asks = {"authenticate_agents": "true", "credentials": "file:///etc/blue", "quorum": "2"}
    same = {"authenticate_agents": "true", "credentials": "file:///etc/green", "quorum": "1"}
    green = Masters(("g:1", "g:2"), {"g:1": same, "g:2": same})
    world = world_of(Masters(("b:1",), {"b:1": asks}), green)
    assert (await access_equal(world, SITUATION)).ok, "paths and sizes of groups may differ"
    green.flags_of["g:2"] = {**same, "authenticate_agents": "false"}
    found = await access_equal(world, SITUATION)
    assert not found.ok
    assert "g:2 has --authenticate_agents=false, the source true" in found.said
    green.flags_of["g:2"] = {"authenticate_agents": "true"}
    assert "--credentials=None" in (await access_equal(world, SITUATION)).said


@pytest.mark.parametrize(
    ("consents", "ok"), [((), False), (("batch",), True), (("another",), False)]
)
async def test_a_framework_that_nobody_moves_needs_consent(
    consents: tuple[str, ...], ok: bool
) -> None:
    state = State(
        Agents((agent(1, "s:1"), agent(2, "t:1")), ()),
        Tasks((task("x", "sample", 1), task("y", "batch", 1), task("z", "other", 2)), (), ()),
        Frameworks((framework("sample"), framework("batch"), framework("other")), ()),
    )
    world = world_of(
        Masters(("b:1",), cluster=state),
        Masters(("g:1",)),
        consents=consents,
        agents=listed(blue=("s:1",), green=("t:1",)),
        frameworks=lambda: {"sample": "http://x"},
        has_marathon=False,
    )
    found = await movers_known(world, SITUATION)
    assert found.ok is ok, found.said
    assert found.numbers == {"sample": 1, "batch": 1}
    if not ok:
        assert "drain_consents" in found.said
    back = await movers_known_back(world, SITUATION)
    assert not back.ok
    assert "other" in back.said


class Marathon:
    """Apps and deployments that a client would read."""

    def __init__(self, *apps: App, deployments: tuple[Deployment, ...] = ()) -> None:
        self._apps, self._deployments = apps, deployments

    async def apps(self) -> tuple[App, ...]:
        return self._apps

    async def deployments(self) -> tuple[Deployment, ...]:
        return self._deployments


def with_marathon(marathon: Marathon, *, consents: tuple[str, ...] = ()) -> World:
    async def client() -> Marathon:
        return marathon

    async def consented() -> frozenset[str]:
        return frozenset(consents)

    return world_of(
        Masters(("b:1",)),
        Masters(("g:1",)),
        has_marathon=True,
        marathon=client,
        app_consents=consented,
    )


def app(name: str, **definition: Any) -> App:
    return App(name, {"instances": 2, **definition}, 2, "v", 0, 2, 2, 0, ())


@pytest.mark.parametrize(
    ("consents", "ok"), [((), False), (("/one",), False), (("/one", "/unique"), True)]
)
async def test_an_app_that_something_speaks_against_is_moved_by_consent_only(
    consents: tuple[str, ...], ok: bool
) -> None:
    marathon = Marathon(
        app("/plain"),
        app("/one", instances=1),
        app("/unique", constraints=[["hostname", "UNIQUE"]]),
    )
    found = await apps_movable(with_marathon(marathon, consents=consents), SITUATION)
    assert found.ok is ok, found.said
    assert set(found.numbers) == {"/one", "/unique"}
    if not ok:
        assert "/unique wants hostname UNIQUE" in found.said
        assert "app_consents" in found.said


async def test_a_deployment_that_runs_is_named() -> None:
    running = Deployment("d1", "v", ("/plain",), (), 1, 2)
    found = await no_deployment(with_marathon(Marathon(deployments=(running,))), SITUATION)
    assert not found.ok
    assert "d1 of /plain" in found.said
    assert (await no_deployment(with_marathon(Marathon()), SITUATION)).ok


@pytest.mark.parametrize(
    ("wanted_down", "seen_down"), [((M1,), ()), ((), (M1,)), ((M2,), (M1,)), ((M1, M2), (M1,))]
)
async def test_machines_that_are_down_are_carried_in_an_order_that_masters_take(
    wanted_down: tuple[Machine, ...], seen_down: tuple[Machine, ...]
) -> None:
    blue = Masters(("b:1",), schedule=schedule_of(*wanted_down), down=wanted_down)
    green = Masters(("g:1",), schedule=schedule_of(*seen_down), down=seen_down)
    blue.kept_quota = {"batch": Quota("batch", limits={"cpus": 4.0})}
    found = await carry(world_of(blue, green), BLUE, GREEN, lambda _: None)
    assert found.ok, found.said
    assert set(green.down) == set(wanted_down)
    assert green.schedule == blue.schedule
    assert green.kept_quota == blue.kept_quota
