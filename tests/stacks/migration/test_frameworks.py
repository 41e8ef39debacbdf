"""Frameworks that are none of the stack's: an inventory knows them, and they are missed."""

from __future__ import annotations

from typing import Any

import pytest

from clients.mesos.model import Agents, Framework, Frameworks, State, Tasks
from stacks.migration import journal
from stacks.migration.acts.agents import TAKEN, TAKEN_AT_REST, take_inventory_at_rest
from stacks.migration.acts.frameworks import await_frameworks_on_target
from stacks.migration.errors import ActFailedError
from stacks.migration.executor import Situation
from stacks.migration.guards.frameworks import frameworks_on_target
from stacks.migration.journal import Kind, Outcome, Record
from stacks.migration.phases import Direction
from stacks.migration.planner import walk
from stacks.migration.readers import InventoriedAgent, InventoriedFramework, Inventory
from stacks.migration.world import World
from stacks.topology import Position, Standing
from tests.stacks.migration.fake_masters import Masters, agent, framework, listed, world_of

HERS = InventoriedFramework("id-hers", "hers", subscribed=True)
GONE = InventoriedFramework("id-gone", "gone", subscribed=False)
AGENTS = (InventoriedAgent("agent-1", "s:1", deactivated=False),)
AWAY: dict[str, Any] = {"connected": False, "active": False}


def taken(*frameworks: InventoriedFramework, edge: int = 2, name: str = TAKEN) -> Record:
    inventory = Inventory(AGENTS, frameworks=frameworks).as_dict()
    return Record(
        Kind.STEP_ENDED, 1.0, "m", "t", str(edge), name=name, edge=edge, direction="forward",
        outcome=Outcome.OK, evidence={"inventory": inventory},
    )  # fmt: skip


def walking(edge: int, *records: Record) -> Situation:
    position = Position(edge)
    transition = walk(edge, Direction.FORWARD, position)
    return Situation(Standing(position=position), transition, journal.tell(records), "m")


def state(*registered: Framework, completed: tuple[Framework, ...] = ()) -> State:
    return State(
        Agents((agent(1, "s:1"),), ()), Tasks((), (), ()), Frameworks(registered, completed)
    )


def target_with(*registered: Framework, completed: tuple[Framework, ...] = ()) -> World:
    return world_of(
        Masters(("b:1",)),
        Masters(("g:1",), cluster=state(*registered, completed=completed)),
        frameworks=dict,
        has_marathon=False,
    )


@pytest.mark.parametrize(
    ("registered", "ok"),
    [
        ((framework("hers"),), True),
        ((), False),
        ((framework("hers", **AWAY),), False),
        ((framework("hers", active=False),), False),
        ((framework("hers", id="another"),), False),
    ],
)
async def test_a_framework_that_did_not_come_along_is_missed_by_the_guard_and_the_act(
    registered: tuple[Framework, ...], ok: bool
) -> None:
    world = target_with(*registered)
    situation = walking(2, taken(HERS, GONE))

    found = await frameworks_on_target(world, situation)

    assert found.ok is ok, found.said
    if ok:
        assert (await await_frameworks_on_target(world, situation, lambda _: None)).failed is None
        return
    assert "hers (id-hers)" in found.said
    assert "gone" not in found.said
    with pytest.raises(ActFailedError, match="hers"):
        await await_frameworks_on_target(world, situation, lambda _: None)


async def test_a_framework_that_ended_of_itself_is_not_missed() -> None:
    world = target_with(completed=(framework("hers", **AWAY),))

    assert (await frameworks_on_target(world, walking(2, taken(HERS)))).ok


async def test_before_the_sources_ensemble_goes_frameworks_of_the_last_inventory_are_missed() -> (
    None
):
    situation = walking(5, taken(HERS, edge=4))

    assert not (await frameworks_on_target(target_with(), situation)).ok
    assert (await frameworks_on_target(target_with(framework("hers")), situation)).ok


async def test_who_was_subscribed_before_frameworks_stood_still_counts_as_subscribed() -> None:
    sample = InventoriedFramework("id-sample", "sample", subscribed=True)
    world = world_of(
        Masters(
            ("b:1",),
            cluster=state(
                framework("sample", **AWAY), framework("gone", **AWAY), framework("hers")
            ),
        ),
        Masters(("g:1",)),
        agents=listed(blue=("s:1",)),
    )
    ended = InventoriedFramework("id-ended", "ended", subscribed=True)
    situation = walking(2, taken(sample, GONE, ended))

    found = await take_inventory_at_rest(world, situation, lambda _: None)

    assert set(Inventory.from_dict(found.numbers["inventory"]).frameworks) == {sample, GONE, HERS}


def test_of_two_frameworks_with_one_name_the_subscribed_one_is_meant() -> None:
    old = InventoriedFramework("id-old", "hers", subscribed=False)
    for frameworks in ((HERS, old), (old, HERS)):
        assert Inventory(frameworks=frameworks).framework_ids == {"hers": "id-hers"}


def test_a_journal_that_does_not_say_who_was_subscribed_is_read() -> None:
    told: dict[str, Any] = {"agents": [], "tasks": [], "frameworks": {"hers": "id-hers"}}

    read = Inventory.from_dict(told)

    assert read.framework_ids == {"hers": "id-hers"}
    assert read.unsubscribed_in(Frameworks((), ())) == []


def test_an_inventory_is_read_as_it_was_written() -> None:
    record = taken(HERS, GONE, name=TAKEN_AT_REST)

    assert Inventory.from_dict(record.evidence["inventory"]).frameworks == (HERS, GONE)
