"""Whom to ask next, when to rest, and when to give up."""

from __future__ import annotations

import pytest

from clients.errors import TryAgainError
from clients.rounds import Rounds


def failure(*, sent: bool = False) -> TryAgainError:
    return TryAgainError(ConnectionError("nobody there"), sent=sent)


async def test_members_are_asked_in_turn_with_longer_and_longer_rests_between_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr("clients.rounds.asyncio.sleep", sleep)
    rounds = Rounds(["a", "b"], 60)
    asked: list[str] = []
    for _ in range(14):
        asked.append(rounds.member)
        await rounds.again(failure(), repeatable=True)
    assert asked == ["a", "b"] * 7
    assert rests == [0.1, 0.2, 0.4, 0.8, 1.6, 1.6, 1.6]


async def test_what_must_not_be_repeated_fails_with_its_own_error_at_once() -> None:
    rounds = Rounds(["a"], 60)
    with pytest.raises(ConnectionError, match="nobody there"):
        await rounds.again(failure(sent=True), repeatable=False)


async def test_the_last_error_is_told_when_the_time_is_over() -> None:
    rounds = Rounds(["a"], 0)
    assert rounds.is_over
    with pytest.raises(ConnectionError, match="nobody there"):
        await rounds.again(failure(), repeatable=True)
