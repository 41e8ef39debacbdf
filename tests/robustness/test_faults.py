"""Demos during which a master, the engine or a ZooKeeper server of a colour is killed, by seed.

`FAULT_SEED` is the first of ten; without it the run's seed says which ten.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.robustness import faults, seeds
from tests.robustness.faults import Fault, Kind
from tests.robustness.rig import CHECKOUT

_COUNT = 10
_FIRST = int(os.environ.get("FAULT_SEED", _COUNT * seeds.base()))
SEEDS = range(_FIRST, _FIRST + _COUNT)
UNAIDED_MIN = 8
_RUN_BOUND_S = 900


def test_a_seed_always_names_the_same_fault() -> None:
    # As they were when results of them were noted: another Python must not name others.
    assert faults.plan(1) == Fault("4 -> 5", 1.34, Kind.ENGINE, 0.8474337369372327)
    assert faults.plan(2) == Fault("1 -> 2", 9.56, Kind.MASTER, 0.9478274870593494)
    assert faults.plan(10) == Fault("1 -> 2", 5.71, Kind.BLUE_ZOOKEEPER, 0.4288890546751146)


@pytest.mark.parametrize("first", range(40))
def test_ten_seeds_kill_one_of_each_kind_and_one_in_each_transition(first: int) -> None:
    plans = [faults.plan(seed) for seed in range(first, first + _COUNT)]

    assert {plan.kind for plan in plans} == set(Kind)
    assert {plan.transition for plan in plans} == set(faults.TRANSITIONS)


def test_ten_seeds_kill_a_server_of_each_colour() -> None:
    colors, tiers = ("blue", "green"), ("masters", "zookeeper")
    running = ["sync-engine-0", *(f"{c}-{t}-{i}" for c in colors for t in tiers for i in range(3))]

    killed = [faults.plan(seed).victim(running) for seed in range(_COUNT)]

    assert {str(name)[:-2] for name in killed} >= {
        "sync-engine",
        "blue-zookeeper",
        "green-zookeeper",
    }
    assert any("masters" in str(name) for name in killed)


def test_a_victim_is_one_of_the_kind_or_nobody() -> None:
    fault = Fault("1 -> 2", 0.0, Kind.GREEN_ZOOKEEPER, 0.99)

    assert fault.victim(
        ["blue-zookeeper-0", *(f"green-zookeeper-{i}" for i in range(3)), "blue-masters-0"]
    ) == ("green-zookeeper-2")
    assert fault.victim(["blue-masters-0", "blue-zookeeper-0"]) is None


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
