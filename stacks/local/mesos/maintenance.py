"""Maintenance calls: one schedule a cluster, machines that drain or are down.

Machines are compared by hostname, whatever its case, and ip. Error texts are those of a real
master.
"""

from __future__ import annotations

import json
from typing import Any, cast

from stacks.local.errors import CallError
from stacks.local.mesos import registry, values
from stacks.local.mesos.cluster import Agent
from stacks.local.mesos.core import Core
from stacks.local.mesos.registry import Document
from stacks.local.mesos.values import Json

Key = tuple[str, str]


def _key(machine: Json) -> Key:
    return (str(machine.get("hostname", "")).lower(), str(machine.get("ip", "")))


def _shown(machine: Json) -> str:
    return json.dumps(machine, separators=(",", ":"))


def _down(document: Document) -> list[Json]:
    return cast("list[Json]", document.get("machines_down") or [])


def _machines(schedule_: Json) -> list[Json]:
    return [
        machine
        for window in schedule_.get("windows", ())
        for machine in window.get("machine_ids", ())
    ]


def schedule(document: Document) -> Json:
    """GET_MAINTENANCE_SCHEDULE; empty without windows."""
    return registry.section(document, "schedule")


def status(document: Document) -> Json:
    """GET_MAINTENANCE_STATUS: scheduled machines drain until they are taken down."""
    down = _down(document)
    gone = {_key(machine) for machine in down}
    draining = [m for m in _machines(schedule(document)) if _key(m) not in gone]
    result: Json = {}
    if draining:
        result["draining_machines"] = [{"id": m} for m in sorted(draining, key=_order)]
    if down:
        result["down_machines"] = sorted(down, key=_order)
    return result


def _order(machine: Json) -> Key:
    return (str(machine.get("hostname", "")), str(machine.get("ip", "")))


def _time(info: Any) -> Json:
    return values.nanoseconds(values.duration_s(info, 0.0)) if "seconds" in info else info


def _normalised(given: Json) -> Json:
    windows: list[Json] = []
    for window in given.get("windows", ()):
        unavailability: Json = {"start": _time(window["unavailability"]["start"])}
        if "duration" in window["unavailability"]:
            unavailability["duration"] = _time(window["unavailability"]["duration"])
        windows.append(
            {"machine_ids": list(window["machine_ids"]), "unavailability": unavailability}
        )
    return {"windows": windows} if windows else {}


async def update(core: Core, body: Json) -> None:
    """UPDATE_MAINTENANCE_SCHEDULE: replaces the whole schedule.

    Raises:
        CallError: a machine twice or without a name, or one that is down left out.
    """
    given: Json = body.get("schedule") or {}
    seen: set[Key] = set()
    for machine in _machines(given):
        if not machine.get("hostname") and not machine.get("ip"):
            raise CallError(400, "Both 'hostname' and 'ip' for a machine are empty")
        if _key(machine) in seen:
            raise CallError(
                400, f"Machine '{_shown(machine)}' appears more than once in the schedule"
            )
        seen.add(_key(machine))
    for machine in _down(core.document):
        if _key(machine) not in seen:
            raise CallError(
                400,
                f"Machine '{_shown(machine)}' is deactivated and cannot be removed from the "
                "schedule",
            )
    await core.store(registry.set_schedule(_normalised(given)))


async def start(core: Core, body: Json) -> None:
    """START_MAINTENANCE: machines go down, their agents are shut down and removed.

    Raises:
        CallError: a machine that is not scheduled, or down already.
    """
    machines: list[Json] = list(body.get("machines") or ())
    down = _down(core.document)
    scheduled = {_key(m) for m in _machines(schedule(core.document))}
    for machine in machines:
        if _key(machine) not in scheduled:
            raise CallError(
                400, f"Machine '{_shown(machine)}' is not part of a maintenance schedule"
            )
        if _key(machine) in {_key(m) for m in down}:
            raise CallError(400, f"Machine '{_shown(machine)}' is not in DRAINING mode")
    await core.store(registry.set_down([*down, *machines]))
    for machine in machines:
        for agent in [a for a in core.cluster.agents.values() if _runs_on(a, machine)]:
            await core.shut_down_agent(agent, "Operator initiated 'Machine DOWN'")


def _runs_on(agent: Agent, machine: Json) -> bool:
    ip = agent.pid.partition("@")[2].rpartition(":")[0]
    return _key(machine) == (str(agent.info["hostname"]).lower(), ip)


async def stop(core: Core, body: Json) -> None:
    """STOP_MAINTENANCE: machines come back and leave the schedule.

    Raises:
        CallError: a machine that is not down.
    """
    back = {_key(machine) for machine in body.get("machines") or ()}
    down = _down(core.document)
    for machine in body.get("machines") or ():
        if _key(machine) not in {_key(m) for m in down}:
            raise CallError(400, f"Machine '{_shown(machine)}' is not in DOWN mode")
    windows: list[Json] = []
    for window in schedule(core.document).get("windows", ()):
        left = [m for m in window["machine_ids"] if _key(m) not in back]
        if left:
            windows.append({**window, "machine_ids": left})
    await core.store(
        registry.chain(
            registry.set_down([m for m in down if _key(m) not in back]),
            registry.set_schedule({"windows": windows} if windows else {}),
        )
    )
