"""One master: election, registry and HTTP put together.

A follower serves health, metrics, flags and its replica, and sends everything else to the leader
that ZooKeeper names, whichever cluster that is of. A leader that is deposed, loses its session, or
cannot write the registry ends with status 1, as real masters do; its supervisor starts it again as
a candidate. SIGTERM ends a master at once with its session open, so a successor leads only when the
session has expired: roll followers first.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from stacks.local.errors import DeposedError, NoQuorumError
from stacks.local.mesos import flags, metrics, values
from stacks.local.mesos.access import read_access
from stacks.local.mesos.election import Candidacy, Detector, Leader
from stacks.local.mesos.leader import Leadership
from stacks.local.mesos.peers import HttpPeers, follow_group, replica_pid
from stacks.local.mesos.registrar import Registrar
from stacks.local.mesos.registry import Change
from stacks.local.mesos.replica import Replica
from stacks.local.mesos.values import Json
from stacks.local.process import Listener, end, guard, make_folder
from stacks.local.session import Session, read_auth
from stacks.local.settings import MasterSettings

_STORE_PAUSE_S = 0.1
_log = structlog.get_logger()


class Master:
    """A master of one group. `fail` ends the process; tests give another one."""

    def __init__(self, settings: MasterSettings, fail: Callable[[str], Any] = end) -> None:
        self.settings = settings
        self._fail = fail
        self.id = values.new_id()
        self.started_at = values.now()
        self.elected_at: float | None = None
        self.pid = f"master@{settings.public_ip}:{settings.port}"
        self.address = f"{settings.public_hostname}:{settings.port}"
        self.leader: Leader | None = None
        self.leadership: Leadership | None = None
        self.session: Session | None = None
        make_folder(settings.work_dir)
        self.replica = Replica(settings.work_dir)
        self.access = read_access(settings)
        self._tasks: list[asyncio.Future[Any]] = []

    @property
    def info(self) -> Json:
        """MasterInfo, as it stands in ZooKeeper and in GET_MASTER."""
        settings = self.settings
        return {
            "id": self.id,
            # Mesos keeps the four bytes as they lie in memory.
            "ip": int.from_bytes(socket.inet_aton(settings.public_ip), "little"),
            "port": settings.port,
            "pid": self.pid,
            "hostname": settings.public_hostname,
            "version": values.VERSION,
            "address": {
                "hostname": settings.public_hostname,
                "ip": settings.public_ip,
                "port": settings.port,
            },
            "capabilities": [{"type": name} for name in values.MASTER_CAPABILITIES],
        }

    @property
    def elected(self) -> bool:
        """Whether ZooKeeper names this master."""
        return self.leader is not None and self.leader.id == self.id

    async def serve(self) -> None:
        """Listen, without a part in any election yet; returns when HTTP is served."""
        import httpx

        from stacks.local.mesos.http import make_app

        settings = self.settings
        own = f"{settings.public_ip}:{settings.port}"
        self._client = httpx.AsyncClient()
        self._peers = HttpPeers(self._client, own, settings.peers)
        self.registrar = Registrar(
            self.replica,
            self._peers,
            quorum=settings.quorum,
            auto_initialize=settings.log_auto_initialize,
        )
        self._listener = Listener(make_app(self), settings.ip, settings.port)
        await self._listener.start()

    async def start(self) -> None:
        """Listen and take part; returns when HTTP is served."""
        settings, path = self.settings, self.settings.election.path
        await self.serve()
        self.session = session = Session(
            settings.election.hosts,
            timeout_s=settings.zk_session_timeout_s,
            auth=read_auth(settings.zk_auth_file),
        )
        self._detector = Detector(session, path)
        candidacy = Candidacy(
            session,
            path,
            info=self.info,
            replica_pid=replica_pid(settings.public_ip, settings.port),
        )
        session.on_lost(self._note_lost)
        await session.start()
        self._spawn(follow_group(session, path, self._peers.note))
        self._spawn(self.registrar.recover())
        self._spawn(candidacy.hold())
        self._spawn(self._detector.run(self.note_leader))

    async def stop(self, *, close_session: bool) -> None:
        """For tests: stop serving. A process simply ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.stop()
        await self._client.aclose()
        if close_session and self.session is not None:
            await self.session.close()

    def _spawn(self, work: Awaitable[Any]) -> None:
        self._tasks.append(asyncio.ensure_future(guard(work, self._fail, "master")))

    def _note_lost(self) -> None:
        if self.elected:
            self._fail("Lost leadership: the ZooKeeper session is gone; ending, as masters do")

    def note_leader(self, leader: Leader | None) -> None:
        """ZooKeeper names another leader, or none."""
        was_elected = self.elected
        self.leader = leader
        name = None if leader is None else leader.address
        _log.info("leader.detected", leader=name, number=leader and leader.number)
        if was_elected and not self.elected:
            self._fail(f"Lost leadership to {name}; ending, as masters do")
        elif self.elected and not was_elected:
            self._spawn(self._lead())

    async def _lead(self) -> None:
        settings = self.settings
        _log.info("master.elected", id=self.id)
        self.elected_at = values.now()
        try:
            async with asyncio.timeout(settings.registry_fetch_timeout_s):
                await self.registrar.recover()
                await self.registrar.fetch(settings.registry_fetch_timeout_s)
        except (TimeoutError, NoQuorumError, DeposedError) as error:
            self._fail(f"Failed to recover the registry: {error or 'timed out'}")
            return
        leadership = Leadership(
            settings,
            master_id=self.id,
            document=lambda: self.registrar.document,
            store=self._store,
            describe=self.describe,
            flags=lambda: dict(flags.flags(settings)),
            metrics=self.metrics,
            access=self.access,
        )
        self.leadership = leadership
        for loop in leadership.loops():
            self._spawn(loop)
        recovered = len(leadership.cluster.recovered)
        _log.info("master.recovered", agents=recovered, position=self.replica.register.position)

    async def _store(self, change: Change) -> None:
        deadline = time.monotonic() + self.settings.registry_store_timeout_s
        while True:
            try:
                await self.registrar.store(change)
                return
            except DeposedError as error:
                self._fail(f"Lost leadership: {error}")
                raise
            except NoQuorumError as error:
                if time.monotonic() > deadline:
                    self._fail(f"Failed to update the registry: {error}")
                    raise
                await asyncio.sleep(_STORE_PAUSE_S)

    def describe(self) -> Json:
        """GET_MASTER."""
        return {
            "master_info": self.info,
            "start_time": self.started_at,
            "elected_time": self.elected_at,
        }

    def metrics(self) -> dict[str, float]:
        """/metrics/snapshot."""
        registrar, leadership = self.registrar, self.leadership
        facts = metrics.RegistrarFacts(
            recovered=registrar.is_recovered,
            ensemble_size=registrar.ensemble_size,
            queued=registrar.queued,
            size_bytes=len(json.dumps(self.replica.register.document)),
            fetch_ms=registrar.times.fetch_ms,
            store_ms=registrar.times.store_ms,
        )
        found = metrics.process(
            uptime_s=values.now() - self.started_at, elected=self.elected, registrar=facts
        )
        found |= metrics.cluster(
            leadership and leadership.cluster, leadership and leadership.allocator
        )
        return dict(sorted(found.items()))
