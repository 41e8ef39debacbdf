"""A side that is restored from an older copy while its connections are lost: no write of the engine
hides it, though the zxids of the restored side tell nothing."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sync_engine import opening
from sync_engine.direction import Direction, Side
from sync_engine.engine import Engine
from sync_engine.errors import UnprovenError
from sync_engine.link import Link
from tests.sync_engine.memory.tree import Tree
from tests.sync_engine.memory.world import World

_MARKERS_S = 1.0
_AWAY_S = 2.0
_LONG_S = 60.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(1, tmp_path, marker_interval_ms=250)
    try:
        yield made
    finally:
        made.close()


def _engine(world: World) -> Engine:
    assert world.engine is not None
    return world.engine


def _snapshot(world: World, side: Side) -> Tree:
    """A copy of a side, to which the engine has written since."""
    made = copy.deepcopy(world.sides[side].tree)
    world.pass_s(_MARKERS_S)
    return made


def _lose(world: World, side: Side) -> None:
    world.sides[side].stop()
    world.until(_engine(world).links[side].lost.is_set, "a lost connection")


def _await_held(world: World) -> None:
    world.until(lambda: _engine(world).held_reasons, "a held start")
    assert "side a went back" in _engine(world).held_reasons[0]


def test_epoch_that_is_raised_while_a_side_is_away_does_not_hide_that_it_went_back(
    world: World,
) -> None:
    world.come_to_rest()
    snapshot = _snapshot(world, Side.A)
    _lose(world, Side.A)
    raising = world.loop.create_task(_engine(world).fence.raise_epoch())
    world.pass_s(0.1)
    world.sides[Side.A].restore(snapshot)
    _await_held(world)
    assert isinstance(raising.exception(), UnprovenError)


def test_side_that_goes_back_while_the_other_is_away_for_long_is_noticed(world: World) -> None:
    world.come_to_rest()
    world.sides[Side.B].stop()
    # By far more markers than are waited for.
    world.pass_s(_LONG_S)
    snapshot = _snapshot(world, Side.A)
    lag = _engine(world).probes[Direction.leaving(Side.A)].oldest_ms()
    assert lag is not None
    assert lag > _LONG_S * 1000
    _lose(world, Side.A)
    world.sides[Side.A].restore(snapshot)
    world.pass_s(_AWAY_S)
    world.sides[Side.B].start()
    _await_held(world)


def test_fence_that_is_taken_after_a_side_was_away_does_not_hide_that_it_went_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.come_to_rest()
    snapshot = _snapshot(world, Side.A)
    world.stop()
    real = opening.prepare

    async def prepare(links: Mapping[Side, Link]) -> None:
        await real(links)
        # The start has looked at both sides, and is about to take the fence.
        world.sides[Side.A].restore(snapshot)
        await asyncio.sleep(_AWAY_S)

    with monkeypatch.context() as patched:
        patched.setattr(opening, "prepare", prepare)
        world.start()
        world.until(lambda: _engine(world).links[Side.A].generation, "a lost connection")
    _await_held(world)
