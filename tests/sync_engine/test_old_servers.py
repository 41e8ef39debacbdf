"""Servers without persistent watches: the engine scans, says so, and still converges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine import status
from sync_engine.client import EngineState
from sync_engine.znode import PERM_ALL, PERM_READ, WORLD_ALL, Acl
from tests.sync_engine.rig import Rig, until_equal
from tests.sync_engine.servers import Server, start_all

_MANAGER = "org.apache.zookeeper.server.watch.WatchManagerOptimized"
_RESTRICTED = (Acl(PERM_ALL, "digest", "user:hash="), Acl(PERM_READ, "world", "anyone"))


@pytest.fixture(scope="module")
def old_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Side a knows no persistent watches, side b does."""
    a = Server(
        tmp_path_factory.mktemp("old"), java_options=f"-Dzookeeper.watchManagerName={_MANAGER}"
    )
    b = Server(tmp_path_factory.mktemp("new"))
    with start_all(a, b):
        yield a, b


async def test_changes_are_found_by_scans(old_pair: tuple[Server, Server], tmp_path: Path) -> None:
    rig = Rig(old_pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine():
        await a.create(f"{rig.a}/x", b"1", WORLD_ALL)
        await a.create(f"{rig.a}/x/y", b"2", WORLD_ALL)
        await until_equal(rig, a, b)
        await a.set_data(f"{rig.a}/x", None, -1)
        await a.set_acl(f"{rig.a}/x", _RESTRICTED, -1)
        await a.delete(f"{rig.a}/x/y", -1)
        await until_equal(rig, a, b)
        await a.delete(f"{rig.a}/x", -1)
        await until_equal(rig, a, b)


async def test_the_status_says_that_a_side_is_scanned(
    old_pair: tuple[Server, Server], tmp_path: Path
) -> None:
    rig = Rig(old_pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await a.create(f"{rig.a}/x", b"1", WORLD_ALL)
        await until_equal(rig, a, b)
        found = status.gather(engine)
        assert found.state is EngineState.DEGRADED
        assert any("side a has no persistent watches" in why for why in found.reasons)
