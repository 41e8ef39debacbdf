"""Clusters that take connections and answer nothing, as processes do that were stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

import pytest

from probe.agent import sync_engine, zookeeper
from probe.agent.collector import State
from probe.agent.collectors import mesos
from probe.agent.collectors.mesos import MesosCollector
from probe.agent.collectors.mesos_rows import Marathon, Masters
from probe.agent.settings import Mesos, SyncEngine
from probe.report.schema import Value
from tests.probe.sites import site
from tests.probe.test_mesos_rows import AGENT, APP, FRAMEWORK, INFO, TASK, holds
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


PLACE = "127.0.0.1:1"


class Fading(MesosCollector):
    """A collector of a cluster whose sources fall silent one by one."""

    masters_tell = marathon_tells = True

    async def _ask_server(self, address: str) -> Mapping[str, Value]:  # noqa: ARG002 - all serve
        return {"state": "leader"}

    async def _ask_marathon(self, addresses: tuple[str, ...]) -> Marathon | None:
        return Marathon(addresses[0], INFO, (APP,), ()) if self.marathon_tells else None

    async def _ask_masters(self, cluster: Mesos, is_slow: bool) -> Masters:  # noqa: ARG002 - as it is asked
        answering = frozenset(cluster.masters)
        if not self.masters_tell:
            return Masters(answering)
        return Masters(answering, PLACE, None, holds(AGENT, FRAMEWORK, TASK))


@pytest.mark.parametrize("silent", ["masters", "marathon"])
async def test_what_only_a_silent_source_knows_goes_after_a_minute_whoever_else_answers(
    silent: str,
) -> None:
    place = site()
    blue = Mesos("blue", masters=(PLACE,), zookeeper=(PLACE,), marathon=(PLACE,))
    collector = Fading(place, [blue])
    await collector.start()
    await collector.collect()
    collector.masters_tell, collector.marathon_tells = silent != "masters", silent == "masters"
    known = {"mesos_agent", "mesos_framework", "mesos_task", "marathon_app"}

    for _ in range(11):
        await collector.collect()
        assert {name for name in known if len(place.ledger[name])} == known
    await collector.collect()
    gone = {name for name in known if not len(place.ledger[name])}
    assert gone == ({"marathon_app"} if silent == "marathon" else known - {"marathon_app"})

    # It is back as soon as it tells.
    collector.masters_tell = collector.marathon_tells = True
    await collector.collect()
    assert all(len(place.ledger[name]) for name in known)
    await collector.close()
