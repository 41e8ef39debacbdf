"""The v1 scheduler API: be a framework.

A subscription is one stream of events from one leader, and calls belong to it: masters refuse those
of another stream. So there is no retrying in here. When a call or the stream fails, what it asked
for may or may not have happened; subscribe again with the same framework id and reconcile, which is
the only way to know.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx

from clients.mesos import scheduler_json as convert
from clients.mesos.client import MastersClient
from clients.mesos.errors import (
    AuthenticationError,
    CallRefusedError,
    FrameworkRemovedError,
    ProtocolError,
    SubscriptionLostError,
    UnreachableError,
)
from clients.mesos.lane import Poster
from clients.mesos.scheduler_model import FrameworkInfo, SchedulerEvent, TaskInfo
from clients.mesos.streams import EventStream
from clients.mesos.transport import SCHEDULER_PATH, Json, check

_COMPACT = json.JSONEncoder(separators=(",", ":")).encode
_REMOVED = "removed"
_UNAVAILABLE = 503


class SchedulerClient(MastersClient):
    """Subscribes frameworks with one cluster."""

    @asynccontextmanager
    async def subscribe(self, framework: FrameworkInfo) -> AsyncGenerator[Subscription]:
        """Subscribe with the leader; the subscription ends with the block.

        Raises:
            FrameworkRemovedError: masters have completed this framework.
            NoLeaderError, UnreachableError: nobody leads or answers: subscribe again later.
            AuthenticationError: this principal may not be a framework of these roles.
        """
        call: Json = {
            "type": "SUBSCRIBE",
            "subscribe": {"framework_info": convert.framework(framework)},
        }
        if framework.id is not None:
            call["framework_id"] = {"value": framework.id}
        try:
            async with self._transport.stream(SCHEDULER_PATH, call) as (leader, response):
                stream = EventStream(response)
                first = stream.parse(await anext(stream.records()))
                framework_id, heartbeats = convert.subscribed(first)
                stream.expect_heartbeats(heartbeats)
                headers = {"Mesos-Stream-Id": str(response.headers.get("mesos-stream-id", ""))}
                poster = self._transport.poster(leader, SCHEDULER_PATH, headers)
                try:
                    yield Subscription(poster, stream, leader, framework_id)
                finally:
                    poster.close()
        except (AuthenticationError, CallRefusedError) as error:
            if _REMOVED in str(error):
                msg = (
                    f"expected masters to know framework {framework.id}, saw it removed: begin a "
                    "new one, without an id"
                )
                raise FrameworkRemovedError(msg) from None
            raise


class Subscription:
    """One stream of a framework, and the calls that belong to it: sent in their order, and without
    waiting for each other, so calls that wait together cost one way to the master.

    Raises (all calls):
        SubscriptionLostError: the call may not have arrived, or the stream is over: subscribe
            again, then reconcile.
        CallRefusedError: the master refused the call.
    """

    def __init__(self, poster: Poster, stream: EventStream, leader: str, framework_id: str) -> None:
        self._poster = poster
        self._stream = stream
        self.leader = leader
        self.framework_id = framework_id

    async def events(self) -> AsyncGenerator[SchedulerEvent]:
        """Events, in order; ends with an error.

        Raises:
            SubscriptionLostError: the stream ended, or five heartbeats stayed away.
            ProtocolError: what came is no event, or a record was cut.
        """
        try:
            async for record in self._stream.records():
                yield convert.event(self._stream.parse(record))
        except UnreachableError as error:
            raise SubscriptionLostError(str(error)) from None

    async def accept(
        self, offer_ids: Sequence[str], tasks: Iterable[TaskInfo], *, refuse_s: float | None = None
    ) -> None:
        """Launch tasks on offers of one agent; what is left is refused for `refuse_s`."""
        infos = [convert.task(task) for task in tasks]
        operations = [{"type": "LAUNCH", "launch": {"task_infos": infos}}] if infos else []
        body: Json = {"offer_ids": _ids(offer_ids), "operations": operations}
        await self._call("ACCEPT", {**body, **_filters(refuse_s)})

    async def decline(self, offer_ids: Sequence[str], *, refuse_s: float | None = None) -> None:
        """Leave offers to others for `refuse_s`; Mesos' default is 5 s."""
        await self._call("DECLINE", {"offer_ids": _ids(offer_ids), **_filters(refuse_s)})

    async def kill(
        self, task_id: str, agent_id: str | None = None, *, grace_period_s: float | None = None
    ) -> None:
        """End a task; an update tells when it has ended."""
        body: Json = {"task_id": {"value": task_id}}
        if agent_id is not None:
            body["agent_id"] = {"value": agent_id}
        if grace_period_s is not None:
            grace = {"nanoseconds": round(grace_period_s * 1e9)}
            body["kill_policy"] = {"grace_period": grace}
        await self._call("KILL", body)

    async def reconcile(self, tasks: Mapping[str, str | None]) -> None:
        """Ask for the state of tasks (id → agent's id, where known); of all, when none is named."""
        named: list[Json] = []
        for task_id, agent_id in tasks.items():
            one: Json = {"task_id": {"value": task_id}}
            if agent_id is not None:
                one["agent_id"] = {"value": agent_id}
            named.append(one)
        await self._call("RECONCILE", {"tasks": named})

    async def acknowledge(self, task_id: str, agent_id: str, uuid: str) -> None:
        """Say that an update is kept; `uuid` as it came."""
        body = {"agent_id": {"value": agent_id}, "task_id": {"value": task_id}, "uuid": uuid}
        await self._call("ACKNOWLEDGE", body)

    async def suppress(self, roles: Sequence[str] = ()) -> None:
        """Want no offers, for these roles or for all."""
        await self._call("SUPPRESS", {"roles": list(roles)} if roles else None)

    async def revive(self, roles: Sequence[str] = ()) -> None:
        """Want offers again, also those that were refused."""
        await self._call("REVIVE", {"roles": list(roles)} if roles else None)

    async def teardown(self) -> None:
        """End the framework and all of its tasks."""
        await self._call("TEARDOWN", None)

    async def _call(self, kind: str, body: Json | None) -> None:
        call: Json = {"type": kind, "framework_id": {"value": self.framework_id}}
        if body is not None:
            call[kind.lower()] = body
        try:
            answer = await self._poster.post(_COMPACT(call).encode())
        except UnreachableError as error:
            msg = f"{error}. {kind} may have arrived: subscribe again, then reconcile"
            raise SubscriptionLostError(msg) from None
        if answer.is_redirect:
            msg = f"expected {self.leader} to lead, saw it follow another: subscribe again"
            raise SubscriptionLostError(msg)
        _check(kind, answer, self.leader)


def _check(kind: str, answer: httpx.Response, leader: str) -> None:
    """Tell a call of a stream that is over from one that is wrong."""
    text = answer.text
    over = "stream ID" in text or "not subscribed" in text or answer.status_code == _UNAVAILABLE
    if over and not answer.is_success:
        msg = f"expected {kind} to be taken, saw {answer.status_code}: {text}: subscribe again"
        raise SubscriptionLostError(msg)
    check(kind, answer, leader)
    if answer.content.lstrip().startswith(b"<"):
        msg = f"expected Mesos at {leader}, saw an HTML page with status {answer.status_code}"
        raise ProtocolError(msg)


def _ids(offer_ids: Sequence[str]) -> list[Json]:
    if not offer_ids:
        msg = "expected at least one offer, saw none"
        raise ValueError(msg)
    return [{"value": offer_id} for offer_id in offer_ids]


def _filters(refuse_s: float | None) -> Json:
    return {} if refuse_s is None else {"filters": {"refuse_seconds": refuse_s}}
