"""Engines that are held up between two steps while another one takes over."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sync_engine import opening, replicator
from sync_engine.base import BaseStore
from sync_engine.direction import Side
from sync_engine.errors import FencedError
from sync_engine.fence import Fence
from sync_engine.wire import ANY_VERSION, Delete
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import ROOTS, World

_START_S = 10.0


def _start_and_hold_up(
    world: World, monkeypatch: pytest.MonkeyPatch, module: object, step: str
) -> None:
    """Start an engine that is stopped, as by SIGSTOP, right before a step of its own."""
    real = getattr(module, step)

    async def held_up(*args: Any, **options: Any) -> Any:
        world.network.pause(world.who)
        return await real(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, step, held_up)
        world.start()
        world.until(lambda: world.network.paused, step)


def test_engine_that_is_overtaken_before_it_names_the_pair_leaves_the_next_ones_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Client(world.sides[Side.A], "client").write(Create("/apps/x", b"1", WORLD_ALL))
    _start_and_hold_up(world, monkeypatch, opening, "identify")

    assert world.overtake(0)

    assert world.engine is not None
    for side, ensemble in world.sides.items():
        identity = ensemble.copy("/.zksync/identity")
        assert identity is not None
        assert json.loads(identity.data or b"") == {
            "pair": world.engine.store.meta("pair"),
            "side": side.value,
        }
        assert ensemble.copy("/.zksync/subtrees/apps") is not None
        assert ensemble.copy("/.zksync/slots/apps/0") is not None
    world.come_to_rest()
    assert world.sides[Side.B].copy("/other/apps/x") is not None


def test_engine_that_is_overtaken_before_it_takes_the_fence_goes_on_with_the_next_ones_pair(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Client(world.sides[Side.A], "client").write(Create("/apps/x", b"1", WORLD_ALL))
    _start_and_hold_up(world, monkeypatch, Fence, "take")
    first = world.engine
    assert first is not None

    # It saw two new sides, and takes the fence after the next one has made them a pair.
    with pytest.raises(FencedError):
        world.overtake(0)
    world.loop.run(asyncio.sleep(_START_S))

    assert first.is_started
    pair = BaseStore.snapshot(world.state_dir / "base.sqlite").meta("pair")
    assert first.store.meta("pair") == pair
    for side, ensemble in world.sides.items():
        identity = ensemble.copy("/.zksync/identity")
        assert identity is not None
        assert json.loads(identity.data or b"") == {"pair": pair, "side": side.value}
    slots = [world.sides[Side.B].copy(f"/.zksync/slots/apps/{number}") for number in range(4)]
    assert any(slot is not None and slot.data for slot in slots)


def test_engine_that_is_overtaken_before_it_makes_the_roots_parents_writes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _start_and_hold_up(world, monkeypatch, replicator, "ensure_above")
    # The next engine finds nothing to copy, so the parent is nobody's to make.
    Client(world.sides[Side.A], "client").write(Delete(ROOTS.a, ANY_VERSION))

    assert world.overtake(0)

    assert world.sides[Side.B].copy("/other") is None
