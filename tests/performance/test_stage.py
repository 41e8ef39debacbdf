"""A benchmark's look at both sides, where a server does not always answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from sync_engine.client import Side
from sync_engine.errors import ConnectionLostError
from tests.performance import stage as stage_module
from tests.performance.stage import Stage


class Server:
    """A lane whose server leaves some looks without an answer."""

    def __init__(self, unanswered: int) -> None:
        self.unanswered = unanswered

    async def sync(self, path: str) -> None:
        if self.unanswered > 0:
            self.unanswered -= 1
            msg = f"silent about {path}"
            raise ConnectionLostError(msg, sent=True)

    async def read_many(self, paths: Sequence[str]) -> list[None]:
        return [None for _ in paths]


def stage_of(**lanes: Server) -> Stage:
    sides = {Side(name): lane for name, lane in lanes.items()}
    return Stage(Path(), cast("Any", {}), cast("Any", sides), cast("Any", None))


async def test_a_look_that_was_not_answered_is_made_again() -> None:
    a = Server(unanswered=2)

    await stage_of(a=a, b=Server(unanswered=0)).until_equal("/x", range(3))

    assert a.unanswered == 0


async def test_a_server_that_never_answers_is_told_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage_module, "EQUAL_BOUND_S", 0.05)

    with pytest.raises(ConnectionLostError):
        await stage_of(a=Server(unanswered=1_000_000), b=Server(unanswered=0)).until_equal(
            "/x", range(3)
        )
