"""Clients that take a lock while the engine does what must not happen under one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine.acl_fence import is_fenced
from sync_engine.direction import Side
from sync_engine.errors import EngineRefusedError
from sync_engine.flip import Flip
from sync_engine.wire import ANY_VERSION, Delete
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import ROOTS, SUBTREE, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An engine that has copied `/x`."""
    made = World(1, tmp_path)
    try:
        Client(made.sides[Side.A], "client").write(Create("/apps/x", b"1", WORLD_ALL))
        made.start()
        made.come_to_rest()
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("step", ["_equalise", "_check_zxids"])
def test_lock_that_is_taken_while_a_flip_goes_on_ends_it_and_leaves_no_fence(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    holder = Client(world.sides[Side.A], "holder")
    real = getattr(Flip, step)

    async def take_lock(self: Flip, *args: object) -> object:
        holder.write(Create("/apps/lock", b"", WORLD_ALL, ephemeral=True))
        return await real(self, *args)

    with monkeypatch.context() as patched:
        patched.setattr(Flip, step, take_lock)
        assert world.flip(Side.B) is None

    assert "saw /apps/lock on side a: stop its owner" in world.refusal
    assert world.owner is Side.A
    assert not world.is_fenced
    for path in ("/apps", "/apps/x"):
        copy = world.sides[Side.A].copy(path)
        assert copy is not None
        assert not is_fenced(copy.acl)
    holder.leave()
    assert world.flip(Side.B) is not None, world.refusal
    assert world.owner is Side.B


@pytest.mark.parametrize("side", Side)
def test_counters_are_not_padded_under_a_live_election(world: World, side: Side) -> None:
    assert world.engine is not None
    client, root = Client(world.sides[Side.A], "client"), ROOTS.root(side)
    # More than the member's own create makes up for.
    for _ in range(3):
        client.write(Create("/apps/y", b"", WORLD_ALL), Delete("/apps/y", ANY_VERSION))
    member = Client(world.sides[side], "member")
    member.write(Create(f"{root}/member", b"", WORLD_ALL, ephemeral=True))
    world.come_to_rest()

    before = _creates(world)
    with pytest.raises(EngineRefusedError, match=f"saw {root}/member on side {side.value}") as told:
        world.loop.run(world.engine.pad(SUBTREE, 30))

    assert told.value.type == "EphemeralsPresent"
    assert _creates(world) == before
    member.leave()
    world.come_to_rest()
    world.loop.run(world.engine.pad(SUBTREE, 30))
    assert _creates(world) > before


def _creates(world: World) -> int:
    copy = world.sides[Side.B].copy(ROOTS.b)
    assert copy is not None
    return copy.stat.creates
