"""What the checker makes of a znode that stayed for something left out, when its side owns it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from sync_engine import flip, sweep
from sync_engine.context import Subtree
from sync_engine.direction import Side
from tests.robustness.history.recorded import complaints
from tests.sync_engine.memory.stage import Stage
from tests.sync_engine.memory.world import World


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Side a has deleted `/x`, and on side b it stays for what is left out below it."""
    world = World(1, tmp_path)
    try:
        made = Stage(world, exclude=["/*/cache"])
        made.make(Side.A, "/x", "/plain")
        world.start()
        world.come_to_rest()
        made.make(Side.B, "/x/cache")
        made.drop(Side.A, "/x")
        world.come_to_rest()
        assert made.names(Side.B) == ["/plain", "/x", "/x/cache"]
        yield made
    finally:
        world.close()


def _hand_over(stage: Stage) -> list[str]:
    assert stage.world.flip(Side.B) is not None, stage.world.refusal
    stage.world.come_to_rest()
    return complaints(stage.world)


async def _all_kept(subtree: Subtree, *, pause_s: float = 0.0) -> list[str]:
    del pause_s
    return list(subtree.base.kept)


async def _nothing(subtree: Subtree, *, pause_s: float = 0.0) -> list[str]:
    del subtree, pause_s
    return []


def test_what_stays_is_no_fault_nor_is_its_copy_once_nothing_is_below(stage: Stage) -> None:
    assert _hand_over(stage) == []
    assert stage.names(Side.A) == ["/plain"]
    stage.drop(Side.B, "/x/cache")
    stage.world.come_to_rest()
    assert stage.names(Side.A) == ["/plain", "/x"]
    assert complaints(stage.world) == []


def test_a_copy_while_something_is_below_is_an_undone_delete(stage: Stage) -> None:
    with patch.object(sweep, "find_free", _all_kept):
        (found,) = _hand_over(stage)
    assert stage.names(Side.A) == ["/plain", "/x"]
    assert found.startswith("/x: ")
    assert "was undone" in found


def test_a_copy_of_what_nothing_was_below_at_the_change_is_an_undone_delete(stage: Stage) -> None:
    stage.drop(Side.B, "/x/cache")
    with patch.object(flip, "find_free", _nothing):
        (found,) = _hand_over(stage)
    assert stage.names(Side.A) == ["/plain", "/x"]
    assert found.startswith("/x: ")
    assert "was undone" in found


def test_what_nobody_lets_go_of_is_a_difference(stage: Stage) -> None:
    with patch.object(sweep, "find_free", _nothing):
        assert _hand_over(stage) == []
        stage.drop(Side.B, "/x/cache")
        stage.world.come_to_rest()
        found = complaints(stage.world)
    assert stage.names(Side.A) == ["/plain"]
    assert any("the sides differ in 1 paths" in line for line in found)
