"""An agent's bond with the leading master: register, obey, report, follow another leader.

Whatever runs the tasks, processes or only numbers, speaks to masters through this. A change of
leader is followed at once: the connection to the old one is dropped and the same agent id, tasks
and frameworks are registered with the new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import structlog

from clients.mesos.errors import ProtocolError
from clients.mesos.recordio import Decoder
from stacks.local.mesos import values
from stacks.local.mesos.election import Leader
from stacks.local.mesos.outbox import Outbox
from stacks.local.mesos.values import Json

if TYPE_CHECKING:
    import httpx

# A new leader needs a moment to read its registry: the first tries follow fast.
_FIRST_BACKOFF_SHARE = 0.1
_BACKOFF_FACTOR_MAX = 16
_HISTORY_MAX = 100
CONNECT_TIMEOUT_S = 5.0
SILENCE_S = 600.0
_OK = 200
_UNAUTHORIZED, _GONE = 401, 410
_log = structlog.get_logger()
Send = Callable[[Json], Awaitable[bool]]


class Tasks(Protocol):
    """What runs an agent's tasks."""

    def registration(self) -> list[Json]:
        """What a master is told of tasks."""
        ...

    def frameworks(self) -> list[Json]:
        """Frameworks of all tasks, once each."""
        ...

    def connect(self, agent_id: str, send: Send) -> None:
        """Begin to report through a registered connection."""
        ...

    def disconnect(self) -> None:
        """Nothing can be reported until the next connection."""
        ...

    def run(self, message: Json) -> None:
        """RUN_TASK."""
        ...

    def kill(self, framework_id: str, task_id: str, grace_s: float | None = None) -> None:
        """KILL_TASK."""
        ...

    def acknowledge(self, framework_id: str, task_id: str, uuid: str | None) -> None:
        """ACKNOWLEDGE."""
        ...

    def drain(self, config: Json) -> None:
        """DRAIN."""
        ...

    def shut_down(self, framework_id: str | None = None) -> None:
        """End the tasks of a framework, or all."""
        ...


T = TypeVar("T", bound=Tasks)


class Follower(Generic[T]):
    """An agent as masters know it. `fail` ends it."""

    def __init__(
        self,
        *,
        info: Json,
        pid: str,
        tasks: T,
        backoff_s: float,
        fail: Callable[[str], Any],
    ) -> None:
        self.info = info
        self.pid = pid
        self.tasks = tasks
        self._backoff_s = backoff_s
        self._fail = fail
        self.id: str | None = None
        self.leader: Leader | None = None
        self.registered_with: str | None = None
        self.registered_at: float | None = None
        self.master_id: str | None = None
        # Who served this agent when: the time without a leader is read from it.
        self.history: deque[Json] = deque(maxlen=_HISTORY_MAX)
        self._leader_changed = asyncio.Event()
        self._futures: list[asyncio.Future[Any]] = []

    def connect(self, client: httpx.AsyncClient, messages: Outbox) -> None:
        """Give it the client that it registers with, and where its messages go."""
        self._client = client
        self._messages = messages

    def _remember(self, agent_id: str) -> None:
        """A master has given or confirmed the id."""

    def note_leader(self, leader: Leader | None) -> None:
        """ZooKeeper names another leader, or none."""
        self.leader = leader
        name = None if leader is None else leader.address
        _log.info("leader.detected", leader=name, number=leader and leader.number)
        self._leader_changed.set()

    async def follow(self) -> None:
        """Stay registered with whoever leads; never returns."""
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
                serving.cancel()
                changed.cancel()
                # Waited for, not awaited: being cancelled here must not be taken for their end.
                await asyncio.wait({serving, changed})
                was_registered = self._note_disconnected()
            if not serving.cancelled():
                serving.result()
            failures = 0 if was_registered else failures + 1
            factor = min(2**failures * _FIRST_BACKOFF_SHARE, _BACKOFF_FACTOR_MAX)
            with contextlib.suppress(TimeoutError):
                pause_s = self._backoff_s * factor
                async with asyncio.timeout(pause_s):
                    await self._leader_changed.wait()

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
                if response.status_code == _UNAUTHORIZED:
                    # Without touching tasks: a credential is put right, and they run on.
                    self._fail(
                        f"Master {leader.address} refused authentication: give this agent the "
                        "credential file of a principal that the master knows"
                    )
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
        self.id = agent_id = str(message["agent_id"])
        self._remember(agent_id)
        self.registered_with, self.master_id = leader.address, str(message["master_id"])
        self.registered_at = values.now()
        self.history.append(
            {"at": self.registered_at, "event": "registered", "master": leader.address}
        )
        _log.info("agent.registered", agent=agent_id, master=leader.address)

        async def send(update: Json) -> bool:
            return await self._messages.send(leader.address, update)

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
        await self._messages.send(leader.address, {"type": "PONG", "agent_id": self.id})
