"""`migrate check` on the whole one-machine cluster: all of it holds, then each thing that somebody
changes by hand is named, with the exit status of a guard.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.workload import Secret
from stacks.local.process import read_secret
from tests.robustness import rig as rigs
from tests.robustness.rig import CHECKOUT, Rig

HOLDS, GUARD = 0, 3
_BOUND_S = 120.0
Json = dict[str, Any]


def check(rig: Rig) -> tuple[int, dict[str, Json]]:
    """Exit status, and findings by name."""
    words = ["-m", "stacks.migration.cli", "check", "--json", "--project", str(rig.project_dir)]
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=_BOUND_S,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    found = json.JSONDecoder().raw_decode(done.stdout)[0]["findings"]
    return done.returncode, {one["name"]: one for one in found}


def call(rig: Rig, body: Json) -> None:
    """A call of the operator API, as somebody would make it by hand."""
    user, _, password = (secret_of(rig) or "").partition(":")
    for address in rig.runner.outputs()["blue_masters"]:
        answer = httpx.post(
            f"http://{address}/api/v1", json=body, auth=(user, password), timeout=10.0
        )
        if answer.is_success:
            return
    pytest.fail("no master took the call")


def secret_of(rig: Rig) -> str | None:
    return read_secret(rig.supervisor.run_dir / "secrets" / Secret.MESOS_OPERATOR)


@pytest.mark.robustness
def test_a_cluster_is_as_declared_until_somebody_changes_it(tmp_path: Path) -> None:
    with rigs.running(tmp_path) as rig:
        status, found = check(rig)
        assert {name: one["said"] for name, one in found.items() if not one["ok"]} == {}
        assert status == HOLDS
        assert set(found) == {
            "blue ensemble",
            "blue voters",
            "blue masters",
            "blue masters' flags",
            "blue agents",
            "blue agents' flags",
            "quota",
            "strangers",
        }

        agent = httpx.get(f"http://{rig.runner.outputs()['blue_agents'][0]}/state").json()["id"]
        body = {"type": "DEACTIVATE_AGENT", "deactivate_agent": {"agent_id": {"value": agent}}}
        call(rig, body)
        pid = rig.supervisor.status("blue-zookeeper-0").pid
        os.kill(pid, signal.SIGSTOP)
        try:
            status, found = check(rig)
        finally:
            os.kill(pid, signal.SIGCONT)

        assert status == GUARD
        assert "is deactivated" in found["blue agents"]["said"]
        assert "does not serve" in found["blue ensemble"]["said"]
        assert found["strangers"]["ok"]
