"""Audits of paths that change all the time: the real engine between ensembles in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from sync_engine.direction import Side
from sync_engine.errors import EngineBusyError
from sync_engine.report import AuditReport
from sync_engine.wire import ANY_VERSION, SetData
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import ROOTS, SUBTREE, World

_HOT = ("/hot", "/warm")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(1, tmp_path)
    try:
        client = Client(made.sides[Side.A], "client")
        for rel in ("/calm", *_HOT):
            client.write(Create(ROOTS.path(Side.A, rel), b"", WORLD_ALL))
        made.come_to_rest()
        yield made
    finally:
        made.close()


def audit_under_traffic(
    world: World, timeout_s: float, sides: Sequence[Side] = (Side.A,)
) -> AuditReport:
    """Each hot path is written every few ms, which is less than a change takes to be copied."""
    engine = world.engine
    clients = {side: Client(world.sides[side], f"busy-{side}") for side in sides}
    assert engine is not None

    async def write() -> None:
        number = 0
        while True:
            number += 1
            for side, client in clients.items():
                for rel in _HOT:
                    data = b"%s %d" % (side.value.encode(), number)
                    client.write(SetData(ROOTS.path(side, rel), data, ANY_VERSION))
            await asyncio.sleep(0.002)

    async def run() -> AuditReport:
        writer = asyncio.create_task(write())
        try:
            return await engine.audit(timeout_s)
        finally:
            writer.cancel()
            await asyncio.wait({writer})

    return world.loop.run(run())


@pytest.mark.parametrize("at_once", [2_000, 1])
def test_path_that_is_written_more_often_than_the_lag_is_equal(
    world: World, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("sync_engine.audit._REREAD_MAX", at_once)
    report = audit_under_traffic(world, 20)
    assert report.equal, report
    assert report.subtrees["apps"].reread == len(_HOT)


@contextmanager
def nothing_applied(world: World) -> Generator[None]:
    lock = world.replicator.lock
    world.loop.run(lock.__aenter__())
    try:
        yield
    finally:
        world.loop.run(lock.__aexit__(None, None, None))


def test_path_that_is_not_copied_differs_however_often_it_is_written(world: World) -> None:
    with nothing_applied(world):
        report = audit_under_traffic(world, 5)
    assert not report.equal
    found = [(each.path, each.kind) for each in report.subtrees[SUBTREE].differences]
    assert found == [("/apps/hot", "data"), ("/apps/warm", "data")]


def test_paths_that_change_on_both_sides_all_the_time_are_named(world: World) -> None:
    with (
        nothing_applied(world),
        pytest.raises(EngineBusyError, match="2 paths change, as /apps/hot, /apps/warm"),
    ):
        audit_under_traffic(world, 5, tuple(Side))
