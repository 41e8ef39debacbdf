"""kill -9 of the engine at some moment of a flip: the next engine finishes or has undone it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sync_engine.direction import Side
from sync_engine.errors import EngineUnreachableError
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.rig import Rig, raise_zxid, tree
from tests.sync_engine.servers import Server


@pytest.mark.parametrize(
    "after_s", [0.0, *(pytest.param(s, marks=pytest.mark.long) for s in (0.05, 0.2))]
)
async def test_a_flip_that_was_killed_is_finished_by_the_next_engine(
    pair: tuple[Server, Server], tmp_path: Path, after_s: float
) -> None:
    rig = Rig(pair, tmp_path)
    async with rig.lanes() as (a, b):
        for number in range(200):
            await a.create(f"{rig.a}/n{number:03d}", b"%d" % number, WORLD_ALL)
        await raise_zxid(b, a, rig.election)
        async with rig.process() as (process, client):
            flip = asyncio.create_task(client.flip(rig.name, Side.B, timeout_s=20))
            # Where in the flip the kill falls is chance; what must hold afterwards is not.
            await asyncio.wait({flip}, timeout=after_s)
            process.kill()
            process.wait()
            try:
                await flip
            except EngineUnreachableError:
                pass  # Its answer died with the engine.

        async with rig.process() as (_, client):
            report = await client.flip(rig.name, Side.B, timeout_s=20)
            assert report.znodes == 201
            status = await client.status()
            assert status.subtrees[rig.name].owner is Side.B
            await b.set_data(f"{rig.b}/n000", b"after", -1)
            await b.create(f"{rig.b}/new", b"", WORLD_ALL)
            await raise_zxid(a, b, rig.election)
            await client.flip(rig.name, Side.A, timeout_s=20)
            assert (await client.audit(timeout_s=20)).equal
            found = await tree(a, rig.a)
            assert found["/n000"][0] == b"after"
            assert {acl for _, acl in found.values()} == {frozenset(WORLD_ALL)}, "no fence is left"
            assert rig.conflicts() == []
