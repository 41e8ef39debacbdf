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
from stacks.demo import local_stack
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


AT_REST = {
    "blue ensemble", "blue voters", "blue masters", "blue masters' flags", "blue agents",
    "blue agents' flags", "quota", "weights", "marathon", "exporters", "strangers",
}  # fmt: skip


def with_exporters(rig: Rig) -> None:
    """The same stack, which now has exporters."""
    file = local_stack.path_of(rig.project_dir)
    services = "  mesos-platform:services:\n    metrics: {exporter: true}\n"
    file.write_text(file.read_text().replace("config:\n", f"config:\n{services}", 1))
    rig.runner.up()


def differing(found: dict[str, Json]) -> dict[str, str]:
    return {name: one["said"] for name, one in found.items() if not one["ok"]}


@pytest.mark.long
@pytest.mark.turns
@pytest.mark.timeout(600)
def test_a_cluster_is_as_declared_until_somebody_changes_it(tmp_path: Path) -> None:
    with rigs.running(tmp_path, calm=True) as rig:
        with_exporters(rig)
        status, found = check(rig)
        assert differing(found) == {}
        assert status == HOLDS
        assert set(found) == AT_REST

        agent = httpx.get(f"http://{rig.runner.outputs()['blue_agents'][0]}/state").json()["id"]
        subject = {"agent_id": {"value": agent}}
        call(rig, {"type": "DEACTIVATE_AGENT", "deactivate_agent": subject})
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
