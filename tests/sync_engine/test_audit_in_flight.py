"""Audits of paths that change all the time: the real engine between ensembles in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine.direction import Side
from sync_engine.errors import EngineBusyError
from sync_engine.report import AuditReport
from sync_engine.wire import ANY_VERSION, SetData
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Client
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import World

_HOT = ("/apps/hot", "/apps/warm")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(1, tmp_path)
    try:
        client = Client(made.sides[Side.A], "client")
        for path in ("/apps/calm", *_HOT):
            client.write(Create(path, b"", WORLD_ALL))
        made.come_to_rest()
        yield made
    finally:
        made.close()


def audit_under_traffic(world: World, timeout_s: float) -> AuditReport:
    """Each hot path is written every few ms, which is less than a change takes to be copied."""
    engine, client = world.engine, Client(world.sides[Side.A], "busy")
    assert engine is not None

    async def write() -> None:
        number = 0
        while True:
            number += 1
            for path in _HOT:
                client.write(SetData(path, b"%d" % number, ANY_VERSION))
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


def test_path_that_is_not_copied_is_never_equal_and_is_named(world: World) -> None:
    # Nothing is applied meanwhile.
    lock = world.replicator.lock
    world.loop.run(lock.__aenter__())
    try:
        with pytest.raises(EngineBusyError, match="2 paths change, as /apps/hot, /apps/warm"):
            audit_under_traffic(world, 5)
    finally:
        world.loop.run(lock.__aexit__(None, None, None))
