"""The engine under every order of writes and faults that hypothesis finds."""

from __future__ import annotations

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.robustness.machine import EngineMachine


def _run(examples: int, steps: int = 30) -> None:
    run_state_machine_as_test(
        EngineMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_engine_keeps_its_promises_in_a_few_runs() -> None:
    seed(1)(_run)(15)
