"""A Mesos cluster inside one test: masters, agents and the sample framework in the test's own loop.

ZooKeeper is real and so are the tasks' processes; what is not tested as a process runs as an
object, so that a whole cluster is up in a fraction of a second. Everything that was started is
stopped, and every task ended, after a failure too.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from stacks.local.marathon.service import Marathon
from stacks.local.marathon.settings import MarathonSettings
from stacks.local.mesos.agent import Agent
from stacks.local.mesos.cgroups import Cgroups
from stacks.local.mesos.election import Detector
from stacks.local.mesos.master import Master
from stacks.local.mesos_agent import clean_up
from stacks.local.process import Listener
from stacks.local.sample.http import make_app
from stacks.local.sample.scheduler import Scheduler
from stacks.local.session import Session
from stacks.local.settings import AgentSettings, FrameworkSettings, MasterSettings
from tests.leaving import leave_out
from tests.ports import free_port
from tests.waiting import BOUND_S, until


def require_control_groups() -> None:
    """Leave a test out where nobody may make groups."""
    # Other workers try at the same time.
    cgroups, name = Cgroups(), f"try-{uuid.uuid4().hex[:12]}"
    try:
        cgroups.make(name, {"cpus": 1.0, "mem": 64.0})
    except OSError as error:
        leave_out(f"needs the right to make control groups: {error!r}")
    finally:
        cgroups.remove(name)


@dataclass
class RunningMaster:
    """A master, and why it ended, if it did."""

    master: Master
    failures: list[str] = field(default_factory=list[str])
    stopped: bool = False

    @property
    def address(self) -> str:
        return self.master.address

    async def stop(self, *, close_session: bool = True) -> None:
        if not self.stopped:
            self.stopped = True
            await self.master.stop(close_session=close_session)


@dataclass
class RunningFramework:
    """The sample framework."""

    scheduler: Scheduler
    session: Session
    listener: Listener
    work: list[asyncio.Future[Any]]
    url: str

    async def stop(self) -> None:
        for future in self.work:
            future.cancel()
        await asyncio.gather(*self.work, return_exceptions=True)
        await self.scheduler.link.close()
        await self.listener.stop()
        await self.session.close()
        self.scheduler.close()


@dataclass
class RunningMarathon:
    """A stand-in for Marathon, and why it ended, if it did."""

    marathon: Marathon
    url: str
    http: httpx.AsyncClient
    agents: Callable[[], list[Agent]]
    failures: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    stopped: bool = False

    async def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            await self.marathon.stop()

    async def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.http.request(method, f"{self.url}{path}", json=body)

    async def get(self, path: str) -> Any:
        answer = await self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def change(self, method: str, path: str, body: Any = None) -> str:
        """Make a change that is accepted; returns its deployment."""
        answer = await self.call(method, path, body)
        assert answer.status_code in {200, 201}, answer.text
        return str(answer.headers["marathon-deployment-id"])

    async def settled(self, *ids: str) -> None:
        """Wait until deployments are over."""

        def over() -> bool:
            running = self.marathon.deployments.running
            return not any(name in running for name in ids) if ids else not running

        await until(over, "deployments are over", 30.0)

    async def running(self, app_id: str, count: int) -> list[dict[str, Any]]:
        """Wait until so many tasks of an app run and no other is there; returns them."""

        async def find() -> list[dict[str, Any]] | None:
            answer = await self.call("GET", f"/v2/apps{app_id}/tasks")
            if answer.status_code != 200:
                return None
            tasks: list[dict[str, Any]] = answer.json()["tasks"]
            live = [task for task in tasks if task["state"] == "TASK_RUNNING"]
            return tasks if len(live) == len(tasks) == count else None

        return await until(find, f"{count} tasks of {app_id} run")


class Rig:
    """Starts things and remembers them."""

    def __init__(self, hosts: str, folder: Path, root: str) -> None:
        self.hosts = hosts
        self.folder = folder
        self.root = root
        self._masters: list[RunningMaster] = []
        self._agents: list[Agent] = []
        self._frameworks: list[RunningFramework] = []
        self._marathons: list[RunningMarathon] = []
        self._folders: set[Path] = set()
        self.http = httpx.AsyncClient(timeout=30)

    def zk(self, color: str) -> str:
        return f"zk://{self.hosts}{self.root}/{color}"

    def path(self, color: str) -> str:
        return f"{self.root}/{color}"

    async def master(
        self, color: str = "blue", number: int = 0, *, port: int | None = None, **settings: Any
    ) -> RunningMaster:
        """Start a master."""
        given = {
            "port": port or free_port(),
            "zk": self.zk(color),
            "zk_session_timeout_s": 2,
            "work_dir": self.folder / f"master-{color}-{number}",
            "allocation_interval_ms": 50,
            "cluster": color,
            **settings,
        }
        failures: list[str] = []
        master = Master(MasterSettings.model_validate(given), fail=failures.append)
        running = RunningMaster(master, failures)
        self._masters.append(running)
        await master.start()
        return running

    async def masters(
        self, color: str = "blue", count: int = 3, **settings: Any
    ) -> list[RunningMaster]:
        """Start a group, one after the other, so that their numbers are in order."""
        group: list[RunningMaster] = []
        for number in range(count):
            group.append(await self.master(color, number, quorum=count // 2 + 1, **settings))
            await until(lambda: group[-1].master.leader, "a leader is known")
        await self.leader(group)
        return group

    async def leader(self, group: list[RunningMaster]) -> RunningMaster:
        """The master of a group that leads and has read the registry."""

        def find() -> RunningMaster | None:
            live = [m for m in group if not m.stopped]
            return next((m for m in live if m.master.elected and m.master.leadership), None)

        return await until(find, "a leader serves")

    async def agent(
        self,
        color: str = "blue",
        number: int = 0,
        *,
        port: int | None = None,
        fail: Callable[[str], Any] | None = None,
        **settings: Any,
    ) -> Agent:
        """Start an agent; without `fail` its end fails the test."""
        folder = self.folder / f"agent-{number}"
        self._folders.add(folder)
        given = {
            "port": port or free_port(),
            "master": self.zk(color),
            "zk_session_timeout_s": 2,
            "work_dir": folder,
            "registration_backoff_s": 0.1,
            "status_update_retry_s": 0.3,
            "executor_shutdown_grace_period_s": 1,
            **settings,
        }

        def unexpected(message: str) -> None:
            raise AssertionError(message)

        agent = Agent(AgentSettings.model_validate(given), fail=fail or unexpected)
        await agent.start()
        self._agents.append(agent)
        return agent

    async def framework(
        self, color: str = "blue", *, tasks: int = 2, **settings: Any
    ) -> RunningFramework:
        """Start the sample framework."""
        port = free_port()
        given = FrameworkSettings.model_validate(
            {
                "listen": f"127.0.0.1:{port}",
                "work_dir": self.folder / "framework",
                "zk": self.zk(color),
                "path": f"{self.root}/frameworks/sample",
                "zk_session_timeout_s": 2,
                "tasks": tasks,
                **settings,
            }
        )
        session = Session(self.hosts, timeout_s=2)
        scheduler = Scheduler(given, session)
        listener = Listener(make_app(scheduler), "127.0.0.1", port)
        await listener.start()
        await session.start(bound_s=BOUND_S)
        await scheduler.roster.load()
        work: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(Detector(session, self.path(color)).run(scheduler.note_leader)),
            asyncio.ensure_future(scheduler.link.run()),
            asyncio.ensure_future(scheduler.keep_time()),
        ]
        running = RunningFramework(scheduler, session, listener, work, f"http://127.0.0.1:{port}")
        self._frameworks.append(running)
        return running

    async def marathon(self, color: str = "blue", **settings: Any) -> RunningMarathon:
        """Start a stand-in for Marathon, quicker than the real one in all that waits."""
        port = free_port()
        given = MarathonSettings.model_validate(
            {
                "listen": f"127.0.0.1:{port}",
                "master": self.zk(color),
                "zk": f"zk://{self.hosts}{self.root}/marathon",
                "zk_session_timeout_s": 10,
                "enable_features": "task_killing",
                "min_revive_offers_interval_ms": 20,
                "decline_offer_duration_ms": 200,
                "reconciliation_initial_delay_ms": 500,
                "scale_apps_initial_delay_ms": 500,
                "kill_retry_timeout_ms": 2000,
                **settings,
            }
        )
        failures: list[tuple[str, int]] = []
        marathon = Marathon(given, fail=lambda text, status: failures.append((text, status)))
        url = f"http://127.0.0.1:{port}"
        running = RunningMarathon(marathon, url, self.http, lambda: self._agents, failures)
        await marathon.start()
        self._marathons.append(running)
        return running

    async def leading(self, color: str = "blue", **settings: Any) -> RunningMarathon:
        """Start one, and wait until masters have taken it."""
        running = await self.marathon(color, **settings)
        await until(lambda: running.marathon.link.connected_to, "Marathon is subscribed")
        return running

    async def healthy(self, framework: RunningFramework, count: int) -> list[Any]:
        """Wait until so many tasks run; returns them."""

        def find() -> list[Any] | None:
            tasks = [t for t in framework.scheduler.roster.tasks.values() if t.is_healthy]
            return tasks if len(tasks) == count else None

        return await until(find, f"{count} tasks run")

    async def stop_agent(self, agent: Agent) -> None:
        self._agents.remove(agent)
        await agent.stop()

    async def stop_framework(self, framework: RunningFramework) -> None:
        self._frameworks.remove(framework)
        await framework.stop()

    async def call(self, master: RunningMaster, call: dict[str, Any] | str) -> httpx.Response:
        content = call if isinstance(call, str) else None
        body = call if isinstance(call, dict) else None
        return await self.http.post(f"http://{master.address}/api/v1", json=body, content=content)

    async def close(self) -> None:
        for marathon in self._marathons:
            await marathon.stop()
        for framework in list(self._frameworks):
            await framework.stop()
        for agent in list(self._agents):
            await agent.stop()
        for master in self._masters:
            await master.stop()
        await self.http.aclose()
        for folder in self._folders:
            await asyncio.to_thread(clean_up, folder, 0.2)


@contextlib.asynccontextmanager
async def make_rig(hosts: str, folder: Path, root: str) -> AsyncGenerator[Rig]:
    """A rig below its own path of an ensemble."""
    rig = Rig(hosts, folder, root)
    try:
        yield rig
    finally:
        await rig.close()
