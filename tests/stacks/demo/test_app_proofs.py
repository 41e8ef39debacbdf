"""Proofs about Marathon's apps hold over a migration that kept them, and fail over another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from stacks.demo import figures
from stacks.demo.app_proofs import prove_apps
from stacks.demo.observations import Observations
from tests.stacks.demo.observed import CUTOVER, DRAIN, END, OLD_APP, app_sample, kept

Spoil = Callable[[Observations], object]
HEALTHY = "healthy instances of every app in every sample"
PIDS = "app tasks whose PID changed before their agent was drained"
DOUBLED = "app tasks doubled"
IDS = "Marathon's framework id"


def test_every_proof_holds_when_everything_was_kept() -> None:
    assert [proof for proof in prove_apps(kept()) if not proof.ok] == []


def test_no_proof_holds_when_no_look_was_taken() -> None:
    seen = Observations(app_sizes={"/web": 2})

    assert [proof.name for proof in prove_apps(seen) if proof.ok] == []


def test_a_stack_without_apps_has_nothing_to_prove() -> None:
    assert prove_apps(Observations()) == []


def sample(at: float, *, healthy: int = 2, alive: int = 2) -> Spoil:
    return lambda seen: seen.apps.append(app_sample(at, healthy=healthy, alive=alive))


def pids(at: float, changes: dict[str, int]) -> Spoil:
    found = {task: pid for task, pid in {**OLD_APP, **changes}.items() if pid}
    return lambda seen: seen.apps.append(app_sample(at, pids=found))


def other_framework(seen: Observations) -> None:
    seen.apps[-1] = replace(seen.apps[-1], framework_id="marathon-2")


def silent_at_the_end(seen: Observations) -> None:
    seen.apps[-1] = replace(seen.apps[-1], framework_id=None)


CASES: list[tuple[str, Spoil, str]] = [
    (HEALTHY, sample(CUTOVER + 6, healthy=1), "1 short: 1 of 2 of /web in no step"),
    (HEALTHY, sample(DRAIN + 1, healthy=1), "4 -> 5: move tasks to target"),
    (PIDS, pids(CUTOVER + 6, {"web.instance-1": 0}), "web.instance-1 gone"),
    (PIDS, pids(CUTOVER + 6, {"web.instance-1": 999}), "web.instance-1 changed"),
    (DOUBLED, sample(CUTOVER + 13, alive=3), "1 samples with more: 3 of 2 of /web"),
    (DOUBLED, sample(DRAIN + 1, alive=7), "7 of 2 of /web"),
    (DOUBLED, sample(END + 5, alive=3), "3 of 2 of /web"),
    (
        "app tasks lost or failed",
        lambda seen: setattr(seen, "app_failures", {"/web": "TASK_UNKNOWN (?)"}),
        "1: /web TASK_UNKNOWN (?)",
    ),
    (
        "app tasks lost or failed",
        lambda seen: setattr(seen, "app_failures", None),
        "not read",
    ),
    (IDS, other_framework, "marathon-1, marathon-2"),
    (IDS, silent_at_the_end, "did not answer"),
]


@pytest.mark.parametrize(("name", "spoil", "told"), CASES)
def test_a_proof_fails_over_what_was_not_kept(name: str, spoil: Spoil, told: str) -> None:
    seen = kept()
    spoil(seen)

    failed = [proof for proof in prove_apps(seen) if not proof.ok]

    assert [proof.name for proof in failed] == [name]
    assert told in failed[0].seen


def test_one_batch_more_is_what_a_move_is() -> None:
    seen = kept()
    seen.apps.append(app_sample(DRAIN + 1, alive=6))

    assert [proof for proof in prove_apps(seen) if not proof.ok] == []


def test_how_long_marathon_was_silent_is_measured() -> None:
    assert figures.marathon_silent(kept()) == pytest.approx(7.5)
    assert figures.marathon_silent(Observations()) is None
