"""What rows run against: one ZooKeeper server, masters, and agents, simulated or with processes.

The real programs are used where they are on PATH, and every figure's note says which they were.
Simulated agents speak to stand-in masters only, so with real masters the agents are real, and few.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from clients.mesos import OperatorClient, SchedulerClient
from tests.performance.usage import processor_s, resident_mb
from tests.ports import free_port
from tests.waiting import until

BOUND_S = 600.0
_TIMEOUT_S = 120.0
Json = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    agents: int = 1000
    tasks: int = 10_000
    hosts: int = 4
    """Processes that host the simulated agents."""
    drained: int = 500
    drained_at_once: int = 50
    offers: int = 20
    """Repetitions where one is over in a moment."""
    state_agents: int = 5000
    state_tasks: int = 100_000


FULL = Sizes()
QUICK = Sizes(
    agents=40, tasks=200, hosts=2, drained=20, drained_at_once=5, offers=3,
    state_agents=100, state_tasks=1000,
)  # fmt: skip


class Processes:
    """What was started, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, module: str, settings: Json) -> None:
        """Start a process of the rig."""
        config = self._folder / f"{name}.json"
        config.write_text(json.dumps(settings))
        with (self._folder / f"{name}.log").open("ab") as log:
            self.started[name] = subprocess.Popen(
                [sys.executable, "-m", f"stacks.local.{module}", "--config", str(config)],
                stdout=log,
                stderr=log,
            )

    def kill(self, name: str) -> None:
        """End a process at once."""
        process = self.started.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End all of them."""
        for name in list(self.started):
            self.kill(name)

    def cpu_s(self, prefix: str) -> float:
        """Processor time of those whose name begins so."""
        return sum(
            processor_s(process.pid)
            for name, process in self.started.items()
            if name.startswith(prefix)
        )

    def rss_mb(self, name: str) -> float:
        """Memory that a process holds."""
        return resident_mb(self.started[name].pid)


class Cluster:
    """Masters and agents of one row."""

    def __init__(self, folder: Path, masters: int, session_s: float, interval_ms: int) -> None:
        folder.mkdir()
        self._folder = folder
        self._session_s = session_s
        self._interval_ms = interval_ms
        self.processes = Processes(folder)
        self.ports = [free_port() for _ in range(masters)]
        self.hosts = f"127.0.0.1:{free_port()}"
        self.zk = f"zk://{self.hosts}/mesos"
        self.agents = 0

    @property
    def masters(self) -> list[str]:
        """Their addresses."""
        return [f"127.0.0.1:{port}" for port in self.ports]

    def scheduler(self) -> SchedulerClient:
        """A client for a framework."""
        return SchedulerClient(self.masters, timeout_s=_TIMEOUT_S)

    def operator(self) -> OperatorClient:
        """A client for the operator API."""
        return OperatorClient(self.masters, timeout_s=_TIMEOUT_S)

    async def start(self) -> None:
        """ZooKeeper, and masters that have a leader."""
        quorum_port, election_port = free_port(), free_port()
        own = {"id": 1, "quorum_port": quorum_port, "election_port": election_port}
        server = {
            "myid": 1,
            "data_dir": str(self._folder / "zk"),
            "client_port": int(self.hosts.rpartition(":")[2]),
            "quorum_port": quorum_port,
            "election_port": election_port,
            "servers": [own],
            # Sessions may last twenty ticks.
            "tick_time_ms": int(self._session_s * 1000 / 20),
            "jars_dir": os.environ.get("MESOS_PLATFORM_TEST_ZOOKEEPER_JARS"),
        }
        self.processes.start("zookeeper", "zookeeper", server)
        for number in range(len(self.ports)):
            self.start_master(number)
        async with self.operator() as operator:
            await until(lambda: _leads(operator), "a leading master", BOUND_S)

    def start_master(self, number: int) -> None:
        """Start one, or again."""
        settings = {
            "port": self.ports[number],
            "zk": self.zk,
            "work_dir": str(self._folder / f"master-{number}"),
            "quorum": len(self.ports) // 2 + 1,
            "zk_session_timeout_s": self._session_s,
            "allocation_interval_ms": self._interval_ms,
        }
        self.processes.start(f"master-{number}", "mesos_master", settings)

    async def start_simulated(self, agents: int, hosts: int, *, cpus: float, mem: float) -> None:
        """Simulated agents, all registered."""
        share = -(-agents // hosts)
        for host in range(hosts):
            settings = {
                "listen": f"127.0.0.1:{free_port()}",
                "master": self.zk,
                "agents": min(share, agents - host * share),
                "first": host * share,
                "zk_session_timeout_s": self._session_s,
                "resources": {"cpus": cpus, "mem": mem},
            }
            self.processes.start(f"agents-{host}", "simulated_agents", settings)
        await self._registered(agents)

    async def start_agents(self, agents: int, *, cpus: float, mem: float) -> None:
        """Agents whose tasks are processes, all registered: real ones where they are on PATH."""
        for number in range(agents):
            settings = {
                "port": free_port(),
                "hostname": f"agent-{number}",
                "master": self.zk,
                "work_dir": str(self._folder / f"agent-{number}"),
                "zk_session_timeout_s": self._session_s,
                "resources": {"cpus": cpus, "mem": mem},
            }
            self.processes.start(f"agents-{number}", "mesos_agent", settings)
        await self._registered(agents)

    async def start_any(self, agents: int, hosts: int, *, cpus: float, mem: float) -> int:
        """Simulated agents, or a few real ones beside real masters; returns how many."""
        if engine() != "stand-in":
            agents = 2
            await self.start_agents(agents, cpus=1000 * cpus, mem=1000 * mem)
        else:
            await self.start_simulated(agents, hosts, cpus=cpus, mem=mem)
        return agents

    async def _registered(self, agents: int) -> None:
        self.agents = agents
        async with self.operator() as operator:

            async def all_there() -> bool:
                return (await operator.metrics())["master/slaves_active"] >= agents

            await until(all_there, "all agents are registered", BOUND_S)

    async def stop(self) -> None:
        """End everything, tasks with processes too."""
        self.processes.stop()
        for folder in self._folder.glob("agent-*"):
            if folder.is_dir():
                command = [sys.executable, "-m", "stacks.local.mesos_agent", "cleanup"]
                await asyncio.to_thread(
                    subprocess.run,
                    [*command, "--work-dir", str(folder)],
                    check=True,
                    capture_output=True,
                )


async def _leads(operator: OperatorClient) -> bool:
    return bool((await operator.master()).elected_at)


def engine() -> str:
    """What serves: `Mesos` where its programs are on PATH, else `stand-in`."""
    found = shutil.which("mesos-master") and shutil.which("mesos-agent")
    return "Mesos" if found else "stand-in"


class Stage:
    """Makes clusters, one at a time."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self._folder = folder
        self._number = 0
        self.sizes = sizes

    @asynccontextmanager
    async def cluster(
        self, masters: int = 1, *, session_s: float = 60.0, interval_ms: int = 200
    ) -> AsyncGenerator[Cluster]:
        """A cluster of its own; sessions are long where an election is not what is measured."""
        self._number += 1
        made = Cluster(self._folder / str(self._number), masters, session_s, interval_ms)
        try:
            await made.start()
            yield made
        finally:
            await made.stop()


async def read(url: str) -> tuple[bytes, float]:
    """What a path answers, and when it began to be asked."""
    async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await client.get(url)
        answer.raise_for_status()
        return answer.content, loop.time() - began
