"""Clusters that take connections and answer nothing, as processes do that were stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest

from probe.agent import sync_engine, zookeeper
from probe.agent.collector import State
from probe.agent.collectors import mesos
from probe.agent.collectors.mesos import MesosCollector
from probe.agent.settings import Mesos, SyncEngine
from tests.probe.sites import site
from tests.waiting import until


@dataclass
class Silent:
    """Whoever connects waits; `open` are those that do now."""

    port: int = 0
    open: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        await self.over.wait()
        writer.close()


@contextlib.asynccontextmanager
async def looking() -> AsyncGenerator[tuple[Silent, MesosCollector]]:
    """A collector that asks one of each kind, all of which are silent."""
    silent = Silent()
    server = await asyncio.start_server(silent.serve, "127.0.0.1", 0)
    silent.port = server.sockets[0].getsockname()[1]
    place = f"127.0.0.1:{silent.port}"
    blue = Mesos("blue", masters=(place,), zookeeper=(place,), marathon=(place,))
    collector = MesosCollector(site(), [blue], [SyncEngine(f"http://{place}", "blue", "green")])
    await collector.start()
    try:
        yield silent, collector
    finally:
        await collector.close()
        silent.over.set()
        server.close()
        await server.wait_closed()


async def test_all_are_asked_at_once_so_that_who_hangs_holds_up_no_other() -> None:
    async with looking() as (silent, collector):
        look = asyncio.create_task(collector.collect())
        await until(lambda: silent.open == 4, "server, engine, Marathon and master are asked")
        look.cancel()
        await asyncio.wait({look})


async def test_answers_that_take_too_long_together_are_missed_and_the_look_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mesos, "_ANSWERS_S_MAX", 0.2)
    for module in (mesos, sync_engine, zookeeper):
        monkeypatch.setattr(module, "_TIMEOUT_S", 0.5)
    async with looking() as (_, collector):
        await collector.collect()
        capability = collector.capability()

    assert capability.state is State.PARTIAL
    told = {miss.what.partition(" (")[0]: miss.what for miss in capability.misses}
    assert len(told) == 4
    late = [what for what, whole in told.items() if "all answers within 0.2 s" in whole]
    assert sorted(late) == [next(w for w in told if w.startswith("Marathon")), "masters of blue"]
