"""An update that is killed: what it leaves is cleared, and the next update completes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.targets.supervisor import Supervisor
from stacks.automation import StackRunner
from stacks.errors import ConcurrentUpdateError
from tests.stacks.conftest import CHECKOUT
from tests.stacks.test_state import await_name
from tests.waiting import block_until

# Its processes start and never answer, so that the update waits for them until it is killed.
NEVER_READY = """
import sys
from pathlib import Path
from components.workload import Program
from stacks.automation import StackRunner
from stacks.program import Programs, declare
silent = Program(("/bin/sleep", "600"))
project = Path(sys.argv[1])
programs = Programs(*(silent for _ in range(8)))
StackRunner("local", project, program=lambda: declare(project, programs)).up()
"""


def start_and_kill_update(project: Path) -> None:
    update = subprocess.Popen(
        [sys.executable, "-c", NEVER_READY, str(project)], cwd=CHECKOUT, start_new_session=True
    )
    supervisor = Supervisor(project / ".local" / "local")
    block_until(lambda: "blue-zookeeper-2" in supervisor.programs(), "the update's begin", 60)
    # The whole group: the program, the engine, and its providers where they share the group.
    os.killpg(update.pid, signal.SIGKILL)
    update.wait()


def providers(state: Path) -> set[str]:
    """Processes that host dynamic providers of stacks in one backend."""
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if b"pulumi.dynamic" in command and str(state).encode() in environment:
            found.add(process.name)
    return found


@pytest.mark.long
def test_a_killed_update_is_cleared_and_completed(local: StackRunner, tmp_path: Path) -> None:
    start_and_kill_update(local.project_dir)

    assert local.clear_interrupted(wait_s=20)
    local.up()

    assert local.preview().changes == ()
    assert not local.clear_interrupted()
    # Providers of the killed engine end by themselves: they must not go on with what they began.
    block_until(lambda: not providers(tmp_path / "state"), "the end of all providers", 20)


def test_a_live_update_is_waited_for_and_then_named(local: StackRunner, tmp_path: Path) -> None:
    folder = tmp_path / "state/.pulumi/locks/organization/mesos-platform/local"
    folder.mkdir(parents=True, exist_ok=True)
    # A lock counts as held by a live process that is an engine.
    engine = shutil.copy("/bin/sleep", tmp_path / "pulumi")
    with subprocess.Popen([engine, "120"]) as running:
        await_name(running.pid, "pulumi")
        lock = {"pid": running.pid, "hostname": os.uname().nodename, "username": "me"}
        (folder / "mine.json").write_text(json.dumps(lock))
        with pytest.raises(ConcurrentUpdateError):
            local.clear_interrupted(wait_s=0.1)
        with pytest.raises(ConcurrentUpdateError):
            local.up()
        running.kill()
