"""A side is said to have gone back only when it says so twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from sync_engine import provenance, sentry
from sync_engine.direction import Side
from sync_engine.documents import Identity
from sync_engine.lane import Lane
from sync_engine.provenance import Found, Known

IDENTITY = Identity(pair="p", side=Side.A)
KNOWN = Known("p", {Side.A: 10}, {Side.A: 20})


@pytest.mark.parametrize(
    ("zxids", "asked", "is_back"), [((20,), 1, False), ((19, 20), 2, False), ((19, 19), 2, True)]
)
async def test_a_server_that_is_a_moment_behind_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, zxids: Sequence[int], asked: int, is_back: bool
) -> None:
    answers = [Found(IDENTITY, 10, zxid) for zxid in zxids]
    calls = 0

    async def inspect(*_: object) -> Found:
        nonlocal calls
        calls += 1
        return answers[calls - 1]

    monkeypatch.setattr(provenance, "inspect", inspect)
    monkeypatch.setattr(sentry, "_SECOND_LOOK_S", 0.0)

    found = await sentry._look(Side.A, cast("Lane", None), KNOWN)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the one decision in there

    assert calls == asked
    assert (provenance.went_back(Side.A, found, KNOWN) is not None) is is_back
