"""The whole demo, as a user runs it: several in a row in one checkout, two at once, of which one is
refused where both are of the same checkout, killed at any moment, and kept until it is taken down.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stacks.demo import removal
from tests.robustness import seeds
from tests.robustness.rig import CHECKOUT
from tests.waiting import block_until

RUNS = int(os.environ.get("DEMO_RUNS", "10"))
_RUN_BOUND_S = 900
_LOCK_BOUND_S = 60
_REFUSED = 2
# A whole demo takes two minutes and more; the kills of a test have one part of it each.
_KILLED_WITHIN_S = ((2, 30), (30, 110))

pytestmark = pytest.mark.robustness


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project folder of its own: state, ports and processes."""
    return make_checkout(tmp_path / "checkout")


def make_checkout(folder: Path) -> Path:
    folder.mkdir()
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(CHECKOUT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def start(checkout: Path, *arguments: str) -> subprocess.Popen[str]:
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PULUMI_")}
    return subprocess.Popen(
        [sys.executable, "-m", "stacks.demo", *(arguments or ("--json",))],
        cwd=checkout,
        env={**variables, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(demo: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = demo.communicate(timeout=_RUN_BOUND_S)
    assert demo.returncode == 0, out + err
    document: dict[str, Any] = json.loads(out)
    assert document["ok"]
    return document


@pytest.mark.timeout((RUNS + 1) * _RUN_BOUND_S)
def test_demos_in_a_row_keep_everything(checkout: Path) -> None:
    for _ in range(RUNS):
        document = end(start(checkout))
        assert [proof["name"] for proof in document["proofs"] if not proof["ok"]] == []


@pytest.mark.timeout(2 * _RUN_BOUND_S)
def test_two_checkouts_run_beside_each_other(checkout: Path, tmp_path: Path) -> None:
    demos = [start(checkout), start(make_checkout(tmp_path / "other"))]

    assert [end(demo)["ok"] for demo in demos] == [True, True]


@pytest.mark.timeout(2 * _RUN_BOUND_S)
def test_a_second_demo_of_one_checkout_is_refused_and_harms_nothing(checkout: Path) -> None:
    first = start(checkout)
    await_lock(checkout, first)

    second = start(checkout)
    _, err = second.communicate(timeout=_RUN_BOUND_S)

    assert second.returncode == _REFUSED, err
    assert f"expected no other demo in {checkout}, saw process {first.pid}" in err
    assert end(first)["ok"]


@pytest.mark.timeout((len(_KILLED_WITHIN_S) + 1) * _RUN_BOUND_S)
def test_demos_killed_at_any_moment_are_followed_by_a_whole_one(checkout: Path) -> None:
    draw = random.Random(seeds.base())  # noqa: S311 - moments, to repeat by seed
    for bounds in _KILLED_WITHIN_S:
        moment_s = draw.uniform(*bounds)
        demo = start(checkout)
        with pytest.raises(subprocess.TimeoutExpired):
            demo.communicate(timeout=moment_s)
        demo.send_signal(signal.SIGKILL)
        demo.wait(timeout=_RUN_BOUND_S)
        # Not read to their end: what the demo has started holds them until the next one ends it.
        for pipe in (demo.stdout, demo.stderr):
            assert pipe is not None
            pipe.close()

    assert end(start(checkout))["ok"]
    assert not removal.anything_left(checkout)


@pytest.mark.timeout(2 * _RUN_BOUND_S)
def test_a_kept_cluster_answers_until_it_is_taken_down(checkout: Path) -> None:
    demo = start(checkout, "--keep")
    told, err = demo.communicate(timeout=_RUN_BOUND_S)
    assert demo.returncode == 0, told + err
    kept = told.partition("Kept running:")[2]
    at = [(host, int(port)) for host, port in re.findall(r"(127\.0\.0\.1):(\d+)", kept)]
    try:
        assert at, told
        for address in at:
            socket.create_connection(address, timeout=_LOCK_BOUND_S).close()
    finally:
        down = start(checkout, "down")
        told, err = down.communicate(timeout=_RUN_BOUND_S)
    assert (down.returncode, told.strip()) == (0, "removed everything that the demo started"), err
    assert not removal.anything_left(checkout)
    for address in at:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=_LOCK_BOUND_S)


def await_lock(checkout: Path, demo: subprocess.Popen[str]) -> None:
    """Wait until a demo has its checkout for itself."""
    lock = checkout / ".local" / "demo.lock"

    def is_held() -> bool:
        assert demo.poll() is None, demo.communicate()
        return lock.exists() and f"process {demo.pid}" in lock.read_text()

    block_until(is_held, "the demo's hold on its checkout", _LOCK_BOUND_S)
