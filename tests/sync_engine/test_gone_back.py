"""A side that is restored from an older copy while its connections are lost: no write of the engine
hides it, though the zxids of the restored side tell nothing."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sync_engine import documents, opening
from sync_engine.direction import Direction, Side
from sync_engine.engine import Engine
from sync_engine.errors import UnprovenError
from sync_engine.link import Link
from sync_engine.report import EngineState
from sync_engine.status import gather
from sync_engine.wire import ANY_VERSION, Delete, SetData
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create, Tree
from tests.sync_engine.memory.world import ROOTS, World

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


def test_marker_that_somebody_deletes_is_written_again(world: World) -> None:
    world.come_to_rest()
    path = documents.marker_path(Direction.A_TO_B)
    before = _engine(world).probes[Direction.A_TO_B].last_zxid
    Client(world.sides[Side.A], "operator").write(Delete(path, ANY_VERSION))
    world.pass_s(_MARKERS_S)
    assert world.sides[Side.A].copy(path) is not None
    assert _engine(world).probes[Direction.A_TO_B].last_zxid > before
    _lose(world, Side.A)
    world.sides[Side.A].start()
    world.pass_s(_AWAY_S)
    assert gather(_engine(world)).state is EngineState.LIVE


def test_marker_that_cannot_be_written_is_told(world: World) -> None:
    world.come_to_rest()
    client = Client(world.sides[Side.A], "operator")
    for direction in Direction:
        client.write(Delete(documents.marker_path(direction), ANY_VERSION))
    client.write(Delete(documents.MARKERS, ANY_VERSION))
    world.until(lambda: gather(_engine(world)).state is EngineState.DEGRADED, "it is told")
    assert "markers of a_to_b cannot be written" in " ".join(gather(_engine(world)).reasons)
    client.write(Create(documents.MARKERS, b"", WORLD_ALL))
    world.until(lambda: gather(_engine(world)).state is EngineState.LIVE, "it is over")


@pytest.mark.parametrize("is_deleted", [False, True])
def test_epoch_that_is_changed_by_hand_is_mended_by_a_start_anew(
    world: World, is_deleted: bool
) -> None:
    client = Client(world.sides[Side.A], "client")
    client.write(Create("/apps/x", b"1", WORLD_ALL))
    world.come_to_rest()
    world.stop()
    world.start()
    world.come_to_rest()
    epoch = _engine(world).fence.epoch
    if is_deleted:
        client.write(Delete(documents.EPOCH, ANY_VERSION))
    else:
        other = documents.Epoch(epoch=epoch - 1, holder="nobody").encode()
        client.write(SetData(documents.EPOCH, other, ANY_VERSION))
    client.write(SetData("/apps/x", b"2", ANY_VERSION))
    world.until(lambda: _engine(world).fence.epoch > epoch, "a start anew")
    world.come_to_rest()
    copied = world.sides[Side.B].copy(ROOTS.path(Side.B, "/x"))
    assert copied is not None
    assert copied.data == b"2"
    assert gather(_engine(world)).state is EngineState.LIVE
