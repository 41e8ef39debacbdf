"""A cluster as the recordings had it: stand-ins in a thread, or programs in processes of their own.

`make test-mesos` runs the contract tests on the real programs: with the switch of the environment,
masters and agents are started as the rig does it, and become `mesos-master` and `mesos-agent` where
those are on PATH. Without it, a stand-in master and agents run in a thread with a loop of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx

from tests.fixtures.mesos import AGENT_ID, load
from tests.local.rig import Rig, free_port, make_rig
from tests.waiting import until

SWITCH = "MESOS_PLATFORM_TEST_MESOS"
_RESOURCES = {"cpus": 4, "mem": 2048, "disk": 1000, "ports": [31000, 31100]}
# No election is what is looked at: a busy machine must not cause one.
_PATIENT: dict[str, Any] = {"zk_session_timeout_s": 30}
# What an agent of real Mesos needs to start on a busy machine.
_BOUND_S = 60.0


@dataclass(frozen=True)
class Address:
    """Where a master is, and what the leader calls an agent."""

    address: str = ""
    id: str | None = None


class Cluster:
    """Stand-ins, in a thread with a loop of its own."""

    is_real = False

    def __init__(self, hosts: str, folder: Path) -> None:
        self._hosts = hosts
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        self.http = httpx.Client(timeout=10)

    def run(self, work: Awaitable[Any]) -> Any:
        async def wrapped() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(wrapped(), self._loop).result(60)

    async def start(self) -> None:
        root = f"/test-{uuid.uuid4().hex[:8]}"
        self.rig: Rig = await self._stack.enter_async_context(
            make_rig(self._hosts, self._folder, root)
        )
        master = await self.rig.masters("blue", 1, allocation_interval_ms=200, **_PATIENT)
        self.leader: Any = master[0]
        for number in range(2):
            await self.rig.agent(
                number=number, resources=_RESOURCES, attributes={"color": "blue"}, **_PATIENT
            )
        framework = await self.rig.framework(tasks=4, **_PATIENT)
        await self.rig.healthy(framework, 4)
        self.idle: Any = await self.rig.agent(
            number=2, resources=_RESOURCES, attributes={"color": "blue"}, **_PATIENT
        )
        await until(lambda: self.idle.id, "the idle agent is registered")
        self.follower: Any = await self.rig.master("blue", 1, **_PATIENT)
        await until(lambda: self.follower.master.leader, "the follower knows the leader")
        # The framework has all it wants: nothing is offered while tests look.
        await until(lambda: not self._leadership().cluster.offers, "no offer is out")

    def _leadership(self) -> Any:
        return self.leader.master.leadership

    def close(self) -> None:
        self.http.close()
        self.run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def send(self, call: Any, *, follower: bool = False) -> httpx.Response:
        master = self.follower if follower else self.leader
        text = call if isinstance(call, str) else json.dumps(call)
        text = text.replace(AGENT_ID, cast("str", self.idle.id))
        return self.http.post(f"http://{master.address}/api/v1", content=text)

    def get(self, path: str) -> httpx.Response:
        return self.http.get(f"http://{self.leader.address}{path}")

    def reset(self) -> None:
        for name in ("maint_stop", "maint_clear", "quota_clear"):
            self.send(load(name).call)
        body = {"agent_id": {"value": self.idle.id}}
        self.send({"type": "REACTIVATE_AGENT", "reactivate_agent": body})

    def set_draining(self) -> None:
        async def change() -> None:
            agent = self._leadership().cluster.agents[self.idle.id]
            agent.deactivated = True
            agent.drain_info = {"state": "DRAINING", "config": {"mark_gone": False}}

        self.run(change())

    def set_drained(self) -> None:
        async def change() -> None:
            agent = self._leadership().cluster.agents[self.idle.id]
            agent.drain_info = {"state": "DRAINED", "config": {"mark_gone": False}}

        self.run(change())


class Processes(Cluster):
    """Masters and agents in processes: the real programs where they are on PATH."""

    is_real = True

    async def start(self) -> None:
        root = f"/test-{uuid.uuid4().hex[:8]}"
        self._started: list[subprocess.Popen[bytes]] = []
        self.rig = await self._stack.enter_async_context(make_rig(self._hosts, self._folder, root))
        self._stack.callback(self._end)
        ports = [free_port() for _ in range(5)]
        addresses = [f"127.0.0.1:{port}" for port in ports]
        given = {"zk": self.rig.zk("blue"), "quorum": 1, "cluster": "blue"}
        self._launch("mesos_master", ports[0], {**given, "peers": addresses[:1]})
        await until(lambda: self._serves(addresses[0]), "the leader serves", _BOUND_S)
        for port in ports[1:3]:
            self._launch_agent(port)
        await until(lambda: len(self._agents(addresses[0])) == 2, "two agents", _BOUND_S)
        framework = await self.rig.framework(tasks=4, **_PATIENT)
        await self.rig.healthy(framework, 4)
        self._launch_agent(ports[3])
        idle = await until(
            lambda: self._agents(addresses[0]).get(ports[3]), "the idle agent", _BOUND_S
        )
        # A second master alone in its log's group: it follows, and takes no part in the registry.
        self._launch("mesos_master", ports[4], {**given, "peers": addresses[4:]})
        await until(lambda: self._redirects(addresses[4]), "the follower follows", _BOUND_S)
        self.leader, self.follower = Address(addresses[0]), Address(addresses[4])
        self.idle = Address(id=idle)

    def _launch_agent(self, port: int) -> None:
        given = {"master": self.rig.zk("blue"), "resources": _RESOURCES}
        self._launch("mesos_agent", port, {**given, "attributes": {"color": "blue"}})

    def _launch(self, module: str, port: int, settings: dict[str, Any]) -> None:
        folder = self._folder / f"{module}-{port}"
        config = self._folder / f"{module}-{port}.json"
        config.write_text(json.dumps({"port": port, "work_dir": str(folder), **settings}))
        command = [sys.executable, "-m", f"stacks.local.{module}", "--config", str(config)]
        with (self._folder / f"{module}-{port}.log").open("wb") as log:
            self._started.append(subprocess.Popen(command, stdout=log, stderr=log))

    def _end(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()
        for folder in self._folder.glob("mesos_agent-*/"):
            command = [sys.executable, "-m", "stacks.local.mesos_agent", "cleanup"]
            subprocess.run([*command, "--work-dir", str(folder)], check=True, capture_output=True)

    def _get(self, address: str, path: str) -> httpx.Response | None:
        try:
            return httpx.get(f"http://{address}{path}", timeout=10)
        except httpx.HTTPError:
            return None

    def _serves(self, address: str) -> bool:
        answer = self._get(address, "/slaves")
        return answer is not None and answer.is_success

    def _redirects(self, address: str) -> bool:
        answer = self._get(address, "/slaves")
        return answer is not None and answer.status_code == 307

    def _agents(self, address: str) -> dict[int, str]:
        answer = self._get(address, "/slaves")
        assert answer is not None
        return {int(one["port"]): str(one["id"]) for one in answer.json()["slaves"]}


def make_cluster(hosts: str, folder: Path) -> Cluster:
    """What the environment asks for."""
    return (
        Processes(hosts, folder)
        if os.environ.get(SWITCH) == "processes"
        else Cluster(hosts, folder)
    )
