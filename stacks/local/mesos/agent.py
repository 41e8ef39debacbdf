"""One agent: follows the leader that ZooKeeper names, registers there, and runs what it is told.

A change of leader is followed at once and without a restart: the connection to the old one is
dropped and the same agent id, tasks and frameworks are registered with the new one. Identity is the
work folder with hostname and port; a changed hostname or attribute is refused, because masters and
frameworks have made decisions on it. SIGTERM leaves tasks running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from stacks.local import credential
from stacks.local.errors import StartError
from stacks.local.mesos import values
from stacks.local.mesos.cgroups import Cgroups
from stacks.local.mesos.checkpoint import Checkpoint
from stacks.local.mesos.election import Detector
from stacks.local.mesos.follower import CONNECT_TIMEOUT_S, SILENCE_S, Follower
from stacks.local.mesos.outbox import Outbox
from stacks.local.mesos.tasks import TaskRunner
from stacks.local.mesos.values import Json
from stacks.local.process import Listener, end, guard, make_folder, read_secret
from stacks.local.session import Session, read_auth
from stacks.local.settings import AgentSettings

_log = structlog.get_logger()


class Agent(Follower[TaskRunner]):
    """An agent. `fail` ends the process; tests give another one."""

    def __init__(self, settings: AgentSettings, fail: Callable[[str], Any] = end) -> None:
        self.settings = settings
        self.started_at = values.now()
        make_folder(settings.work_dir)
        self._checkpoint = Checkpoint(settings.work_dir)
        self._checkpoint.prepare()
        tasks = TaskRunner(
            self._checkpoint,
            settings.work_dir,
            ip=settings.public_ip,
            grace_s=settings.executor_shutdown_grace_period_s,
            retry_s=settings.status_update_retry_s,
            cgroups=Cgroups() if settings.isolation == "cgroups" else None,
        )
        super().__init__(
            info=self._make_info(),
            pid=f"slave(1)@{settings.public_ip}:{settings.port}",
            tasks=tasks,
            backoff_s=settings.registration_backoff_s,
            fail=fail,
        )

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
            StartError: see `recover`, the port is taken, or there is no credential to read.
        """
        import httpx

        from stacks.local.mesos.agent_http import make_app

        self._listener = Listener(make_app(self), self.settings.ip, self.settings.port)
        await self._listener.start()
        self.recover()
        timeout = httpx.Timeout(CONNECT_TIMEOUT_S, read=SILENCE_S)
        secret = read_secret(self.settings.credential_file)
        headers = {} if secret is None else {"Authorization": credential.header(secret)}
        messages = httpx.AsyncClient(timeout=CONNECT_TIMEOUT_S, headers=headers)
        registering = httpx.AsyncClient(timeout=timeout, headers=headers)
        self.connect(registering, Outbox(messages))
        self._session = Session(
            self.settings.election.hosts,
            timeout_s=self.settings.zk_session_timeout_s,
            auth=read_auth(self.settings.zk_auth_file),
        )
        detector = Detector(self._session, self.settings.election.path)
        await self._session.start()
        self._spawn(detector.run(self.note_leader))
        self._spawn(self.follow())

    async def stop(self) -> None:
        """For tests: stop following and serving; tasks run on."""
        for future in self._futures:
            future.cancel()
        await asyncio.gather(*self._futures, return_exceptions=True)
        self.tasks.disconnect()
        self.tasks.close()
        await self._listener.stop()
        await self._client.aclose()
        await self._messages.close()
        await self._session.close()

    def _spawn(self, work: Awaitable[Any]) -> None:
        self._futures.append(asyncio.ensure_future(guard(work, self._fail, "agent")))

    def _remember(self, agent_id: str) -> None:
        self._checkpoint.write_agent({"info": self.info, "agent_id": agent_id})


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
