"""Clients that write both sides at once, and what becomes of every write that they were told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.robustness import seeds
from tests.robustness.history import writers
from tests.robustness.history.writers import Plan
from tests.sync_engine.memory.world import World

_BLOCKS, _RUNS_PER_BLOCK = 20, 25


def _found(folder: Path, plan: Plan) -> list[str]:
    world = World(plan.seed, folder)
    try:
        return writers.run(world, plan)
    finally:
        world.close()


@pytest.mark.parametrize("seed", range(4))
def test_every_acknowledged_write_is_accounted_for(tmp_path: Path, seed: int) -> None:
    assert _found(tmp_path, Plan(seed)) == []


@pytest.mark.parametrize("seed", range(4))
def test_nothing_conflicts_while_only_the_owner_writes(tmp_path: Path, seed: int) -> None:
    assert _found(tmp_path, Plan(seed, foreign=0, lives=3)) == []


@pytest.mark.parametrize("seed", range(2))
def test_engine_that_was_held_up_writes_nothing_when_it_wakes(tmp_path: Path, seed: int) -> None:
    assert _found(tmp_path, Plan(seed, overtakes=True)) == []


@pytest.mark.parametrize("seed", range(4))
def test_every_acknowledged_write_of_both_sides_is_accounted_for(tmp_path: Path, seed: int) -> None:
    assert _found(tmp_path, Plan(seed, foreign=2, both=True)) == []


@pytest.mark.robustness
@pytest.mark.parametrize("block", range(_BLOCKS))
def test_every_acknowledged_write_of_both_sides_is_accounted_for_in_many_runs(
    tmp_path: Path, block: int
) -> None:
    for number in range(_RUNS_PER_BLOCK):
        seed = (seeds.base() * _BLOCKS + block) * _RUNS_PER_BLOCK + number
        plan = Plan(seed, foreign=2, both=True, lives=2 + seed % 2)
        folder = tmp_path / str(seed)
        folder.mkdir()
        assert _found(folder, plan) == [], plan
