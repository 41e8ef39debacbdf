"""A small cluster in processes of its own: one ZooKeeper server, master, agent and framework."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stacks.local.mesos_agent import clean_up
from tests.ports import free_port
from tests.sync_engine.servers import Server

_STOP_S = 10.0


@dataclass
class Cluster:
    """One colour. Pids are those of its processes."""

    color: str
    folder: Path
    zookeeper: Server
    master: str = ""
    agent: str = ""
    framework: str = ""
    pids: dict[str, int] = field(default_factory=dict[str, int])
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    def start(self, *, tasks: int) -> None:
        """Start everything but the ZooKeeper server, which serves already."""
        zk = {"zk": f"zk://{self.zookeeper.hosts}/{self.color}", "zk_session_timeout_s": 4}
        ports = {name: free_port() for name in ("master", "agent", "framework")}
        self.master, self.agent, self.framework = (f"127.0.0.1:{p}" for p in ports.values())
        self._run(
            "mesos_master",
            {
                **zk,
                "port": ports["master"],
                "work_dir": str(self.folder / "master"),
                "allocation_interval_ms": 50,
                "cluster": self.color,
            },
        )
        self._run(
            "mesos_agent",
            {
                "master": zk["zk"],
                "zk_session_timeout_s": 4,
                "port": ports["agent"],
                "work_dir": str(self.folder / "agent"),
                "registration_backoff_s": 0.2,
                # Where that is permitted, tasks have groups as the containerizer's have.
                "isolation": "cgroups",
            },
        )
        self._run(
            "framework",
            {
                **zk,
                "listen": self.framework,
                "work_dir": str(self.folder / "framework"),
                "path": "/frameworks/sample",
                "tasks": tasks,
            },
        )
        assert self.zookeeper.process is not None
        self.pids["zookeeper"] = self.zookeeper.process.pid

    def stop(self) -> None:
        """End all of it, its tasks too."""
        for process in reversed(self._running):
            process.terminate()
        for process in self._running:
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        clean_up(self.folder / "agent", 0.5)

    def settings(self) -> dict[str, Any]:
        """As the settings of a probe name it."""
        return {
            "cluster": self.color,
            "masters": [self.master],
            "zookeeper": [self.zookeeper.hosts],
        }

    def logs(self) -> str:
        """The end of every log."""
        return "\n".join(f"{p.name}: {p.read_text()[-1500:]}" for p in self.folder.glob("*.log"))

    def _run(self, module: str, config: dict[str, Any]) -> None:
        file = self.folder / f"{module}.json"
        file.write_text(json.dumps(config))
        with (self.folder / f"{module}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"stacks.local.{module}", "--config", str(file)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self._running.append(process)
        self.pids[module] = process.pid


@contextlib.contextmanager
def running(folder: Path, zookeeper: Server, color: str, *, tasks: int) -> Generator[Cluster]:
    """A cluster that is up, and gone afterwards."""
    place = folder / color
    place.mkdir()
    cluster = Cluster(color, place, zookeeper)
    try:
        cluster.start(tasks=tasks)
        yield cluster
    finally:
        cluster.stop()
