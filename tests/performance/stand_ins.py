"""Measure the stand-in for Mesos at size: `python -m tests.performance.stand_ins`.

One ZooKeeper server, one master, simulated agents in a few processes, and one framework in this
process that launches as many tasks as it is offered. Prints what was measured and writes it to
build/bench/stand-ins.json; fails on nothing but a bound that says that something hangs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from stacks.local.mesos.election import Detector
from stacks.local.mesos.values import scalars
from stacks.local.sample.link import Link
from stacks.local.session import Session

_BOUND_S = 600.0
_POLL_S = 0.1
_CPUS, _MEM = 0.1, 32.0
_CALLS_AT_ONCE = 20
# Long, so that a busy machine is measured and not an election.
_SESSION_S = 60
Json = dict[str, Any]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> float:
    """Wait for a condition; returns for how long."""
    started = time.monotonic()
    while not await condition():
        if time.monotonic() - started > _BOUND_S:
            msg = f"expected {what} within {_BOUND_S:g} s: look into the processes' logs"
            raise TimeoutError(msg)
        await asyncio.sleep(_POLL_S)
    return time.monotonic() - started


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

    def cpu_s(self, name: str) -> float:
        """Processor time that a process has used."""
        fields = Path(f"/proc/{self.started[name].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self, name: str) -> float:
        """Memory that a process holds."""
        pages = int(Path(f"/proc/{self.started[name].pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Launcher:
    """A framework that launches tasks until it has as many as wanted."""

    def __init__(self, wanted: int, *, per_offer: int) -> None:
        self.wanted = wanted
        self._per_offer = per_offer
        self.launched = 0
        self.states: dict[str, str] = {}
        self.framework_id: str | None = None
        self.first_offer_at: float | None = None
        self.link = Link(info=self._info, handle=self._handle, credential=None)
        self.acknowledging: set[asyncio.Future[None]] = set()
        self._slots = asyncio.Semaphore(_CALLS_AT_ONCE)

    def _info(self) -> Json:
        info: Json = {
            "user": "root", "name": "measured", "roles": ["*"], "failover_timeout": 3600.0,
            "checkpoint": True,
            "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}],
        }  # fmt: skip
        return {**info, "id": {"value": self.framework_id}} if self.framework_id else info

    async def _call(self, kind: str, body: Json) -> bool:
        return await self.link.call(kind, self.framework_id or "", body)

    async def _handle(self, event: Json) -> None:
        if event["type"] == "SUBSCRIBED":
            self.framework_id = event["subscribed"]["framework_id"]["value"]
        elif event["type"] == "OFFERS":
            for offer in event["offers"]["offers"]:
                await self._use(offer)
        elif event["type"] == "UPDATE":
            status = event["update"]["status"]
            self.states[status["task_id"]["value"]] = status["state"]
            if "uuid" in status:
                work = asyncio.ensure_future(self._acknowledge(status))
                self.acknowledging.add(work)
                work.add_done_callback(self.acknowledging.discard)

    async def _acknowledge(self, status: Json) -> None:
        async with self._slots:
            keys = ("agent_id", "task_id", "uuid")
            await self._call("ACKNOWLEDGE", {key: status[key] for key in keys})

    async def _use(self, offer: Json) -> None:
        self.first_offer_at = self.first_offer_at or time.monotonic()
        left = scalars(offer["resources"])
        count = int(min(left.get("cpus", 0) // _CPUS, left.get("mem", 0) // _MEM))
        count = min(count, self.wanted - self.launched, self._per_offer)
        ids = [offer["id"]]
        if count <= 0:
            await self._call("DECLINE", {"offer_ids": ids, "filters": {"refuse_seconds": 3600}})
            return
        infos = [self._task(offer) for _ in range(count)]
        operation = {"type": "LAUNCH", "launch": {"task_infos": infos}}
        filters = {"refuse_seconds": 3600}
        await self._call(
            "ACCEPT", {"offer_ids": ids, "operations": [operation], "filters": filters}
        )

    def _task(self, offer: Json) -> Json:
        self.launched += 1
        allocation = {"role": "*"}
        amounts = {"cpus": _CPUS, "mem": _MEM}
        return {
            "name": "measured",
            "task_id": {"value": f"measured-{self.launched}"},
            "agent_id": offer["agent_id"],
            "resources": [
                {"name": n, "type": "SCALAR", "scalar": {"value": v}, "allocation_info": allocation}
                for n, v in amounts.items()
            ],
            "command": {"value": "true"},
        }

    def running(self) -> int:
        """Tasks whose last status says so."""
        return Counter(self.states.values())["TASK_RUNNING"]


class Measurement:
    """The stages, one after the other; each notes its figures."""

    def __init__(self, folder: Path, *, agents: int, tasks: int, groups: int) -> None:
        self._processes = Processes(folder)
        self._folder = folder
        self._share, self._groups, self._tasks = agents // groups, groups, tasks
        ports = [free_port() for _ in range(4 + groups)]
        self._ports = ports
        self._hosts, self._master = f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[3]}"
        self._settings: Json = {
            "engine": "stand-in",
            "port": ports[3],
            "zk": f"zk://{self._hosts}/mesos",
            "work_dir": str(folder / "master"),
            "zk_session_timeout_s": _SESSION_S,
        }
        self._client = httpx.AsyncClient(timeout=60)
        self._launcher = Launcher(tasks, per_offer=max(1, tasks // agents))
        self.figures: list[Json] = []

    def _note(self, metric: str, value: float, unit: str) -> None:
        figure = {"metric": metric, "unit": unit, "target": None, "measured": round(value, 3)}
        self.figures.append({**figure, "anchor": None, "ok": True})
        sys.stdout.write(f"{metric:48} {value:12.3f} {unit}\n")
        sys.stdout.flush()

    async def run(self) -> None:
        """All of it."""
        try:
            await self._start_masters()
            await self._start_agents()
            await self._launch_and_fail_over()
        finally:
            await self._client.aclose()
            self._processes.stop()

    async def _metrics(self) -> Json:
        try:
            answer = await self._client.get(f"{self._master}/metrics/snapshot")
            return answer.json() if answer.is_success else {}
        except httpx.HTTPError:
            return {}

    async def _leads(self) -> bool:
        try:
            return (await self._client.get(f"{self._master}/weights")).is_success
        except httpx.HTTPError:
            return False

    async def _registered(self) -> bool:
        active = (await self._metrics()).get("master/slaves_active", -1.0)
        return active >= self._share * self._groups

    async def _start_masters(self) -> None:
        server = {"id": 1, "quorum_port": self._ports[1], "election_port": self._ports[2]}
        ensemble = {
            "myid": 1,
            "data_dir": str(self._folder / "zk"),
            "client_port": self._ports[0],
            "quorum_port": self._ports[1],
            "election_port": self._ports[2],
            "servers": [server],
            # Sessions may last twenty ticks.
            "tick_time_ms": int(_SESSION_S * 1000 / 20),
            "jars_dir": os.environ.get("MESOS_PLATFORM_TEST_ZOOKEEPER_JARS"),
        }
        self._processes.start("zookeeper", "zookeeper", ensemble)
        self._processes.start("master", "mesos_master", self._settings)
        await until(self._leads, "a leading master")

    async def _start_agents(self) -> None:
        for group in range(self._groups):
            settings = {
                "listen": f"127.0.0.1:{self._ports[4 + group]}",
                "master": self._settings["zk"],
                "agents": self._share,
                "first": group * self._share,
                "zk_session_timeout_s": _SESSION_S,
            }
            self._processes.start(f"agents-{group}", "simulated_agents", settings)
        self._note("agents.registered", await until(self._registered, "all agents"), "s")
        self._note("agents.count", float(self._share * self._groups), "agents")

    async def _launch_and_fail_over(self) -> None:
        launcher, session = self._launcher, Session(self._hosts, timeout_s=_SESSION_S)
        await session.start(bound_s=60)
        work = [
            asyncio.ensure_future(Detector(session, "/mesos").run(launcher.link.note_leader)),
            asyncio.ensure_future(launcher.link.run()),
        ]
        try:
            await self._launch()
            await self._read()
            await self._fail_over()
        finally:
            for future in work:
                future.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await launcher.link.close()
            await session.close()

    async def _launch(self) -> None:
        launcher, processes = self._launcher, self._processes

        async def all_run() -> bool:
            return launcher.running() >= self._tasks

        async def acknowledged() -> bool:
            return not launcher.acknowledging

        before_s = processes.cpu_s("master")
        await until(all_run, "all tasks")
        seconds = time.monotonic() - (launcher.first_offer_at or 0.0)
        self._note("tasks.running", float(launcher.running()), "tasks")
        self._note("tasks.from_first_offer_to_all_running", seconds, "s")
        self._note("tasks.launch_rate", self._tasks / seconds, "tasks/s")
        self._note("master.cpu_during_launch", processes.cpu_s("master") - before_s, "s")
        await until(acknowledged, "all acknowledgements")
        self._note("master.rss", processes.rss_mb("master"), "MB")
        self._note("agents.rss_of_one_process", processes.rss_mb("agents-0"), "MB")

    async def _read(self) -> None:
        call = {"type": "GET_STATE"}
        client = self._client
        requests = {
            "/state": client.build_request("GET", f"{self._master}/state"),
            "GET_STATE": client.build_request("POST", f"{self._master}/api/v1", json=call),
            "/metrics/snapshot": client.build_request("GET", f"{self._master}/metrics/snapshot"),
        }
        for name, request in requests.items():
            started = time.monotonic()
            answer = await client.send(request)
            self._note(f"read.{name}", (time.monotonic() - started) * 1000, "ms")
            self._note(f"read.{name}.size", len(answer.content) / 1e6, "MB")
        metrics = await self._metrics()
        self._note("allocator.run_p99", metrics["allocator/mesos/allocation_run_ms/p99"], "ms")

    async def _fail_over(self) -> None:
        async def back() -> bool:
            return await self._registered() and self._launcher.link.connected_to is not None

        self._processes.kill("master")
        self._processes.start("master", "mesos_master", self._settings)
        self._note("failover.agents_and_framework_back", await until(back, "all again"), "s")
        metrics = await self._metrics()
        self._note("failover.tasks_running", metrics["master/tasks_running"], "tasks")


async def _measure(folder: Path, given: argparse.Namespace) -> list[Json]:
    measurement = Measurement(
        folder, agents=given.agents, tasks=given.tasks, groups=given.processes
    )
    await measurement.run()
    return measurement.figures


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=4, help="that host the agents")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(_measure(Path(folder), given))
    target = Path("build/bench/stand-ins.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
