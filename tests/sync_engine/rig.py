"""An engine in this process or in one of its own, on real servers, with clients on both sides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml

from sync_engine.client import EngineClient, EngineState
from sync_engine.direction import Side
from sync_engine.engine import Engine
from sync_engine.errors import EngineUnreachableError
from sync_engine.lane import Lane
from sync_engine.replicator import Replicator
from sync_engine.settings import parse_rules
from sync_engine.znode import WORLD_ALL, Znode
from tests.ports import free_port
from tests.sync_engine.servers import AUTH, BOUND_S, Server

TOKEN = "token-for-tests"
_POLL_S = 0.02


async def until(
    condition: Callable[[], object | Awaitable[object]], what: str, bound_s: float = BOUND_S
) -> None:
    """Wait for a condition, which may have to ask somebody, to be true; with a bound."""
    deadline = time.monotonic() + bound_s
    while True:
        found = condition()
        if await found if isinstance(found, Awaitable) else found:
            return
        assert time.monotonic() < deadline, f"{what} did not happen within {bound_s:g} s"
        await asyncio.sleep(_POLL_S)


class Rig:
    """Rules for one pair of servers, with one subtree and one projection of this test alone."""

    def __init__(self, pair: tuple[Server, Server], folder: Path, **tuning: Any) -> None:
        self.folder = folder
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.paths = {Side.A: f"/{self.name}", Side.B: f"/other/{self.name}"}
        self.election = f"/mesos-{self.name}"
        self.projection = f"p-{self.name}"
        self.servers = dict(zip(Side, pair, strict=True))
        self.token_file = folder / "token"
        self.token_file.write_text(TOKEN)
        self.token_file.chmod(0o600)
        self.port = free_port()
        self.document: dict[str, Any] = {
            "sides": {
                side.value: {
                    "hosts": server.hosts,
                    "auth": {"scheme": "digest", "file": str(server.auth_file)},
                }
                for side, server in self.servers.items()
            },
            "state_dir": str(folder / "state"),
            "listen": f"127.0.0.1:{self.port}",
            "token_file": str(self.token_file),
            "subtrees": [
                {
                    "name": self.name,
                    "path_a": self.paths[Side.A],
                    "path_b": self.paths[Side.B],
                    "owner": "a",
                }
            ],
            "projections": [
                {
                    "name": self.projection,
                    "from": "b",
                    "leader_path_a": self.election,
                    "leader_path_b": self.election,
                    "label": "json.info_",
                }
            ],
            "tuning": {"scan_interval_s": 0.3, "lag_bound_s": 1.0, **tuning},
        }
        self.rules_file = folder / "rules.yaml"
        self.rules_file.write_text(yaml.safe_dump(self.document))
        self.state_dir = folder / "state"

    @property
    def a(self) -> str:
        """The subtree's root on side a."""
        return self.paths[Side.A]

    @property
    def b(self) -> str:
        """The subtree's root on side b."""
        return self.paths[Side.B]

    def conflicts(self) -> list[dict[str, Any]]:
        """The journal."""
        path = self.state_dir / "conflicts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @contextlib.asynccontextmanager
    async def lanes(self) -> AsyncGenerator[tuple[Lane, Lane]]:
        """The super user on both sides."""
        lanes = [Lane(s.hosts, AUTH, session_timeout_s=5) for s in self.servers.values()]
        try:
            for lane in lanes:
                await lane.start()
            await lanes[0].create(self.a, None, WORLD_ALL)
            for lane in lanes:
                await lane.create(self.election, b"", WORLD_ALL)
            yield lanes[0], lanes[1]
        finally:
            for lane in lanes:
                await lane.close()

    @contextlib.asynccontextmanager
    async def engine(
        self, *, live: bool = True, changes: dict[str, Any] | None = None
    ) -> AsyncGenerator[Engine]:
        """An engine in this process; waits until it is live unless told otherwise."""
        engine = Engine(parse_rules({**self.document, **(changes or {})}, "rules"))
        task = asyncio.create_task(engine.run())
        try:
            await until(lambda: task.done() or not live or is_live(engine), "live")
            if task.done():
                task.result()
            yield engine
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def start(self) -> subprocess.Popen[bytes]:
        """An engine of its own; kill it."""
        with (self.folder / "engine.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "sync_engine.cli", "run", "--rules", str(self.rules_file)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    @contextlib.asynccontextmanager
    async def process(self) -> AsyncGenerator[tuple[subprocess.Popen[bytes], EngineClient]]:
        """An engine of its own that is live, and its client."""
        process = self.start()
        try:
            async with self.client() as client:
                await self.await_live(process, client)
                yield process, client
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
            process.kill()
            process.wait()

    def client(self) -> EngineClient:
        """A client of this rig's engine."""
        return EngineClient(f"http://127.0.0.1:{self.port}", self.token_file)

    async def await_live(self, process: subprocess.Popen[bytes], client: EngineClient) -> None:
        """Wait until the engine is live."""

        async def live() -> bool:
            assert process.poll() is None, (self.folder / "engine.log").read_text()[-3000:]
            try:
                return (await client.status()).state is EngineState.LIVE
            except EngineUnreachableError:
                return False

        await until(live, "live", 30)


def is_live(engine: Engine) -> bool:
    """Whether an engine's first copy is done."""
    workers = engine.replicators.values()
    return engine.is_started and all(w.is_idle and not w.is_copying for w in workers)


async def tree(lane: Lane, root: str) -> dict[str, tuple[bytes | None, frozenset[Any]]]:
    """Data and ACL of all persistent nodes below a path, by relative path."""
    await lane.sync(root)
    found: dict[str, tuple[bytes | None, frozenset[Any]]] = {}
    async for nodes in lane.scan(root):
        for node in nodes:
            if not node.stat.ephemeral_owner:
                found[node.path[len(root) :]] = (node.data, frozenset(node.acl))
    return found


async def until_equal(rig: Rig, a: Lane, b: Lane, bound_s: float = 10) -> None:
    """Wait until both sides' trees are the same."""

    async def equal() -> bool:
        return await tree(a, rig.a) == await tree(b, rig.b)

    await until(equal, "equal trees", bound_s)


async def read(lane: Lane, path: str) -> Znode | None:
    """A node as it is now."""
    await lane.sync(path)
    return await lane.read(path)


def worker(engine: Engine, rig: Rig) -> Replicator:
    """The replicator of the rig's subtree."""
    return engine.replicators[rig.name]


async def raise_zxid(behind: Lane, ahead: Lane, path: str) -> None:
    """Let one server's zxid pass the other's, as a fresh ensemble's epoch does."""
    while behind.last_zxid <= ahead.last_zxid + 2_000:
        gap = ahead.last_zxid + 2_000 - behind.last_zxid
        await asyncio.gather(*(behind.set_data(path, b"", -1) for _ in range(min(gap + 1, 400))))
