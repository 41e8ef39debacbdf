"""A live cluster of stack `local` in a folder, state and port block of its own.

Everything is real: servers, masters (where the machine has them), tasks, traffic, the engine of
updates. Removed afterwards, also on failure.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from components.mesos.access import MARATHON_SECRET
from components.targets import orphans
from components.targets.supervisor import Supervisor
from stacks import environment
from stacks.automation import StackRunner
from stacks.demo import local_stack
from stacks.local.process import read_secret
from stacks.local.writes import ledger
from stacks.topology import Position, Standing

CHECKOUT = Path(__file__).resolve().parents[2]
_HEALTHY_BOUND_S = 60.0
_POLL_S = 0.1
# A whole migration takes two minutes on an idle machine of two cores.
_RUN_BOUND_S = 900.0
_ZNODES, _CALM_ZNODES = 1000, 100
_CLUSTER = "mesos-platform:cluster:\n"
_CALM = f"    traffic: {{rate_per_s: 5, znodes: {_CALM_ZNODES}}}\n"
Json = dict[str, Any]


class Rig:
    """One cluster, and the migrations of it."""

    def __init__(self, project_dir: Path, znodes: int) -> None:
        self.project_dir = project_dir
        self._znodes = znodes
        self.runner = StackRunner(local_stack.STACK, project_dir)
        config = local_stack.read(project_dir)
        self.supervisor = Supervisor(local_stack.run_dir_of(project_dir, config))
        # One for all: each of its own would read all authorities of the system anew.
        self._http = httpx.Client(timeout=5.0, trust_env=False)

    @property
    def standing(self) -> Standing:
        """Where the stack stands by its state."""
        standing = self.runner.actual()
        assert standing is not None
        return standing

    # What runs

    def framework(self) -> Json:
        """GET /state of the sample framework."""
        return self._get(str(self.runner.outputs()["frameworks"]["sample"]) + "/state")

    def traffic(self) -> Json:
        """GET /status of the client group."""
        return self._get(str(self.runner.outputs()["clients"]["traffic"]) + "/status")

    def marathon(self, path: str) -> Json:
        """GET of Marathon's API."""
        address = self.runner.outputs()["marathon"][0]
        secret = read_secret(self.supervisor.run_dir / "secrets" / MARATHON_SECRET) or ""
        user, _, password = secret.partition(":")
        answer = self._http.get(f"http://{address}{path}", auth=(user, password))
        answer.raise_for_status()
        return answer.json()

    def app_tasks(self) -> set[str]:
        """Ids of all tasks of Marathon's apps."""
        return {str(task["id"]) for task in self.marathon("/v2/tasks")["tasks"]}

    def hosts(self, color: str) -> str:
        """Client addresses of a colour's ensemble."""
        return str(self.runner.outputs()[f"{color}_zookeeper"])

    def pids(self) -> dict[str, int]:
        """Task id to process id, of healthy tasks."""
        return {task["id"]: int(task["pid"]) for task in self.framework()["tasks"]}

    def _get(self, url: str) -> Json:
        answer = self._http.get(url)
        answer.raise_for_status()
        return answer.json()

    def close(self) -> None:
        """Close connections; the cluster goes on."""
        self._http.close()

    def await_healthy(self) -> None:
        """Every task runs and traffic has its znodes; raises with what is missing otherwise."""

        def is_healthy() -> bool:
            state, traffic = self.framework(), self.traffic()
            seen.update({"healthy": state["healthy"], "znodes": traffic["znodes"]})
            tasks_run = state["healthy"] == state["target"] == len(state["tasks"])
            apps = self.marathon("/v2/apps")["apps"]
            seen["apps"] = {app["id"]: app["tasksHealthy"] for app in apps}
            apps_run = bool(apps) and all(
                app["instances"] == app["tasksHealthy"] == app["tasksRunning"]
                and not app["deployments"]
                for app in apps
            )
            return (
                tasks_run
                and apps_run
                and traffic["connected"]
                and traffic["znodes"] >= self._znodes
            )

        seen: Json = {}
        self.wait_for(is_healthy, lambda: f"a healthy cluster, saw {seen}")

    def wait_for(
        self,
        condition: Callable[[], bool],
        what: Callable[[], str],
        *,
        bound_s: float = _HEALTHY_BOUND_S,
    ) -> None:
        """Wait for a condition; a process that does not answer counts as not yet."""
        deadline = time.monotonic() + bound_s
        while True:
            try:
                if condition():
                    return
            except (httpx.HTTPError, OSError, KeyError):
                pass
            if time.monotonic() > deadline:
                msg = f"expected within {bound_s:g} s: {what()}"
                raise AssertionError(msg)
            time.sleep(_POLL_S)

    def kill(self, name: str) -> int:
        """End a process without warning; its supervisor starts it again."""
        pid = self.supervisor.status(name).pid
        os.kill(pid, signal.SIGKILL)
        return pid

    # Migrations, in processes of their own so that they can be killed

    def migrate(
        self, *words: str, kill_at: str | None = None, bound_s: float = _RUN_BOUND_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a verb; `kill_at` is `<transition>:<step>:<before|after>`."""
        command = [
            sys.executable,
            "-m",
            "tests.robustness.failpoint",
            str(self.project_dir),
            *words,
        ]
        if kill_at is not None:
            command += ["--kill-at", kill_at]
        environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=bound_s, env=environ
        )

    # Records

    @property
    def updates(self) -> list[Json]:
        """Every status update that the framework heard."""
        path = self.supervisor.directory("frameworks-sample-0") / "data" / "updates.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    @property
    def writes(self) -> Path:
        """The client group's log of acknowledged writes."""
        return self.supervisor.directory("clients-traffic-0") / "data" / "acks.jsonl"

    def acknowledged(self) -> int:
        """How many writes were acknowledged so far."""
        return ledger.replay(ledger.read(self.writes)).acknowledged


@contextmanager
def running(folder: Path, *, calm: bool = False) -> Generator[Rig]:
    """A cluster at phase 0, healthy and under traffic; one at a time on a machine.

    A calm one has a fortieth of the demo's traffic, for tests that this is no subject of.
    """
    with (Path(tempfile.gettempdir()) / f"mesos-platform-rig-{os.getuid()}").open("a") as turn:
        # Two rigs side by side would be slow enough to fail the time-outs of each other's servers.
        fcntl.flock(turn, fcntl.LOCK_EX)
        with _running(folder, calm=calm) as rig:
            yield rig


class Kept:
    """A calm cluster for one test after the other: whoever takes it home leaves it to the next.

    Where a test failed, or has left it elsewhere, the next one gets a new one.
    """

    def __init__(self, folders: Callable[[], Path]) -> None:
        self._folders = folders
        self._stack = ExitStack()
        self._at_home: Rig | None = None

    @contextmanager
    def lent(self) -> Generator[Rig]:
        """A cluster at phase 0."""
        rig, self._at_home = self._at_home, None
        if rig is None:
            self.close()
            rig = self._stack.enter_context(running(self._folders(), calm=True))
        yield rig
        if rig.standing.position == Position(0):
            self._at_home = rig

    def close(self) -> None:
        """Remove it."""
        self._at_home = None
        self._stack.close()


@contextmanager
def _running(folder: Path, *, calm: bool) -> Generator[Rig]:
    project = folder / "project"
    project.mkdir(parents=True)
    for name in ("Pulumi.yaml", "__main__.py"):
        shutil.copy(CHECKOUT / name, project / name)
    (project / ".venv").symlink_to(sys.prefix)
    before = dict(os.environ)
    environment.apply(project, own=True)
    block = local_stack.prepare(project)
    if calm:
        path = local_stack.path_of(project)
        text = path.read_text()
        assert _CLUSTER in text, text
        path.write_text(text.replace(_CLUSTER, f"{_CLUSTER}{_CALM}", 1))
    try:
        rig = Rig(project, _CALM_ZNODES if calm else _ZNODES)
        try:
            rig.runner.init()
            rig.runner.up()
            rig.await_healthy()
            yield rig
        finally:
            rig.close()
            rig.supervisor.remove_all()
            left = orphans.marked(rig.supervisor.mark(""))
            orphans.end(left, grace_s=1.0)
            block.release()
    finally:
        os.environ.clear()
        os.environ.update(before)
