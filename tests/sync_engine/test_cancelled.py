"""Whoever is cancelled ends, at whatever moment.

Where another error, or another task's end, takes the place of a cancellation, an engine stays
behind that tries to connect for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync_engine import provenance
from sync_engine.direction import Side
from sync_engine.errors import WentBackError
from sync_engine.lane import Lane
from tests.sync_engine.memory.ensemble import Ensemble
from tests.sync_engine.memory.loop import VirtualLoop
from tests.sync_engine.memory.network import Network
from tests.sync_engine.memory.world import World

_BOUND_S = 1.0
_END_S_MAX = 120.0
# A sentry asks itself twice before it says so.
_LOOKS = 2


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop(1)
    try:
        yield made
    finally:
        made.discard()


@pytest.mark.parametrize("turns", range(8))
def test_start_that_is_given_up_is_cancelled_all_the_same(loop: VirtualLoop, turns: int) -> None:
    ensemble = Ensemble("m", loop)
    Network(loop, [ensemble])
    ensemble.stop()

    async def work() -> None:
        lane = Lane(f"{ensemble.servers[0].name}.me", session_timeout_s=5)
        starting = asyncio.create_task(lane.start(bound_s=_BOUND_S))
        await asyncio.sleep(0)
        # Both timers fall due in one turn; a few turns later the lane is closed again.
        await asyncio.sleep(_BOUND_S)
        for _ in range(turns):
            await asyncio.sleep(0)
        was_under_way = starting.cancel()
        await asyncio.wait({starting})
        assert starting.cancelled() is was_under_way
        await lane.close()

    loop.run(work())


@pytest.mark.parametrize("offset_ms", range(0, 200, 2))
def test_engine_whose_network_ends_while_it_starts_ends_when_it_is_cancelled(
    tmp_path: Path, offset_ms: int
) -> None:
    world = World(1, tmp_path)
    world.start()
    world.pass_s(offset_ms / 1000)
    world.close()


def test_engine_that_finds_a_side_gone_back_while_it_is_cancelled_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.start()
    world.until(lambda: world.is_idle, "a start")
    (engine,) = (t for t in asyncio.all_tasks(world.loop) if t.get_name() == world.who)

    looks: list[str] = []

    def went_back(*_: object) -> str:
        looks.append("it holds less")
        if len(looks) == _LOOKS:
            # The failure is on its way up when the cancellation comes down.
            world.loop.call_soon(engine.cancel)
        return looks[-1]

    monkeypatch.setattr(provenance, "went_back", went_back)
    for server in world.sides[Side.A].servers:
        world.network.cut(world.who, server)
    world.loop.run(asyncio.wait({engine}, timeout=_END_S_MAX))
    assert engine.done()
    assert len(looks) == _LOOKS
    assert engine.cancelled() or isinstance(engine.exception(), WentBackError)
