"""The v1 operator API of a Mesos cluster, typed.

One method a call. Reads and calls that set a whole value are repeated until the time-out when a
leader is lost midway; a start or stop of maintenance, a teardown and marking an agent gone are not,
once they may have arrived. Values are checked here where masters would accept what they should not:
duplicate quota roles, unknown fields.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Mapping

from clients.mesos import parse
from clients.mesos.client import MastersClient
from clients.mesos.errors import ProtocolError, UnreachableError
from clients.mesos.events import Event, Subscribed, event
from clients.mesos.inventory import Inventory
from clients.mesos.model import (
    Agents,
    Executor,
    Frameworks,
    Machine,
    MaintenanceSchedule,
    MaintenanceStatus,
    MasterInfo,
    Operation,
    Quota,
    Role,
    Scalars,
    State,
    Tasks,
    Version,
)
from clients.mesos.streams import EventStream
from clients.mesos.transport import OPERATOR_PATH, Json


class OperatorClient(MastersClient):
    """The operator's client of one cluster."""

    async def _read(self, kind: str, body: Json | None = None) -> Json:
        call: Json = {"type": kind}
        if body is not None:
            call[kind.lower()] = body
        content = await self._transport.call(call)
        try:
            answer = json.loads(content)
            found: Json = answer[kind.lower()]
        except (ValueError, KeyError, TypeError):
            msg = f"expected the answer to {kind} as JSON, saw {content[:120]!r}: is this a master?"
            raise ProtocolError(msg) from None
        return found

    async def _inventory(self, kind: str) -> Inventory:
        return await self._transport.call_into({"type": kind}, lambda: Inventory(kind))

    async def _write(self, kind: str, body: Json, *, idempotent: bool = True) -> None:
        call = {"type": kind, kind.lower(): body}
        content = await self._transport.call(call, idempotent=idempotent)
        if content.lstrip().startswith(b"<"):
            msg = (
                f"expected {kind} to be accepted without a text, saw a page {content[:80]!r}: is "
                "this a master? Nobody knows whether it arrived: read what it should have changed"
            )
            raise ProtocolError(msg)

    # Masters

    async def leader(self) -> str:
        """`host:port` of the leader that the masters name.

        Raises:
            ForeignLeaderError: it is none of the declared masters.
            NoLeaderError: there is none.
        """
        return await self._transport.redirect()

    async def master(self) -> MasterInfo:
        """What the leader says of itself."""
        return parse.master(await self._read("GET_MASTER"))

    async def health(self, master: str | None = None) -> bool:
        """Whether a named master is alive; without a name, whether the leader is."""
        if master is None:
            return parse.healthy(await self._read("GET_HEALTH"))
        try:
            answer = await self._transport.get("/health", master)
        except UnreachableError:
            return False
        return answer.is_success

    async def version(self) -> Version:
        """The leader's version."""
        return parse.version(await self._read("GET_VERSION"))

    async def flags(self, master: str | None = None) -> dict[str, str]:
        """Flags of a named master, or of the leader."""
        if master is None:
            return parse.flags(await self._read("GET_FLAGS"))
        return parse.flags(await self._get(master, "/flags"))

    async def metrics(self, master: str | None = None) -> dict[str, float]:
        """Metrics of a named master (followers have some of their own), or of the leader."""
        if master is None:
            return parse.metrics(await self._read("GET_METRICS", {}))
        return parse.metrics(await self._get(master, "/metrics/snapshot"))

    async def _get(self, master: str, path: str) -> Json:
        answer = await self._transport.get(path, master)
        try:
            if not answer.is_success:
                raise ValueError
            return answer.json()
        except ValueError:
            msg = f"expected JSON at {master}{path}, saw status {answer.status_code}: a master?"
            raise ProtocolError(msg) from None

    # What runs

    async def state(self) -> State:
        """Agents, tasks and frameworks at one moment."""
        return (await self._inventory("GET_STATE")).state

    async def agents(self) -> Agents:
        """Agents, and those of the registry that have not come back yet."""
        return (await self._inventory("GET_AGENTS")).agents

    async def tasks(self) -> Tasks:
        """Tasks of all frameworks."""
        return (await self._inventory("GET_TASKS")).tasks

    async def frameworks(self) -> Frameworks:
        """Frameworks."""
        return (await self._inventory("GET_FRAMEWORKS")).frameworks

    async def roles(self) -> tuple[Role, ...]:
        """Roles."""
        return parse.roles(await self._read("GET_ROLES"))

    async def consumption(self) -> dict[str, Scalars]:
        """What counts against quota, by role: running, offered and reserved.

        Only the leader's `/roles` tells it; the v1 API does not.
        """
        return parse.consumption(await self._get(await self.leader(), "/roles"))

    async def executors(self) -> tuple[Executor, ...]:
        """Executors of agents that have registered; those of command tasks are not among them."""
        return parse.executors(await self._read("GET_EXECUTORS"))

    async def operations(self) -> tuple[Operation, ...]:
        """Operations on resources that have not ended for good."""
        return parse.operations(await self._read("GET_OPERATIONS"))

    async def teardown(self, framework_id: str) -> None:
        """End a framework and all of its tasks."""
        body = {"framework_id": {"value": framework_id}}
        await self._write("TEARDOWN", body, idempotent=False)

    # Quota and weights

    async def quota(self) -> tuple[Quota, ...]:
        """Quota by role, sorted; cleared ones are left out."""
        return parse.quota(await self._read("GET_QUOTA"))

    async def update_quota(self, quota: Iterable[Quota], *, force: bool = False) -> None:
        """Set the quota of these roles, all or none; without limits and guarantees it is cleared.

        Raises:
            ValueError: a role stands there twice.
            CallRefusedError: the cluster cannot keep it.
        """
        configs = [_quota(one) for one in quota]
        roles = [config["role"] for config in configs]
        double = sorted({role for role in roles if roles.count(role) > 1})
        if double:
            msg = f"expected each role once, saw {', '.join(double)} more often"
            raise ValueError(msg)
        await self._write("UPDATE_QUOTA", {"force": force, "quota_configs": configs})

    async def weights(self) -> dict[str, float]:
        """Weights by role, of roles that had one set."""
        return parse.weights(await self._read("GET_WEIGHTS"))

    async def update_weights(self, weights: Mapping[str, float]) -> None:
        """Set weights; there is no delete, 1 is the default.

        Raises:
            ValueError: a weight is not above 0.
        """
        for role, weight in weights.items():
            if weight <= 0:
                msg = f"expected a weight above 0 for role {role}, saw {weight:g}"
                raise ValueError(msg)
        infos = [{"role": role, "weight": weight} for role, weight in weights.items()]
        await self._write("UPDATE_WEIGHTS", {"weight_infos": infos})

    # Maintenance

    async def maintenance_schedule(self) -> MaintenanceSchedule:
        """The schedule."""
        return parse.schedule(await self._read("GET_MAINTENANCE_SCHEDULE"))

    async def update_maintenance_schedule(self, schedule: MaintenanceSchedule) -> None:
        """Replace the schedule; machines that are down must stay in it."""
        body = {"schedule": _schedule(schedule)}
        await self._write("UPDATE_MAINTENANCE_SCHEDULE", body)

    async def maintenance_status(self) -> MaintenanceStatus:
        """What scheduled machines do."""
        return parse.maintenance_status(await self._read("GET_MAINTENANCE_STATUS"))

    async def start_maintenance(self, machines: Iterable[Machine]) -> None:
        """Take scheduled machines down: their agents are shut down."""
        body = {"machines": [_machine(one) for one in machines]}
        await self._write("START_MAINTENANCE", body, idempotent=False)

    async def stop_maintenance(self, machines: Iterable[Machine]) -> None:
        """Bring machines back; they leave the schedule."""
        body = {"machines": [_machine(one) for one in machines]}
        await self._write("STOP_MAINTENANCE", body, idempotent=False)

    # Agents

    async def drain_agent(
        self, agent_id: str, *, max_grace_period_s: float | None = None, mark_gone: bool = False
    ) -> None:
        """Kill all tasks of an agent and offer it no more; there is no way to cancel."""
        body: Json = {"agent_id": {"value": agent_id}, "mark_gone": mark_gone}
        if max_grace_period_s is not None:
            body["max_grace_period"] = {"nanoseconds": round(max_grace_period_s * 1e9)}
        await self._write("DRAIN_AGENT", body)

    async def deactivate_agent(self, agent_id: str) -> None:
        """Offer an agent no more; its tasks run on."""
        await self._write("DEACTIVATE_AGENT", {"agent_id": {"value": agent_id}})

    async def reactivate_agent(self, agent_id: str) -> None:
        """Offer an agent again, after a deactivation or a finished drain."""
        body = {"agent_id": {"value": agent_id}}
        await self._write("REACTIVATE_AGENT", body, idempotent=False)

    async def mark_agent_gone(self, agent_id: str) -> None:
        """Declare that an agent never comes back; it cannot be taken back."""
        body = {"agent_id": {"value": agent_id}}
        await self._write("MARK_AGENT_GONE", body, idempotent=False)

    # Events

    async def events(self) -> AsyncGenerator[Json]:
        """Events of the leader as they come, the first one with the whole state in one piece;
        ends with an error. See `subscribe` for values, and for large clusters.

        Raises:
            UnreachableError: the stream ended, or five heartbeats stayed away: subscribe again.
            ProtocolError: what came is no event stream, or a record was cut.
        """
        async with self._transport.stream(OPERATOR_PATH, {"type": "SUBSCRIBE"}) as (_, response):
            stream = EventStream(response)
            async for record in stream.records():
                found = stream.parse(record)
                if found.get("type") == "SUBSCRIBED":
                    stream.expect_heartbeats(found.get("subscribed"))
                yield found

    async def subscribe(self) -> AsyncGenerator[Event]:
        """Events of the leader as values, the first one `Subscribed`, whose state is read while it
        arrives; ends with an error, as `events` does.
        """
        async with self._transport.stream(OPERATOR_PATH, {"type": "SUBSCRIBE"}) as (_, response):
            stream = EventStream(response)
            inventory = Inventory("SUBSCRIBED")
            await stream.pour(inventory)
            stream.expect_heartbeats(inventory.scalars)
            yield Subscribed(inventory.state)
            async for record in stream.records():
                yield event(stream.parse(record))


def _quantities(scalars: Scalars) -> Json:
    return {name: {"value": value} for name, value in scalars.items()}


def _quota(quota: Quota) -> Json:
    config: Json = {"role": quota.role}
    if quota.guarantees:
        config["guarantees"] = _quantities(quota.guarantees)
    if quota.limits:
        config["limits"] = _quantities(quota.limits)
    return config


def _machine(machine: Machine) -> Json:
    named = {"hostname": machine.hostname, "ip": machine.ip}
    return {name: value for name, value in named.items() if value}


def _schedule(schedule: MaintenanceSchedule) -> Json:
    windows: list[Json] = []
    for window in schedule.windows:
        unavailability: Json = {"start": {"nanoseconds": window.start_ns}}
        if window.duration_ns is not None:
            unavailability["duration"] = {"nanoseconds": window.duration_ns}
        machines = [_machine(one) for one in window.machines]
        windows.append({"machine_ids": machines, "unavailability": unavailability})
    return {"windows": windows}
