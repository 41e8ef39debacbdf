"""Ephemerals that cannot be copied, more than are looked at in one go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine.direction import Side
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import World

# Several times as many as are looked at in one go; and as few that all of these may be among the
# first of them by chance as good as never.
_STUCK, _FREE = 1000, 20


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(1, tmp_path)
    made.rule = {"ephemerals": "own"}
    try:
        yield made
    finally:
        made.close()


def test_ephemerals_that_cannot_be_copied_keep_no_others_waiting(world: World) -> None:
    member, other = (Client(world.sides[side], f"member-{side}") for side in Side)
    world.start()
    world.come_to_rest()
    for number in range(_STUCK):
        name = f"stuck-{number}x"
        other.write(Create(f"/other/apps/{name}", b"", WORLD_ALL, ephemeral=True))
        member.write(Create(f"/apps/{name}", b"1", WORLD_ALL, ephemeral=True))
    free = [f"free-{number}x" for number in range(_FREE)]
    for name in free:
        member.write(Create(f"/apps/{name}", b"1", WORLD_ALL, ephemeral=True))

    b = world.sides[Side.B]
    world.until(lambda: all(b.copy(f"/other/apps/{name}") for name in free), "their copies", 5)

    # What stood in the way is gone: each of them has its turn.
    other.leave()
    copies = [f"/other/apps/stuck-{number}x" for number in range(_STUCK)]
    world.until(lambda: all(b.copy(path) for path in copies), "the other copies", 20)
