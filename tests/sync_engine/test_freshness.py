"""A server that answers before it has applied what others have: its reads do not count."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from sync_engine.lane import Lane
from sync_engine.reader import NONE_KNOWN, KnownAcls, Reading
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.rig import Rig, until_equal, worker
from tests.sync_engine.servers import Server


async def test_a_read_of_a_server_that_lags_behind_the_event_is_done_again(
    pair: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(pair, tmp_path, scan_interval_s=3600)
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await a.create(f"{rig.a}/x", b"old", WORLD_ALL)
        await until_equal(rig, a, b)
        reader = worker(engine, rig).subtree.source.reader
        (old,) = await reader.read_many([f"{rig.a}/x"])
        stale = 0

        async def sync(path: str = "/", *, upto: int = 0) -> int:
            nonlocal stale
            if upto:
                stale = 0
            return await Lane.sync(reader, path, upto=upto)

        async def read_at(paths: Sequence[str], acls: KnownAcls = NONE_KNOWN) -> Reading:
            return ([old], 1) if stale else await Lane.read_at(reader, paths, acls)

        monkeypatch.setattr(reader, "sync", sync)
        monkeypatch.setattr(reader, "read_at", read_at)
        stale = 1
        await a.set_data(f"{rig.a}/x", b"new", -1)
        await asyncio.wait_for(until_equal(rig, a, b), 5)
        assert stale == 0, "the read was done again"
