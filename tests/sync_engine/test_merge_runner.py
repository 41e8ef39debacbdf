"""Asking a hook: whoever waits for it can be cancelled at any moment."""

from __future__ import annotations

import asyncio

import pytest

from sync_engine.merge import MergeRunner, Versions
from tests.waiting import until

VERSIONS = Versions("s", "/x", b"a", b"b")


@pytest.mark.parametrize("ticks", range(5))
async def test_a_cancellation_that_comes_with_the_answer_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, ticks: int
) -> None:
    answers: list[asyncio.Future[object]] = []

    def work(versions: Versions, loop: object, answer: asyncio.Future[object]) -> None:
        del versions, loop
        answers.append(answer)

    runner = MergeRunner("slow", lambda _: b"merged", timeout_s=60.0)
    monkeypatch.setattr(runner, "_work", work)
    task = asyncio.create_task(runner.merge(VERSIONS))
    await until(lambda: answers, "the hook to be asked")

    answers[0].set_result(b"merged")
    for _ in range(ticks):
        await asyncio.sleep(0)
    was_done = task.done()
    task.cancel()

    if was_done:
        assert await task == b"merged"
    else:
        with pytest.raises(asyncio.CancelledError):
            await task
