"""Leader projection between two real servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sync_engine import numbering, session_file
from sync_engine.direction import Side
from sync_engine.errors import EngineBusyError, EngineRefusedError, NoAuthError
from sync_engine.lane import Lane
from sync_engine.report import ProjectionKind
from sync_engine.znode import WORLD_ALL, Znode
from tests.sync_engine.rig import Rig
from tests.sync_engine.servers import Server
from tests.waiting import until

Pair = tuple[Server, Server]


def info(name: str) -> bytes:
    return json.dumps(
        {"id": name, "hostname": name, "port": 5050, "pid": f"master@{name}"}
    ).encode()


async def candidate(lane: Lane, path: str, number: int, name: str) -> None:
    await lane.create(f"{path}/json.info_{number:010d}", info(name), WORLD_ALL, ephemeral=True)


async def masters_of_a(lane: Lane, path: str) -> None:
    """Three masters that were restarted once, so that numbers are free below them."""
    await lane.create(f"{path}/log_replicas", b"", WORLD_ALL)
    for number in range(1, 7):
        await candidate(lane, path, number, f"a{number}")
        if number <= 3:
            await lane.delete(f"{path}/json.info_{number:010d}", -1)


async def leader(lane: Lane, path: str) -> Znode:
    """What a detector follows."""
    await lane.sync(path)
    while True:
        names, _ = await lane.children(path)
        name = numbering.lowest(names)
        assert name is not None
        node = await lane.read(f"{path}/{name}")
        if node is not None:
            return node


async def follows(lane: Lane, path: str, name: str) -> bool:
    return (await leader(lane, path)).data == info(name)


async def test_clients_of_a_follow_the_leader_of_b_through_its_changes(
    pair: Pair, tmp_path: Path
) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        path = rig.election
        await masters_of_a(a, path)
        await candidate(b, path, 1, "b1")
        await candidate(b, path, 2, "b2")
        status = await engine.project(rig.projection, ProjectionKind.EPHEMERAL, 10)
        assert (status.kind, status.leader) == (ProjectionKind.EPHEMERAL, "b1:5050")
        first = await leader(a, path)
        assert first.data == info("b1")
        assert first.stat.ephemeral_owner == engine.projectors[rig.projection].session_id

        # Another leader gets another number, still the lowest.
        await b.delete(f"{path}/json.info_{1:010d}", -1)
        await until(lambda: follows(a, path, "b2"), "the change of leader")
        assert (await leader(a, path)).path != first.path
        names, _ = await a.children(path)
        assert len(names) == 5

        # Without a leader the last one stays.
        await b.delete(f"{path}/json.info_{2:010d}", -1)
        again = await engine.project(rig.projection, ProjectionKind.EPHEMERAL, 10)
        assert again.leader == "b2:5050"
        await candidate(b, path, 3, "b3")
        await until(lambda: follows(a, path, "b3"), "the new leader")

        # Another kind is another number too.
        before = await leader(a, path)
        status = await engine.project(rig.projection, ProjectionKind.PERSISTENT, 10)
        shown = await leader(a, path)
        assert shown.stat.ephemeral_owner == 0
        assert shown.path != before.path
        assert status.number == numbering.number_of(shown.path)

        await engine.project(rig.projection, ProjectionKind.OFF, 10)
        assert await follows(a, path, "a4")


async def test_projection_is_refused_without_free_numbers(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await a.create(f"{rig.election}/log_replicas", b"", WORLD_ALL)
        await candidate(a, rig.election, 1, "a1")
        await candidate(b, rig.election, 1, "b1")
        with pytest.raises(EngineRefusedError, match="restart") as caught:
            await engine.project(rig.projection, ProjectionKind.EPHEMERAL, 10)
        assert caught.value.type == "NoNumberFree"
        assert await follows(a, rig.election, "a1")


async def test_projection_without_a_leader_is_not_now(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes(), rig.engine() as engine:
        with pytest.raises(EngineBusyError, match="no leader on side b"):
            await engine.project(rig.projection, ProjectionKind.EPHEMERAL, 0.5)


@pytest.mark.parametrize("kind", [ProjectionKind.EPHEMERAL, ProjectionKind.PERSISTENT])
async def test_orderly_stop_keeps_the_projection_and_a_restart_goes_on_with_it(
    pair: Pair, tmp_path: Path, kind: ProjectionKind
) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b):
        async with rig.engine() as engine:
            await masters_of_a(a, rig.election)
            await candidate(b, rig.election, 1, "b1")
            await engine.project(rig.projection, kind, 10)
            shown = await leader(a, rig.election)
        assert await leader(a, rig.election) == shown
        async with rig.engine() as engine:
            status = await engine.project(rig.projection, kind, 10)
            assert status.leader == "b1:5050"
            assert await leader(a, rig.election) == shown


async def test_session_that_expired_is_replaced(pair: Pair, tmp_path: Path) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b):
        async with rig.engine() as engine:
            await masters_of_a(a, rig.election)
            await candidate(b, rig.election, 1, "b1")
            await engine.project(rig.projection, ProjectionKind.EPHEMERAL, 10)
            file = rig.state_dir / f"projection-{rig.projection}.session"
            saved = session_file.load(file)
        taken = Lane(rig.servers[Side.A].hosts, session_timeout_s=5, saved=saved)
        await taken.start()
        await taken.close()
        assert await follows(a, rig.election, "a4")
        async with rig.engine() as engine:
            await until(lambda: follows(a, rig.election, "b1"), "the projection")


async def test_fenced_election_lets_nobody_but_the_engine_create(
    pair: Pair, tmp_path: Path
) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b):
        client = Lane(rig.servers[Side.A].hosts, session_timeout_s=5)
        await client.start()
        try:
            async with rig.engine() as engine:
                await masters_of_a(a, rig.election)
                await candidate(b, rig.election, 1, "b1")
                await engine.project(rig.projection, ProjectionKind.PERSISTENT, 10)
                assert (await engine.fence_election(rig.projection, fenced=True)).fenced
                with pytest.raises(NoAuthError):
                    await candidate(client, rig.election, 9, "resurrected")
                assert len((await client.children(rig.election))[0]) == 5
            async with rig.engine() as engine:
                await until(
                    lambda: engine.projectors[rig.projection].status().fenced,
                    "the fence to be known",
                )
                await candidate(b, rig.election, 0, "b0")
                await until(lambda: follows(client, rig.election, "b0"), "the change of leader")
                assert not (await engine.fence_election(rig.projection, fenced=False)).fenced
                await candidate(client, rig.election, 9, "allowed")
        finally:
            await client.close()
