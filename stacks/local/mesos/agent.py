"""One agent: follows the leader that ZooKeeper names, registers there, and runs what it is told.

A change of leader is followed at once and without a restart: the connection to the old one is
dropped and the same agent id, tasks and frameworks are registered with the new one. Identity is the
work folder with hostname and port; a changed hostname or attribute is refused, because masters and
frameworks have made decisions on it. SIGTERM leaves tasks running.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from clients.mesos.errors import ProtocolError
from clients.mesos.recordio import Decoder
from stacks.local.errors import ElectionError, StartError
from stacks.local.mesos import values
from stacks.local.mesos.checkpoint import Checkpoint
from stacks.local.mesos.election import Detector, Leader
from stacks.local.mesos.tasks import TaskRunner
from stacks.local.mesos.values import Json
from stacks.local.process import Listener, end, make_folder
from stacks.local.session import Session, read_auth
from stacks.local.settings import AgentSettings

# A new leader needs a moment to read its registry: the first tries follow fast.
_FIRST_BACKOFF_SHARE = 0.1
_BACKOFF_FACTOR_MAX = 16
_HISTORY_MAX = 100
_CONNECT_TIMEOUT_S = 5.0
_SILENCE_S = 600.0
_OK = 200
_GONE = 410
_log = structlog.get_logger()


class Agent:
    """An agent. `fail` ends the process; tests give another one."""

    def __init__(self, settings: AgentSettings, fail: Callable[[str], Any] = end) -> None:
        self.settings = settings
        self._fail = fail
        self.pid = f"slave(1)@{settings.ip}:{settings.port}"
        self.started_at = values.now()
        make_folder(settings.work_dir)
        self._checkpoint = Checkpoint(settings.work_dir)
        self._checkpoint.prepare()
        self.tasks = TaskRunner(
            self._checkpoint,
            settings.work_dir,
            ip=settings.ip,
            grace_s=settings.executor_shutdown_grace_period_s,
            retry_s=settings.status_update_retry_s,
        )
        self.info = self._make_info()
        self.id: str | None = None
        self.leader: Leader | None = None
        self.registered_with: str | None = None
        self.registered_at: float | None = None
        self.master_id: str | None = None
        # Who served this agent when: the time without a leader is read from it.
        self.history: deque[Json] = deque(maxlen=_HISTORY_MAX)
        self._leader_changed = asyncio.Event()
        self._futures: list[asyncio.Future[Any]] = []

    def _make_info(self) -> Json:
        settings, resources = self.settings, self.settings.resources
        scalars = {"cpus": resources.cpus, "mem": resources.mem, "disk": resources.disk}
        begin, last = resources.ports
        ports = {
            "name": "ports",
            "type": "RANGES",
            "ranges": {"range": [{"begin": begin, "end": last}]},
        }
        return {
            "hostname": settings.public_hostname,
            "port": settings.port,
            "resources": [*values.scalar_list(scalars), ports],
            "attributes": [
                {"name": name, "type": "TEXT", "text": {"value": value}}
                for name, value in settings.attributes.items()
            ],
            "checkpoint": True,
        }

    def recover(self) -> None:
        """Take over identity and tasks of the work folder.

        Raises:
            StartError: the configuration contradicts the identity.
        """
        identity = self._checkpoint.read_agent()
        if identity is not None:
            check_compatible(identity["info"], self.info, str(self.settings.work_dir))
            self.id = identity["agent_id"]
        self.tasks.recover()

    async def start(self) -> None:
        """Recover, listen and follow; returns when HTTP is served.

        Raises:
            StartError: see `recover`, or the port is taken.
        """
        import httpx

        from stacks.local.mesos.agent_http import make_app

        self._listener = Listener(make_app(self), self.settings.ip, self.settings.port)
        await self._listener.start()
        self.recover()
        timeout = httpx.Timeout(_CONNECT_TIMEOUT_S, read=_SILENCE_S)
        self._client = httpx.AsyncClient(timeout=timeout)
        self._session = Session(
            self.settings.election.hosts,
            timeout_s=self.settings.zk_session_timeout_s,
            auth=read_auth(self.settings.zk_auth_file),
        )
        detector = Detector(self._session, self.settings.election.path)
        await self._session.start()
        self._spawn(detector.run(self._note_leader))
        self._spawn(self._follow())

    async def stop(self) -> None:
        """For tests: stop following and serving; tasks run on."""
        for future in self._futures:
            future.cancel()
        await asyncio.gather(*self._futures, return_exceptions=True)
        self.tasks.disconnect()
        self.tasks.close()
        await self._listener.stop()
        await self._client.aclose()
        await self._session.close()

    def _spawn(self, work: Awaitable[Any]) -> None:
        async def guard() -> None:
            try:
                await work
            except ElectionError as error:
                self._fail(str(error))
            except Exception as error:  # noqa: BLE001 - boundary of the process
                _log.exception("agent.failed")
                self._fail(f"the agent's own work failed: {error!r}")

        self._futures.append(asyncio.ensure_future(guard()))

    def _note_leader(self, leader: Leader | None) -> None:
        self.leader = leader
        name = None if leader is None else leader.address
        _log.info("leader.detected", leader=name, number=leader and leader.number)
        self._leader_changed.set()

    async def _follow(self) -> None:
        failures = 0
        last: Leader | None = None
        while True:
            self._leader_changed.clear()
            leader = self.leader
            if leader != last:
                failures, last = 0, leader  # Whoever leads now has not refused anything yet.
            if leader is None:
                await self._leader_changed.wait()
                continue
            serving = asyncio.ensure_future(self._serve(leader))
            changed = asyncio.ensure_future(self._leader_changed.wait())
            try:
                await asyncio.wait({serving, changed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for future in (serving, changed):
                    future.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await future
                was_registered = self._note_disconnected()
            failures = 0 if was_registered else failures + 1
            factor = min(2**failures * _FIRST_BACKOFF_SHARE, _BACKOFF_FACTOR_MAX)
            with contextlib.suppress(TimeoutError):
                pause_s = self.settings.registration_backoff_s * factor
                await asyncio.wait_for(self._leader_changed.wait(), pause_s)

    async def _serve(self, leader: Leader) -> None:
        """Register with a master and obey it until the connection ends."""
        import httpx

        registration = {
            "agent_id": self.id,
            "info": self.info,
            "pid": self.pid,
            "version": values.VERSION,
            "tasks": self.tasks.registration(),
            "frameworks": self.tasks.frameworks(),
            "executors": [],
        }
        url = f"http://{leader.address}/standin/agent"
        decoder = Decoder()
        try:
            async with self._client.stream("POST", url, json=registration) as response:
                if response.status_code == _GONE:
                    text = (await response.aread()).decode()
                    self.tasks.shut_down()
                    self._fail(f"Refused by the master: {text}")
                if response.status_code != _OK:
                    await response.aread()
                    return
                async for chunk in response.aiter_raw():
                    for record in decoder.feed(chunk):
                        self._obey(json.loads(record), leader)
        except (httpx.HTTPError, ProtocolError) as error:
            _log.info("master.connection_ended", master=leader.address, error=repr(error))

    def _obey(self, message: Json, leader: Leader) -> None:
        match message["type"]:
            case "REGISTERED":
                self._note_registered(message, leader)
            case "PING":
                self._futures.append(asyncio.ensure_future(self._pong(leader)))
                self._futures = [f for f in self._futures if not f.done()]
            case "RUN_TASK":
                self.tasks.run(message)
            case "KILL_TASK":
                grace = message.get("grace")
                grace_s = None if grace is None else values.duration_s(grace, 0.0)
                self.tasks.kill(message["framework_id"], message["task_id"], grace_s)
            case "ACKNOWLEDGE":
                self.tasks.acknowledge(
                    message["framework_id"], message["task_id"], message.get("uuid")
                )
            case "DRAIN":
                self.tasks.drain(message["config"])
            case "SHUTDOWN_FRAMEWORK":
                self.tasks.shut_down(message["framework_id"])
            case "SHUTDOWN":
                self.tasks.shut_down()
                self._fail(f"Told to shut down by the master: {message['message']}")
            case _:
                pass

    def _note_registered(self, message: Json, leader: Leader) -> None:
        agent_id = str(message["agent_id"])
        if self.id != agent_id or self._checkpoint.read_agent() is None:
            self.id = agent_id
        self._checkpoint.write_agent({"info": self.info, "agent_id": agent_id})
        self.registered_with, self.master_id = leader.address, str(message["master_id"])
        self.registered_at = values.now()
        self.history.append(
            {"at": self.registered_at, "event": "registered", "master": leader.address}
        )
        _log.info("agent.registered", agent=agent_id, master=leader.address)

        async def send(update: Json) -> bool:
            return await self._post(leader, update)

        self.tasks.connect(agent_id, send)

    def _note_disconnected(self) -> bool:
        """Note the end of a connection; whether the agent was registered through it."""
        self.tasks.disconnect()
        was = self.registered_with
        if was is not None:
            self.history.append({"at": values.now(), "event": "disconnected", "master": was})
            self.registered_with = self.registered_at = self.master_id = None
        return was is not None

    async def _pong(self, leader: Leader) -> None:
        await self._post(leader, {"type": "PONG", "agent_id": self.id})

    async def _post(self, leader: Leader, message: Json) -> bool:
        import httpx

        url = f"http://{leader.address}/standin/agent/message"
        try:
            answer = await self._client.post(url, json=message, timeout=_CONNECT_TIMEOUT_S)
        except httpx.HTTPError:
            return False
        return answer.is_success


def check_compatible(old: Json, new: Json, folder: str) -> None:
    """Refuse an identity that masters and frameworks would not recognise.

    Raises:
        StartError: hostname, port or an attribute changed, or a resource shrank.
    """
    for name in ("hostname", "port"):
        if old[name] != new[name]:
            _refuse(folder, name, old[name], new[name])
    fresh = {item["name"]: item["text"]["value"] for item in new["attributes"]}
    for item in old["attributes"]:
        name, value = item["name"], item["text"]["value"]
        if fresh.get(name) != value:
            _refuse(folder, f"attribute '{name}'", value, fresh.get(name, "nothing"))
    had, has = values.scalars(old["resources"]), values.scalars(new["resources"])
    if not values.contains(has, had):
        _refuse(folder, "resources", values.text(had), values.text(has))


def _refuse(folder: str, what: str, old: object, new: object) -> None:
    msg = (
        f"Incompatible agent info: expected {what} to be {old!r} as in the checkpoint of {folder}, "
        f"saw {new!r}: put it back, or drain this agent and start one with an empty work folder"
    )
    raise StartError(msg)
