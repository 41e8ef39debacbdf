"""What faults are done to: both sides' servers, the engine as a process, and the ways between."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sync_engine.client import EngineClient, EngineState, EngineStatus, EngineUnreachableError
from sync_engine.conflicts import ConflictJournal
from sync_engine.direction import Roots, Side
from sync_engine.errors import ConnectionLostError
from sync_engine.lane import Lane
from tests.performance.proxy import Partition, between
from tests.ports import free_port
from tests.robustness.history.acknowledged import Node
from tests.robustness.matrix.ensembles import Groups
from tests.robustness.matrix.writers import Writers
from tests.sync_engine.rig import TOKEN, tree
from tests.sync_engine.servers import AUTH
from tests.waiting import until

ENGINE_SESSION_S = 10.0
_UP_S = 180.0
_SAID_S = 120.0
_END_S = 120.0
_LOOK_PAUSE_S = 0.1
_UP = (EngineState.LIVE, EngineState.DEGRADED)
_TUNING = {
    "session_timeout_s": ENGINE_SESSION_S,
    "scan_interval_s": 1.0,
    "lag_bound_s": 2.0,
}


class Process:
    """One engine, with a folder of its own."""

    def __init__(self, folder: Path, document: dict[str, Any]) -> None:
        folder.mkdir(parents=True)
        token = folder / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        self.folder = folder
        self.port = free_port()
        self.document = {
            **document,
            "listen": f"127.0.0.1:{self.port}",
            "token_file": str(token),
        }
        self.document.setdefault("state_dir", str(folder / "state"))
        self.state_dir = Path(self.document["state_dir"])
        self._rules = folder / "rules.yaml"
        self.rewrite()
        self._running: subprocess.Popen[bytes] | None = None
        self.client = EngineClient(f"http://127.0.0.1:{self.port}", token)

    def rewrite(self) -> None:
        """Write its rules, for the next start."""
        self._rules.write_text(yaml.safe_dump(self.document))

    @property
    def log(self) -> str:
        """All that it has said so far."""
        return (self.folder / "engine.log").read_text(errors="replace")

    def last_words(self, event: str) -> str:
        """The reason that it gave with the last event of a name, without this machine's folders."""
        lines = [line for line in self.log.splitlines() if f'"event": "{event}"' in line]
        assert lines, self.log[-3000:]
        return str(json.loads(lines[-1])["reason"]).replace(str(self.folder.parent), "…")

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._running is not None
        return self._running.pid

    def start(self, *dies_at: str) -> None:
        """Start it; with a failpoint and how often that is passed, one that dies there."""
        module = "tests.robustness.matrix.failpoints" if dies_at else "sync_engine.cli"
        command = [sys.executable, "-m", module, *dies_at, "run", "--rules", str(self._rules)]
        with (self.folder / "engine.log").open("ab") as log:
            self._running = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._running is not None
        self._running.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    async def ended(self) -> int:
        """Wait until it ends by itself; its exit status."""
        process = self._running
        assert process is not None
        return await until(lambda: _code(process), "the end of an engine", _END_S) - 1000

    async def status(self) -> EngineStatus | None:
        """How it says that it is; None while it does not answer."""
        try:
            return await self.client.status()
        except EngineUnreachableError:
            return None

    async def await_up(self, *states: EngineState) -> None:
        """Wait until it is in one of these states: without any, started and done with its first
        comparison."""
        seen: list[str] = []

        async def up() -> bool:
            status = await self._look()
            seen[:] = ["no answer"] if status is None else [status.state.value, *status.reasons]
            return status is not None and status.state in (states or _UP)

        try:
            await until(up, f"an engine that is up ({self.folder})", _UP_S)
        except AssertionError as error:
            msg = f"{error}, saw {seen}"
            raise AssertionError(msg) from None

    async def said(self, words: str, *, state: EngineState | None = None) -> str:
        """Wait until a reason of its state has these words; returns the reason."""
        reasons: list[str] = []

        async def found() -> str | None:
            status = await self._look()
            reasons[:] = ["no answer"] if status is None else [status.state.value, *status.reasons]
            if status is None or (state is not None and status.state is not state):
                return None
            return next((reason for reason in status.reasons if words in reason), None)

        try:
            return await until(found, f"{words!r} among the reasons", _SAID_S)
        except AssertionError as error:
            msg = f"{error}, saw {reasons}: {self.log[-3000:]}"
            raise AssertionError(msg) from None

    async def _look(self) -> EngineStatus | None:
        """Its status, not too often, as long as it runs."""
        await asyncio.sleep(_LOOK_PAUSE_S)
        self.check_lives()
        return await self.status()

    def check_lives(self) -> None:
        """Fail with its last words where it has ended."""
        assert self._running is not None
        assert self._running.poll() is None, f"the engine ended: {self.log[-3000:]}"

    def conflicts(self) -> list[dict[str, Any]]:
        """The lines of its journal."""
        return list(ConflictJournal(self.state_dir / "conflicts.jsonl").entries())

    async def close(self) -> None:
        """End it, however it is."""
        if self._running is not None and self._running.poll() is None:
            self._running.send_signal(signal.SIGCONT)
        self.kill()
        await self.client.aclose()


