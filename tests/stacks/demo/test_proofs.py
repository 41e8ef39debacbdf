"""Each proof holds over a migration that kept everything, and fails over one that did not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from stacks.demo import proofs
from stacks.demo.observations import Audit, Observations, TaskUpdate, Writes
from tests.stacks.demo.observed import CUTOVER, DRAIN, OLD, kept, task_sample

Spoil = Callable[[Observations], object]


def test_every_proof_holds_when_everything_was_kept() -> None:
    found = proofs.prove(kept())

    assert [proof.name for proof in found if not proof.ok] == []


def test_no_proof_holds_when_nothing_was_seen() -> None:
    """Silence is no evidence; only what is absent by its nature may hold."""
    held = [proof.name for proof in proofs.prove(Observations()) if proof.ok]

    assert held == ["left behind"]


def update(task: str, state: str, at: float = CUTOVER) -> Spoil:
    return lambda seen: seen.updates.append(TaskUpdate(at, task, state, "REASON"))


def short(at: float) -> Spoil:
    return lambda seen: seen.tasks.append(task_sample(at, healthy=7))


def writes(**counts: int) -> Spoil:
    return lambda seen: setattr(seen, "writes", Writes(1200, 20_000, 0, counts, ("/apps/a",)))


def pids(at: float, changes: dict[str, int]) -> Spoil:
    found = {task: pid for task, pid in {**OLD, **changes}.items() if pid}
    return lambda seen: seen.tasks.append(task_sample(at, pids=found))


def without_replacement(seen: Observations) -> None:
    del seen.replacements["old-3"]


def late_replacement(seen: Observations) -> None:
    seen.updates = [
        replace(u, at=DRAIN + 3) if (u.task_id, u.state) == ("new-3", "TASK_RUNNING") else u
        for u in seen.updates
    ]


def other_framework(seen: Observations) -> None:
    seen.tasks[-1] = replace(seen.tasks[-1], framework_id="framework-2")


def other_weights(seen: Observations) -> None:
    assert seen.registry_set is not None
    seen.registry_found = replace(seen.registry_set, weights={"batch": 1.0})


def without_digest(seen: Observations) -> None:
    seen.flips[0] = replace(seen.flips[0], digest="")


def without_client_flip(seen: Observations) -> None:
    seen.flips = seen.flips[:1]


CASES: list[tuple[str, Spoil, str]] = [
    ("tasks lost", update("old-1", "TASK_LOST"), "old-1 TASK_LOST (REASON)"),
    ("tasks lost", update("old-1", "TASK_FAILED"), "old-1 TASK_FAILED"),
    ("tasks lost", update("old-1", "TASK_UNREACHABLE"), "old-1 TASK_UNREACHABLE"),
    ("tasks lost", update("old-1", "TASK_FINISHED"), "old-1 TASK_FINISHED"),
    (
        "tasks killed before their replacement ran",
        update("old-1", "TASK_KILLED", CUTOVER),
        "old-1 outside the drain",
    ),
    (
        "tasks killed before their replacement ran",
        without_replacement,
        "old-3 without a replacement",
    ),
    (
        "tasks killed before their replacement ran",
        late_replacement,
        "old-3 before new-3 ran",
    ),
    (
        "tasks whose PID changed before their agent was drained",
        pids(CUTOVER, {"old-2": 999}),
        "old-2 changed",
    ),
    (
        "tasks whose PID changed before their agent was drained",
        pids(CUTOVER, {"old-2": 0}),
        "old-2 gone",
    ),
    ("healthy tasks in every sample", short(CUTOVER), "1 short: 7 in no step"),
    (
        "healthy tasks in every sample",
        short(DRAIN + 1),
        "1 short: 7 in 4 -> 5: move tasks to target",
    ),
    ("framework ids", other_framework, "framework-1, framework-2"),
    ("acknowledged writes missing on the target", writes(missing=2), "2 missing (/apps/a)"),
    ("acknowledged writes missing on the target", writes(resurrected=1), "1 resurrected"),
    ("sequential names given twice or out of order", writes(sequence_problems=3), "3"),
    (
        "audits",
        lambda seen: seen.audits.append(Audit(3, False, 1, 0.1, ("/apps/x data",))),
        "phase 3 differs (/apps/x data)",
    ),
    ("audits", lambda seen: seen.audits.pop(), "phase 5 not audited"),
    ("digests at each flip", without_digest, "frameworks-sample"),
    ("digests at each flip", without_client_flip, "frameworks-sample"),
    ("quota and weights on the target", other_weights, "weights {'batch': 1.0}"),
    (
        "processes of blue and of the sync engine",
        lambda seen: seen.left_of_source.append("blue-masters-0 (process 7)"),
        "blue-masters-0 (process 7)",
    ),
    (
        "processes of blue and of the sync engine",
        lambda seen: setattr(seen, "position", "5/prepared"),
        "the stack stands at position 5/prepared",
    ),
    (
        "left behind",
        lambda seen: setattr(seen, "left_behind", ["process 7"]),
        "process 7",
    ),
]


@pytest.mark.parametrize(("name", "spoil", "told"), CASES)
def test_a_proof_fails_over_what_was_not_kept(name: str, spoil: Spoil, told: str) -> None:
    seen = kept()
    spoil(seen)

    failed = [proof for proof in proofs.prove(seen) if not proof.ok]

    assert [proof.name for proof in failed] == [name]
    assert told in failed[0].seen


def test_a_pid_may_change_hands_once_the_drain_has_begun() -> None:
    """A task that ended, and whose replacement runs, is what a drain is for."""
    seen = kept()
    seen.tasks.append(task_sample(DRAIN + 1, pids={**OLD, "new-1": 201}))

    assert proofs.pids_changed(seen).ok


def test_a_drain_that_was_not_seen_proves_no_pid() -> None:
    seen = kept()
    seen.steps = []

    assert "no drain was seen" in proofs.pids_changed(seen).seen
    assert not proofs.pids_changed(seen).ok


def test_what_is_kept_on_purpose_is_not_left_behind() -> None:
    seen = kept()
    seen.left_behind = None

    assert proofs.nothing_left(seen).ok
