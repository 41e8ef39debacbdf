"""The engine under every order of writes and faults that hypothesis finds.

A block is a seed of hypothesis: the same block of the same run's seed (`seeds.py`) makes the same
runs. To look into a failure, run its block alone and let it shrink (`Phase.shrink` in `_settings`).
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.robustness import seeds
from tests.robustness.machine import EngineMachine

BLOCKS = 50
RUNS_PER_BLOCK = 20
"""1,000 runs in all; a block takes 5 s on an idle machine, and half a minute on a busy one."""
_SHORT_SHARE = 12
_STEPS = 30


def _run(block: int, runs: int) -> None:
    class Block(EngineMachine):
        """A machine of its own, which the seed is noted on."""

    seed(seeds.base() * 1000 + block)(Block)
    run_state_machine_as_test(Block, settings=_settings(runs))


def _settings(runs: int) -> settings:
    return settings(
        max_examples=runs,
        stateful_step_count=_STEPS,
        # Virtual time is fast; real time is the machine's.
        deadline=None,
        # Runs are what their block makes them, whatever failed before.
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def test_engine_keeps_its_promises_in_a_few_runs() -> None:
    _run(BLOCKS, _SHORT_SHARE)


@pytest.mark.robustness
@pytest.mark.parametrize("block", range(BLOCKS))
def test_engine_keeps_its_promises(block: int) -> None:
    _run(block, RUNS_PER_BLOCK)
