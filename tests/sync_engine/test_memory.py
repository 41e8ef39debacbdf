"""What servers in memory do that no real one can be made to do at will."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine.direction import Side
from sync_engine.errors import ConnectionLostError
from sync_engine.lane import Lane
from sync_engine.wire import ANY_VERSION, SetData
from sync_engine.znode import WORLD_ALL
from tests.robustness.history import writers
from tests.robustness.history.writers import Plan
from tests.sync_engine.memory.ensemble import Client, Ensemble
from tests.sync_engine.memory.faults import Fate
from tests.sync_engine.memory.loop import NothingLeftError, VirtualLoop
from tests.sync_engine.memory.network import Network
from tests.sync_engine.memory.tree import Create
from tests.sync_engine.memory.world import World


@pytest.fixture
def ensemble() -> Iterator[Ensemble]:
    made = Ensemble("m", VirtualLoop(1))
    Network(made.loop, [made])
    try:
        yield made
    finally:
        made.loop.discard()


async def _lane(ensemble: Ensemble) -> Lane:
    lane = Lane(f"{ensemble.servers[0].name}.me", session_timeout_s=5)
    await lane.start()
    return lane


def test_server_that_lags_is_read_old_until_a_sync(ensemble: Ensemble) -> None:
    async def scenario() -> None:
        lane = await _lane(ensemble)
        ensemble.servers[0].lag_s = 10
        client = Client(ensemble, "client")
        client.write(Create("/x", b"1", WORLD_ALL))
        assert await lane.exists("/x") is None
        await lane.sync("/x")
        assert (await lane.get("/x"))[0] == b"1"
        client.write(SetData("/x", b"2", ANY_VERSION))
        assert (await lane.get("/x"))[0] == b"1"
        # A write of its own brings the server up as well.
        await lane.create("/y", b"", WORLD_ALL)
        assert (await lane.get("/x"))[0] == b"2"
        await lane.close()

    ensemble.loop.run(scenario())


@pytest.mark.parametrize(("fate", "is_there"), [(Fate.LOST_BEFORE, False), (Fate.LOST_AFTER, True)])
def test_connection_breaks_before_or_after_a_write_was_applied(
    ensemble: Ensemble, fate: Fate, is_there: bool
) -> None:
    async def scenario() -> None:
        lane = await _lane(ensemble)
        session = lane.session_id
        ensemble.faults.arm(fate, skip=1)
        await lane.create("/first", b"", WORLD_ALL)
        with pytest.raises(ConnectionLostError) as caught:
            await lane.create("/x", b"", WORLD_ALL)
        assert caught.value.sent
        assert (await lane.exists("/x") is not None) is is_there
        assert lane.session_id == session
        await lane.close()

    ensemble.loop.run(scenario())


def test_waiting_takes_no_time_and_for_nothing_it_fails(ensemble: Ensemble) -> None:
    before = ensemble.loop.time()
    ensemble.loop.run(asyncio.sleep(86_400))
    assert ensemble.loop.time() == pytest.approx(before + 86_400)

    async def forever() -> None:
        await asyncio.Event().wait()

    waiting = forever()
    with pytest.raises(NothingLeftError):
        ensemble.loop.run(waiting)


def test_run_is_what_its_seed_makes_it(tmp_path: Path) -> None:
    def logs(name: str) -> list[object]:
        folder = tmp_path / name
        folder.mkdir()
        world = World(7, folder)
        try:
            writers.run(world, Plan(7, lives=3))
            return [(t.at_s, t.who, t.request, t.ops) for s in Side for t in world.sides[s].log]
        finally:
            world.close()

    assert logs("one") == logs("two")
