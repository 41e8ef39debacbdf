"""Demos during which a master, the engine or a ZooKeeper server is killed, by seed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.robustness import faults
from tests.robustness.faults import Fault, Kind
from tests.robustness.rig import CHECKOUT

SEEDS = range(int(os.environ.get("FAULT_SEED", "1")), int(os.environ.get("FAULT_SEED", "1")) + 10)
UNAIDED_MIN = 8
_RUN_BOUND_S = 900


def test_a_seed_always_names_the_same_fault() -> None:
    # As they were when results of them were noted: another Python must not name others.
    assert faults.plan(1) == Fault("2 -> 3", 5.69, Kind.MASTER, 0.2550690257394217)
    assert faults.plan(2) == Fault("1 -> 2", 0.92, Kind.ENGINE, 0.8354988781294496)
    assert faults.plan(10) == Fault("4 -> 5", 0.33, Kind.ENGINE, 0.5780913011344704)


def test_every_kind_and_transition_is_met_within_a_few_seeds() -> None:
    plans = [faults.plan(seed) for seed in range(100)]

    assert {plan.kind for plan in plans} == set(Kind)
    assert {plan.transition for plan in plans} == set(faults.TRANSITIONS)


def test_a_victim_is_one_of_the_kind_or_nobody() -> None:
    fault = Fault("1 -> 2", 0.0, Kind.ZOOKEEPER, 0.99)

    assert fault.victim(["blue-zookeeper-0", "green-zookeeper-2", "blue-masters-0"]) == (
        "green-zookeeper-2"
    )
    assert fault.victim(["blue-masters-0"]) is None


@pytest.mark.robustness
@pytest.mark.timeout(11 * _RUN_BOUND_S)
def test_ten_seeded_faults_lose_nothing(tmp_path: Path) -> None:
    results = [_run(tmp_path / str(seed), seed) for seed in SEEDS]
    folder = CHECKOUT / "build" / "robustness"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faults.json").write_text(json.dumps(results, indent=2) + "\n")

    told = json.dumps(results, indent=2)
    assert [result["seed"] for result in results if not result["ok"]] == [], told
    assert [result["seed"] for result in results if result["killed"] is None] == [], told
    unaided = [result for result in results if not result["stops"]]
    assert len(unaided) >= UNAIDED_MIN, told
    stops = [stop for result in results for stop in result["stops"]]
    assert [stop for stop in stops if not stop.startswith("guard: ")] == [], told


def _run(project: Path, seed: int) -> dict[str, Any]:
    project.mkdir()
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(CHECKOUT / name, project / name)
    (project / ".venv").symlink_to(sys.prefix)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.robustness.faulted_demo", str(seed)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_RUN_BOUND_S,
    )
    assert ended.stdout, ended.stderr
    return json.loads(ended.stdout)
