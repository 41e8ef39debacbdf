"""One Marathon put together: election, state, scheduler, deployments.

It answers HTTP at once, leads when the latch says so, and from then on only ends: a leader that
loses its place, its masters or its ensemble is not repaired but restarted, as the real one is. Exit
statuses are those of Marathon's docs/exit-codes.md.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Any

import structlog

from stacks.local.errors import ElectionError
from stacks.local.marathon import groups
from stacks.local.marathon.deployments import Deployments
from stacks.local.marathon.events import EventBus
from stacks.local.marathon.groups import Tree
from stacks.local.marathon.health import HealthChecker
from stacks.local.marathon.instances import timestamp
from stacks.local.marathon.latch import Latch
from stacks.local.marathon.plan import Plan, make_plan
from stacks.local.marathon.scheduler import Scheduler
from stacks.local.marathon.service_ports import assign
from stacks.local.marathon.settings import MarathonSettings
from stacks.local.marathon.state import State
from stacks.local.marathon.store import Store
from stacks.local.mesos.election import Detector, Leader
from stacks.local.process import Listener, end, read_secret
from stacks.local.sample.link import Link, RemovedError
from stacks.local.session import Session, read_auth

ZOOKEEPER_LOST, LEADERSHIP_LOST, LEADERSHIP_ENDED = 101, 103, 105
UNCAUGHT, FRAMEWORK_REMOVED = 107, 110
_TICK_S = 0.5
_log = structlog.get_logger()


def fail(message: str, status: int) -> None:
    """End the process; its sessions expire by themselves."""
    end(message, status)


class Marathon:
    """One instance. `fail` ends the process; tests give another one."""

    def __init__(self, settings: MarathonSettings, fail: Callable[[str, int], Any] = fail) -> None:
        self.settings = settings
        self._fail = fail
        self.bus = EventBus()
        self.started_at = time.time()
        self.http_credentials = read_secret(settings.http_credentials_file)
        self.mesos_leader: Leader | None = None
        self.is_serving = False
        self._last_version = ""
        self._changing = asyncio.Lock()
        self._futures: list[asyncio.Future[Any]] = []
        self._led = self._was_connected = False

    @property
    def uptime_s(self) -> float:
        """Since the process was started."""
        return time.time() - self.started_at

    async def start(self) -> None:
        """Listen and take part; returns when HTTP is served."""
        import httpx

        from stacks.local.marathon.http import make_app

        settings = self.settings
        self.client = httpx.AsyncClient(timeout=10.0)
        timeout_s = settings.zk_session_timeout_s
        self._session = Session(
            settings.state.hosts, timeout_s=timeout_s, auth=read_auth(settings.zk_auth_file)
        )
        self._masters = Session(settings.election.hosts, timeout_s=timeout_s)
        self.latch = Latch(self._session, settings.state.path, settings.host_port)
        self.state = State(settings, Store(self._session, settings.state.path), self.bus)
        self.scheduler = Scheduler(self.state, fail=self._fail)
        self.deployments = Deployments(self.state, self.scheduler)
        self.link = Link(
            info=self.scheduler.info,
            handle=self.scheduler.handle,
            credential=read_secret(settings.credential_file),
            ended=self._note_disconnected,
        )
        self.scheduler.join(self.link, self.deployments.locks)
        self._listener = Listener(make_app(self), settings.listener.host, settings.listener.port)
        await self._listener.start()
        self._session.on_lost(self._note_lost)
        await self._session.start()
        await self._masters.start()
        self._spawn(self.latch.run(self._note_leader))

    async def stop(self) -> None:
        """For tests and SIGTERM: leave in order; tasks run on."""
        self.is_serving = False
        for future in self._futures:
            future.cancel()
        await asyncio.gather(*self._futures, return_exceptions=True)
        await self.deployments.stop()
        await self.link.close()
        await self._listener.stop()
        await self.client.aclose()
        await self._session.close()
        await self._masters.close()

    def _spawn(self, work: Awaitable[Any]) -> None:
        async def guard() -> None:
            try:
                await work
            except RemovedError as error:
                self._fail(f"Framework has been removed: {error}", FRAMEWORK_REMOVED)
            except ElectionError as error:
                self._fail(str(error), UNCAUGHT)
            except Exception as error:  # noqa: BLE001 - boundary of the process
                _log.exception("marathon.failed")
                self._fail(f"Marathon's own work failed: {error!r}", UNCAUGHT)

        self._futures.append(asyncio.ensure_future(guard()))

    # Who leads

    def _note_lost(self) -> None:
        if self._led:
            self._fail("Lost the ZooKeeper session while leading; ending", ZOOKEEPER_LOST)

    def _note_leader(self) -> None:
        _log.info("leader.detected", leader=self.latch.leader, own=self.latch.is_leader)
        if self.latch.is_leader and not self._led:
            self._led = True
            self._spawn(self._lead())
        elif self._led and not self.latch.is_leader:
            self._fail("Lost leadership; ending, as Marathon does", LEADERSHIP_LOST)

    async def _lead(self) -> None:
        loaded = await self._session.insist(self.state.store.load)
        self.state.take(loaded)
        self._last_version = self.state.tree.version
        for plan in loaded.plans:
            self.deployments.start(plan)
        self.is_serving = True
        _log.info(
            "marathon.leading",
            framework=loaded.framework_id,
            apps=len(self.state.tree.apps),
            instances=len(loaded.instances),
            deployments=len(loaded.plans),
        )
        self._spawn(Detector(self._masters, self.settings.election.path).run(self._note_master))
        self._spawn(self.link.run())
        self._spawn(HealthChecker(self.state, self.scheduler, self.client).run())
        await self._keep_time()

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            await self.scheduler.tick()

    def _note_master(self, leader: Leader | None) -> None:
        _log.info("master.detected", master=leader and leader.address)
        before, self.mesos_leader = self.mesos_leader, leader
        if before is not None and leader != before:
            self._fail("Disconnected: another master leads; ending", LEADERSHIP_ENDED)
            return
        self.link.note_leader(leader)

    def _note_disconnected(self) -> None:
        self.bus.publish("scheduler_disconnected_event")
        self._fail("Disconnected from the master; ending", LEADERSHIP_ENDED)

    def abdicate(self) -> None:
        """DELETE /v2/leader."""
        loop = asyncio.get_running_loop()
        message = "Leadership abdicated; ending, as Marathon does"
        loop.call_later(0.1, self._fail, message, LEADERSHIP_ENDED)

    # Changes

    def _next_version(self) -> str:
        """The time, later than any version before."""
        at = time.time()
        while (version := timestamp(at)) <= self._last_version:
            at += 0.001
        self._last_version = version
        return version

    async def change(
        self,
        make: Callable[[Tree, str], Tree],
        *,
        force: bool = False,
        dry_run: bool = False,
        group: str = groups.ROOT,
        doomed: Collection[str] = (),
    ) -> Plan:
        """Change the tree and deploy the difference.

        Raises:
            ApiError: what was asked for cannot be, or apps are locked.
        """
        async with self._changing:
            version, before = self._next_version(), self.state.tree
            target = replace(make(before, version), version=version)
            target = assign(before, target, self.settings)
            groups.check(target)
            plan = make_plan(str(uuid.uuid4()), before, target, version)
            if dry_run:
                return plan
            await self.deployments.admit(plan, force=force)
            await self.state.store.keep_tree(target, before)
            await self.state.store.keep_plan(plan)
            self.state.tree = target
            self.bus.publish("group_change_success", groupId=group, version=version)
            self.deployments.start(plan, doomed)
            return plan
