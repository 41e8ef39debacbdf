"""Looks that fail are taken again: less and less often, unless something changes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest

from clients.marathon import UnreachableError
from controllers.following import Follower
from tests.controllers.registrator.source import Marathon
from tests.waiting import until

_BOUND_S = 30.0


class Looks:
    """Looks of which each fails, and when they were taken."""

    def __init__(self, marathon: Marathon) -> None:
        self.at: list[float] = []
        self._running = asyncio.create_task(
            Follower(
                "test",
                marathon,
                self._look,
                failures=(UnreachableError,),
                settle_s=0,
                clock=asyncio.get_running_loop().time,
                on_failure=lambda _: None,
            ).run()
        )

    async def _look(self, _: float | None) -> float:
        self.at.append(asyncio.get_running_loop().time())
        message = "nobody answers"
        raise UnreachableError(message)

    async def end(self) -> None:
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running


async def test_a_look_that_fails_again_and_again_is_taken_less_often_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("controllers.following.SOON_S", 0.02)
    monkeypatch.setattr("controllers.following._LOOK_S_MAX", 0.1)
    marathon = Marathon()
    marathon.is_away = True
    looks = Looks(marathon)
    try:
        await until(lambda: len(looks.at) > 6, "seven looks", _BOUND_S)
    finally:
        await looks.end()

    rests = [after - before for before, after in pairwise(looks.at)][:6]
    least = [0.02, 0.04, 0.08, 0.1, 0.1, 0.1]
    # The loop's clock may round a rest down.
    assert all(rest >= bound - 0.01 for rest, bound in zip(rests, least, strict=True)), rests


async def test_what_changes_meanwhile_is_looked_at_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controllers.following.SOON_S", 0.01)
    monkeypatch.setattr("controllers.following._LOOK_S_MAX", 10 * _BOUND_S)
    marathon = Marathon()
    looks = Looks(marathon)
    try:
        # Fifteen rests in a row would take minutes.
        for number in range(15):
            # The loop goes on only when the function is not called any more.
            await until(lambda: len(looks.at) > number, "a look", _BOUND_S)  # noqa: B023 - awaited
            marathon.change([], [])
    finally:
        await looks.end()
