"""The zxid up to which everything is applied, whatever overtakes what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine import status
from sync_engine.direction import Direction, Side
from sync_engine.report import DirectionStatus
from sync_engine.watermark import Watermark
from sync_engine.wire import ANY_VERSION, SetData
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(1, tmp_path, marker_interval_ms=50)
    try:
        made.start()
        made.come_to_rest()
        yield made
    finally:
        made.close()


def _way(world: World) -> DirectionStatus:
    assert world.engine is not None
    return status.gather(world.engine).directions[Direction.A_TO_B]


def test_nothing_is_known_before_the_first_event() -> None:
    assert Watermark().reach([], is_told=True) is None


def test_transaction_that_may_go_on_is_not_counted() -> None:
    mark = Watermark()
    mark.hear(7, is_alone=False)
    assert mark.reach([None], is_told=True) == 6
    mark.hear(9, is_alone=True)
    assert mark.reach([None], is_told=True) == 9


def test_oldest_change_under_way_holds_the_mark_back() -> None:
    mark = Watermark()
    mark.hear(20, is_alone=True)
    assert mark.reach([12, None, 15], is_told=True) == 11
    assert mark.reach([15], is_told=True) == 14
    assert mark.reach([None], is_told=True) == 20


@pytest.mark.parametrize(("pending", "is_told"), [([0], True), ([None], False)])
def test_mark_stands_still_while_nobody_knows_what_has_changed(
    pending: list[int | None], is_told: bool
) -> None:
    mark = Watermark()
    mark.hear(20, is_alone=True)
    assert mark.reach([None], is_told=True) == 20
    mark.hear(30, is_alone=True)
    assert mark.reach(pending, is_told=is_told) == 20
    assert mark.reach([None], is_told=True) == 30


def test_change_that_waits_is_not_passed_by_later_ones(world: World) -> None:
    a = Client(world.sides[Side.A], "client")
    lock = world.replicator.lock
    world.loop.run(lock.acquire())
    written = a.write(Create("/apps/x", b"1", WORLD_ALL))
    assert written is not None
    a.write(SetData("/apps/x", b"2", ANY_VERSION))
    world.pass_s(0.5)
    way = _way(world)
    # Markers have come and gone since.
    assert (way.zxid_heard or 0) > written.zxid
    assert way.zxid_applied == written.zxid - 1
    lock.release()
    world.come_to_rest()
    way = _way(world)
    assert way.zxid_applied is not None
    assert way.zxid_heard is not None
    assert written.zxid < way.zxid_applied <= way.zxid_heard


def test_lost_connection_holds_the_mark_until_it_is_made_up_for(world: World) -> None:
    a = Client(world.sides[Side.A], "client")
    before = _way(world).zxid_applied
    assert before is not None
    lock = world.replicator.lock
    world.loop.run(lock.acquire())
    for server in world.sides[Side.A].servers:
        world.network.cut(world.who, server)
    lost = a.write(Create("/apps/unheard", b"1", WORLD_ALL))
    assert lost is not None
    for _ in range(40):
        world.pass_s(0.05)
        assert (_way(world).zxid_applied or 0) < lost.zxid
    lock.release()
    world.come_to_rest()
    assert (_way(world).zxid_applied or 0) > lost.zxid
    assert world.sides[Side.B].copy("/other/apps/unheard") is not None


def test_engine_that_compares_is_not_said_to_have_applied_all(world: World) -> None:
    worker = world.replicator
    assert worker.oldest_pending() is None
    worker.request_comparison()
    assert worker.oldest_pending() == 0
    world.come_to_rest()
    assert worker.oldest_pending() is None