def _code(process: subprocess.Popen[bytes]) -> int | None:
    code = process.poll()
    # Never zero, which would mean "not yet".
    return None if code is None else code + 1000


@dataclass
class Stage:
    """One run."""

    folder: Path
    groups: Groups
    ways: dict[Side, Partition]
    roots: Roots
    name: str
    document: dict[str, Any]
    engine: Process
    writers: Writers
    chance: random.Random
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """What a fault notes about itself, for its undoing and for what was seen."""
    processes: list[Process] = field(default_factory=list[Process])

    def add_process(self, name: str, **changes: Any) -> Process:
        """Another engine for the same rules."""
        made = Process(self.folder / name, {**copy.deepcopy(self.document), **changes})
        self.processes.append(made)
        return made

    @contextlib.asynccontextmanager
    async def admin(self, side: Side) -> AsyncGenerator[Lane]:
        """The super user on one side, over a session that has seen nothing yet."""
        lane = Lane(self.groups[side].hosts, AUTH, session_timeout_s=6)
        try:
            await lane.start(bound_s=_UP_S)
            yield lane
        finally:
            await lane.close()

    async def nodes(self, side: Side) -> dict[str, Node]:
        """A side's persistent znodes as they are now, however often a connection breaks."""

        async def read() -> tuple[dict[str, Node]] | None:
            try:
                return (await self._nodes(side),)
            except ConnectionLostError:
                return None

        (found,) = await until(read, f"the znodes of side {side}", _UP_S)
        return found

    async def _nodes(self, side: Side) -> dict[str, Node]:
        async with self.admin(side) as lane:
            root = self.roots.root(side)
            if await lane.exists(root) is None:
                return {}
            return {rel: Node(data, acl) for rel, (data, acl) in (await tree(lane, root)).items()}


@contextlib.asynccontextmanager
async def staged(
    folder: Path,
    groups: Groups,
    seed: int,
    *,
    rule: dict[str, Any],
    tuning: dict[str, Any],
) -> AsyncGenerator[Stage]:
    """A stage on running servers, with writers' sessions and an engine that is not started."""
    name = f"t{uuid.uuid4().hex[:8]}"
    roots = Roots(f"/{name}", f"/other/{name}")
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    async with contextlib.AsyncExitStack() as stack:
        ways: dict[Side, Partition] = {}
        sides: dict[str, Any] = {}
        for side, group in groups.items():
            ways[side], hosts = await stack.enter_async_context(between(group.hosts, chance))
            auth = {"scheme": "digest", "file": str(group.auth_file)}
            sides[side.value] = {"hosts": hosts, "auth": auth}
        document = {
            "sides": sides,
            "subtrees": [
                {"name": name, "path_a": roots.a, "path_b": roots.b, "owner": "a", **rule}
            ],
            "tuning": {**_TUNING, **tuning},
        }
        both = rule.get("direction") == "both"
        hosts = {side: group.hosts for side, group in groups.items()}
        writers = Writers(hosts, roots, seed, both=both)
        engine = Process(folder / "engine", document)
        stage = Stage(
            folder, groups, ways, roots, name, document, engine, writers, chance, {}, [engine]
        )
        try:
            for side in Side:
                await writers.connect(side)
            await writers.begin()
            yield stage
        finally:
            await writers.close()
            for process in stage.processes:
                await process.close()
