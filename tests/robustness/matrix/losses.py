"""Ensembles that are not what they were: emptied, or restored from an older copy."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sync_engine.direction import Side
from tests.robustness.history.acknowledged import Write
from tests.robustness.matrix.acts import Act
from tests.robustness.matrix.ensembles import restart_with, snapshot
from tests.robustness.matrix.looks import equal, outside_shared, probed
from tests.robustness.matrix.stage import Stage

_WRITES_S = 1.0


def emptied(side: Side) -> Act:
    """Restart a side without its data, which was all copied before."""

    async def act(stage: Stage) -> None:
        await _begin_again_with(stage, side, None, [])
        if side is Side.A:
            await stage.writers.begin()
        stage.writers.go_on()

    return act


async def restored(stage: Stage) -> None:
    """Restart side a with the data that it had some time ago."""
    server = stage.groups[Side.A].servers[0]
    await stage.writers.pause()
    data = stage.folder / "snapshot"
    await asyncio.to_thread(snapshot, server, data)
    kept = [write for write in stage.writers.history.writes if write.side is Side.A]
    await stage.writers.connect(Side.A)
    stage.writers.go_on()
    await asyncio.sleep(_WRITES_S)
    await probed(stage)
    await _begin_again_with(stage, Side.A, data, kept)
    stage.writers.go_on()


async def _begin_again_with(stage: Stage, side: Side, data: Path | None, kept: list[Write]) -> None:
    writers = stage.writers
    await writers.pause()
    await equal(stage)
    stage.facts["before"] = await stage.nodes(side.other)
    await asyncio.to_thread(restart_with, stage.groups[side].servers[0], data)
    await writers.connect(side)
    writers.begin_anew(side, kept)
    writers.history.lost_base.append(next(writers.ticks))


async def confirmed(stage: Stage) -> None:
    """An operator looks, and confirms: first that it goes on, then that what is only there goes."""
    before = outside_shared(stage.facts["before"])
    seen = outside_shared(await stage.nodes(Side.B))
    assert seen == before, "an engine that waits has changed the other side"
    await stage.engine.client.confirm(None)
    await stage.engine.await_up()
    await stage.engine.client.confirm(stage.name)
