"""Requests that servers may have refused for their size, told from those that were unlucky."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine.direction import Side
from sync_engine.lane import Lane
from sync_engine.oversize import FrameLimit
from sync_engine.wire import ANY_VERSION, OpCode, SetData
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.faults import Fate
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import World
from tests.sync_engine.servers import Server, start_all

_LIMIT = 300_000
_MULTI = frozenset({OpCode.MULTI})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(1, tmp_path)
    try:
        made.start()
        made.come_to_rest()
        yield made
    finally:
        made.close()


def _skipped(world: World) -> dict[str, str]:
    return world.replicator.subtree.counters.skipped


def test_large_znode_whose_connection_is_lost_again_and_again_is_not_put_aside(
    world: World,
) -> None:
    a, b = Client(world.sides[Side.A], "client"), world.sides[Side.B]
    for _ in range(6):
        b.faults.arm(Fate.LOST_BEFORE, codes=_MULTI)
    a.write(Create("/apps/large", bytes(200_000), WORLD_ALL))
    seen: set[str] = set()
    for _ in range(200):
        world.pass_s(0.05)
        seen |= set(_skipped(world))
    assert not b.faults.is_armed
    assert b.copy("/other/apps/large") is not None
    assert not seen


def test_znode_that_servers_refuse_is_put_aside_until_they_have_room(world: World) -> None:
    a, b = Client(world.sides[Side.A], "client"), world.sides[Side.B]
    b.frame_bytes_max = _LIMIT
    a.write(
        *(Create(f"/apps/small{number}", b"1", WORLD_ALL) for number in range(20)),
        Create("/apps/large", bytes(400_000), WORLD_ALL),
        *(Create(f"/apps/{number}small", b"1", WORLD_ALL) for number in range(20)),
    )
    world.pass_s(5)
    assert _skipped(world) == {"/large": "too-large-for-the-other-side"}
    assert sum("small" in path for path in b.tree.nodes) == 40
    assert world.engine is not None
    lost = world.engine.links[Side.B].generation
    world.pass_s(200)
    # It costs no connection any more.
    assert world.engine.links[Side.B].generation == lost
    b.frame_bytes_max = 2 * _LIMIT
    world.pass_s(200)
    copy = b.copy("/other/apps/large")
    assert copy is not None
    assert len(copy.data or b"") == 400_000
    assert not _skipped(world)


def test_znode_that_shrinks_is_copied_at_once(world: World) -> None:
    a, b = Client(world.sides[Side.A], "client"), world.sides[Side.B]
    b.frame_bytes_max = _LIMIT
    a.write(Create("/apps/large", bytes(400_000), WORLD_ALL))
    world.pass_s(5)
    a.write(SetData("/apps/large", bytes(200_000), ANY_VERSION))
    world.pass_s(2)
    copy = b.copy("/other/apps/large")
    assert copy is not None
    assert len(copy.data or b"") == 200_000


def test_many_small_znodes_go_in_transactions_that_servers_take(tmp_path: Path) -> None:
    world = World(1, tmp_path)
    try:
        a, b = Client(world.sides[Side.A], "client"), world.sides[Side.B]
        b.frame_bytes_max = 100_000
        for number in range(1_500):
            a.write(Create(f"/apps/{number}", bytes(256), WORLD_ALL))
        world.start()
        world.come_to_rest()
        assert len(b.tree.nodes) > 1_500
        assert not _skipped(world)
    finally:
        world.close()


async def test_limit_of_a_real_server_is_found_out(tmp_path: Path) -> None:
    server = Server(tmp_path, java_options=f"-Djute.maxbuffer={_LIMIT}")
    with start_all(server):
        limit = FrameLimit(lambda: Lane(server.hosts, session_timeout_s=5))
        assert not await limit.measure(_LIMIT)
        assert not limit.is_known
        assert await limit.measure(_LIMIT + 1)
        assert await limit.refuses(_LIMIT + 1)
        assert not await limit.refuses(_LIMIT)
        assert await limit.measure(2 * _LIMIT)
    # Whoever does not answer has refused nothing.
    assert not await FrameLimit(lambda: Lane(server.hosts, session_timeout_s=5)).measure(_LIMIT)
