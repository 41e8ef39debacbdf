"""The checker is worth what it finds: engines with a bug each, and none that it lets through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.robustness.history import writers
from tests.robustness.history.bugs import BUGS, Bug
from tests.sync_engine.memory.world import World

# A bug that needs a certain order of things may need another seed to show.
_SEEDS_MAX = 16


def _found(folder: Path, bug: Bug, seed: int) -> list[str]:
    folder.mkdir()
    world = World(seed, folder)
    try:
        with bug.install():
            return writers.run(world, replace(bug.plan, seed=seed))
    finally:
        world.close()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_checker_finds(tmp_path: Path, bug: Bug) -> None:
    told: list[str] = []
    for seed in range(_SEEDS_MAX):
        found = _found(tmp_path / str(seed), bug, seed)
        if any(bug.says in line for line in found):
            return
        told += found
    pytest.fail(f"{bug.name} was not found in {_SEEDS_MAX} runs, saw {told}")


@pytest.mark.long
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_checker_finds_nothing_in_the_same_run_without(tmp_path: Path, bug: Bug) -> None:
    world = World(0, tmp_path)
    try:
        assert writers.run(world, replace(bug.plan, seed=0)) == []
    finally:
        world.close()
