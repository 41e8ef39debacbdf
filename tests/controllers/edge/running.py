"""An edge of a test: the controller as a process, with a real HAProxy that it keeps up."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from controllers.edge.render import DIGEST_PATH
from tests.local.moving import Stage
from tests.ports import free_port
from tests.waiting import until

_BOUND_S = 60.0
_STOP_S_MAX = 30.0
_BEHIND = re.compile(r"behind_s=(?P<s>[0-9.]+)")


@dataclass
class RunningEdge:
    """The controller with its proxy."""

    process: asyncio.subprocess.Process
    http_port: int
    admin: str
    log: Path

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            return await client.get(f"http://{self.admin}{path}")

    async def digest(self) -> str | None:
        try:
            answer = await self.get(DIGEST_PATH)
        except httpx.HTTPError:
            return None
        return answer.text if answer.is_success else None

    def not_whole(self) -> str:
        """What HAProxy logged of requests that it did not answer with 200, and of its servers."""
        lines = self.log.read_text().splitlines()
        return "\n".join(line for line in lines if " 200 " not in line)

    def applied(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "edge.applied" in line]

    def behind_s(self) -> list[float]:
        """How long after the first event of each change the proxy ran with it."""
        told = (_BEHIND.search(line) for line in self.applied())
        return [float(one["s"]) for one in told if one]


@asynccontextmanager
async def edge_of(
    here: Stage, haproxy: str, run_dir: Path, **changes: float
) -> AsyncGenerator[RunningEdge]:
    http_port, admin_port = free_port(), free_port()
    config = run_dir / "edge.json"
    settings = {
        "marathon": [here.marathon.marathon.settings.host_port],
        "run_dir": str(run_dir / "run"),
        "bind": "127.0.0.1",
        "http_port": http_port,
        "admin_bind": "127.0.0.1",
        "admin_port": admin_port,
        "program": haproxy,
        "lame_duck_s": 0.2,
        "hard_stop_s": 10,
        "log_requests": True,
        **changes,
    }
    config.write_text(json.dumps(settings))
    log = run_dir / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "controllers.edge", "--config", str(config)),
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
        )
    running = RunningEdge(process, http_port, f"127.0.0.1:{admin_port}", log)

    async def is_up() -> bool:
        assert process.returncode is None, log.read_text()[-2000:]
        return await running.digest() is not None

    try:
        await until(is_up, f"an edge, see {log}", _BOUND_S)
        yield running
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_STOP_S_MAX):
            await process.wait()
