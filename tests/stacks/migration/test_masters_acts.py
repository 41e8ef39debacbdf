"""Runners that are killed between a master's stop and its start, and what the next one does."""

from __future__ import annotations

import pytest

from clients.mesos.model import Quota
from stacks.migration import readers
from stacks.migration.acts.election import LOWEST_NUMBER_MIN, raise_election_numbers
from stacks.migration.acts.masters import (
    PROJECT,
    RESET,
    await_source_masters,
    has_led,
    reset_target_masters,
)
from stacks.migration.acts.registry import return_registry
from stacks.topology import Color
from tests.stacks.migration.fake_group import Group, situation, world_around
from tests.stacks.migration.fake_masters import Masters, world_of
from tests.stacks.migration.fake_world import KilledError


def say_nothing(_: str) -> None:
    """For acts that nobody listens to."""


@pytest.fixture
def blue(monkeypatch: pytest.MonkeyPatch) -> Group:
    return make(Color.BLUE, monkeypatch)


def make(color: Color, monkeypatch: pytest.MonkeyPatch) -> Group:
    group = Group(color)
    monkeypatch.setattr(readers, "candidates", group.candidates)
    return group


async def orders_of_a_reset(monkeypatch: pytest.MonkeyPatch) -> int:
    group = make(Color.GREEN, monkeypatch)
    await reset_target_masters(world_around(group), situation(1), say_nothing)
    return group.orders


async def orders_of_a_raise(monkeypatch: pytest.MonkeyPatch) -> int:
    group = make(Color.BLUE, monkeypatch)
    await raise_election_numbers(world_around(group), situation(1), say_nothing)
    return group.orders


async def test_masters_whose_reset_was_cut_short_anywhere_forget_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(1, await orders_of_a_reset(monkeypatch) + 1):
        group = make(Color.GREEN, monkeypatch)
        group.kill_at = number
        world = world_around(group)
        with pytest.raises(KilledError):
            await reset_target_masters(world, situation(1), say_nothing)

        await reset_target_masters(world, situation(2), say_nothing)

        assert set(group.numbers) == {0, 1, 2}, f"killed at order {number}"
        assert not await has_led(world, Color.GREEN), f"killed at order {number}"


async def test_masters_that_led_nobody_are_not_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    group = make(Color.GREEN, monkeypatch)
    group.knows.clear()

    found = await reset_target_masters(world_around(group), situation(1), say_nothing)

    assert "skipped" in found.numbers
    assert group.numbers == {0: 0, 1: 1, 2: 2}


async def test_masters_that_led_agents_which_they_no_longer_list_forget_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = make(Color.GREEN, monkeypatch)
    group.lists = False

    await reset_target_masters(world_around(group), situation(1, PROJECT), say_nothing)
    assert not group.knows

    found = await reset_target_masters(
        world_around(group), situation(1, PROJECT, RESET), say_nothing
    )
    assert "skipped" in found.numbers


@pytest.mark.parametrize(
    ("done", "is_returned"), [((PROJECT,), True), ((), False), ((PROJECT, RESET), False)]
)
async def test_a_registry_is_returned_though_its_agents_left_long_ago(
    done: tuple[str, ...], is_returned: bool
) -> None:
    green = Masters(("g:1",), kept_quota={"batch": Quota("batch", limits={"cpus": 4.0})})
    blue = Masters(("b:1",))

    await return_registry(world_of(blue, green), situation(1, *done), say_nothing)

    assert bool(blue.kept_quota) is is_returned


async def test_a_master_that_is_down_is_started_before_the_target_is_asked_whether_it_led(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = make(Color.GREEN, monkeypatch)
    group.numbers = {2: 2}  # No quorum: nobody could tell.

    await reset_target_masters(world_around(group), situation(1), say_nothing)

    assert set(group.numbers) == {0, 1, 2}
    assert not group.knows


async def test_election_numbers_that_a_killed_runner_was_raising_are_raised_with_every_master(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(1, await orders_of_a_raise(monkeypatch) + 1):
        group = make(Color.BLUE, monkeypatch)
        group.kill_at = number
        world = world_around(group)
        with pytest.raises(KilledError):
            await raise_election_numbers(world, situation(1), say_nothing)

        await raise_election_numbers(world, situation(2), say_nothing)

        assert set(group.numbers) == {0, 1, 2}, f"killed at order {number}"
        assert min(group.numbers.values()) >= LOWEST_NUMBER_MIN


async def test_the_way_back_starts_a_master_that_the_way_forward_left_down(blue: Group) -> None:
    del blue.numbers[1]

    found = await await_source_masters(world_around(blue), situation(1), say_nothing)

    assert found.failed is None
    assert set(blue.numbers) == {0, 1, 2}
