"""The engine as its users run it: `zk-sync run` with a rules file, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from sync_engine.client import EngineClient, EngineState, EngineStatus, EngineUnreachableError, Side
from tests.performance.usage import processor_s
from tests.sync_engine.servers import free_port

_POLL_S = 0.01
LIVE_BOUND_S = 300.0
_STOP_BOUND_S = 15.0
_READY = (EngineState.LIVE, EngineState.DEGRADED)


class EngineEndedError(Exception):
    """The engine ended by itself, or was not live in time."""


@dataclass(frozen=True)
class Rule:
    """One subtree, at the same path on both sides."""

    name: str
    owner: Side

    @property
    def root(self) -> str:
        """Its path."""
        return f"/{self.name}"


class EngineProcess:
    """One engine, which may be killed and started again; its state stays."""

    def __init__(
        self, folder: Path, hosts: Mapping[Side, str], auth_file: Path, rules: Sequence[Rule]
    ) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._token_file = folder / "token"
        self._token_file.write_text("token-for-benchmarks")
        self._token_file.chmod(0o600)
        self._rules_file = folder / "rules.yaml"
        self._listen = f"127.0.0.1:{free_port()}"
        auth = {"scheme": "digest", "file": str(auth_file)}
        document = {
            "sides": {side.value: {"hosts": hosts[side], "auth": auth} for side in Side},
            "state_dir": str(folder / "state"),
            "listen": self._listen,
            "token_file": str(self._token_file),
            "subtrees": [
                {"name": r.name, "path_a": r.root, "path_b": r.root, "owner": r.owner.value}
                for r in rules
            ],
        }
        self._rules_file.write_text(yaml.safe_dump(document))
        self._process: subprocess.Popen[bytes] | None = None
        self.client = EngineClient(f"http://{self._listen}", self._token_file)

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> float:
        """Start it; returns when, by the monotonic clock."""
        at = time.monotonic()
        with (self._folder / "engine.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sync_engine.cli", "run", "--rules", str(self._rules_file)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        return at

    def kill(self) -> float:
        """End it as a power cut would; returns when."""
        assert self._process is not None
        at = time.monotonic()
        self._process.kill()
        self._process.wait()
        return at

    async def stop(self) -> None:
        """Let it end in order."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, _STOP_BOUND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    async def await_live(self) -> EngineStatus:
        """Wait until the first comparison is done and changes are followed.

        Raises:
            EngineEndedError: it ended, or needs longer than any tree here takes.
        """
        deadline = time.monotonic() + LIVE_BOUND_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            with contextlib.suppress(EngineUnreachableError):
                status = await self.client.status()
                if status.state in _READY:
                    return status
            await asyncio.sleep(_POLL_S)
        log = (self._folder / "engine.log").read_text()[-2000:]
        msg = f"expected a live engine within {LIVE_BOUND_S:g} s, saw none; its log ends: {log}"
        raise EngineEndedError(msg)

    def memory_peak_mb(self) -> float:
        """The most resident memory it has had."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        msg = f"expected VmHWM of process {self.pid}, saw none: it has ended"
        raise EngineEndedError(msg)

    def cpu_s(self) -> float:
        """Processor time that it has used so far."""
        return processor_s(self.pid)


@contextlib.asynccontextmanager
async def held(engine: EngineProcess) -> AsyncGenerator[EngineProcess]:
    """The engine as it is; stopped at the end."""
    try:
        yield engine
    finally:
        await engine.stop()
        await engine.client.aclose()


@contextlib.asynccontextmanager
async def running(engine: EngineProcess) -> AsyncGenerator[EngineProcess]:
    """The engine, started and live; stopped at the end."""
    async with held(engine):
        engine.start()
        await engine.await_live()
        yield engine
