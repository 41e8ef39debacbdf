"""What an engine does while an ensemble is away, and after it lost its sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine import status
from sync_engine.direction import Side
from sync_engine.errors import ConnectionLostError
from sync_engine.lane import Lane
from sync_engine.report import EngineState
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.rig import Rig, until_equal, worker
from tests.sync_engine.servers import Server, expire, start_all
from tests.waiting import until

Pair = tuple[Server, Server]


@pytest.fixture
def own_pair(tmp_path: Path) -> Iterator[Pair]:
    """Two servers of this test alone, which may kill them."""
    a, b = Server(tmp_path / "a"), Server(tmp_path / "b")
    with start_all(a, b):
        yield a, b


async def insist(lane: Lane, path: str) -> None:
    """Create a node, however often the connection breaks."""

    async def created() -> bool:
        try:
            if await lane.exists(path) is None:
                await lane.create(path, b"", WORLD_ALL)
        except ConnectionLostError:
            return False
        return True

    await until(created, f"the creation of {path}", 60)


@pytest.mark.long
@pytest.mark.parametrize("side", list(Side))
async def test_engine_stalls_while_a_side_is_away_and_then_catches_up(
    own_pair: Pair, tmp_path: Path, side: Side
) -> None:
    rig = Rig(own_pair, tmp_path)
    server = rig.servers[side]
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await insist(a, f"{rig.a}/before")
        await until_equal(rig, a, b)
        server.kill()
        if side is Side.B:
            for i in range(200):
                await insist(a, f"{rig.a}/n{i}")
        await until(lambda: status.gather(engine).state is EngineState.STALLED, "a stall")
        assert any(f"side {side.value}" in why for why in status.gather(engine).reasons)
        server.start()
        server.await_serving()
        await insist(a, f"{rig.a}/after")
        await until_equal(rig, a, b, 30)
        await until(lambda: status.gather(engine).state is EngineState.LIVE, "live", 30)
        assert (await engine.audit(30)).equal
        assert engine.conflicts.count == 0


async def test_engine_goes_on_after_its_sessions_expired(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await insist(a, f"{rig.a}/before")
        await until_equal(rig, a, b)
        for side, link in engine.links.items():
            for lane in (link.reader, link.writer):
                await expire(rig.servers[side].hosts, lane.saved)
        for i in range(50):
            await insist(a, f"{rig.a}/n{i}")
        await until_equal(rig, a, b, 30)
        assert engine.conflicts.count == 0
        assert not worker(engine, rig).subtree.counters.skipped


@pytest.mark.long
async def test_engine_ends_in_time_while_a_side_is_away(own_pair: Pair, tmp_path: Path) -> None:
    rig = Rig(own_pair, tmp_path)
    async with rig.lanes(), rig.process() as (process, _):
        own_pair[1].kill()
        process.terminate()
        assert await asyncio.to_thread(process.wait, 20) == 0
