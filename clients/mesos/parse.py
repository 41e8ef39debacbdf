"""From the operator API's JSON to values; unknown fields are ignored, wrong ones refused.

Quirks of real masters that end here: durations come back in nanoseconds whatever was sent, a
cleared quota stays listed as a role without anything, an absent list means an empty one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from clients.mesos.errors import ProtocolError
from clients.mesos.model import (
    Agent,
    Agents,
    Drain,
    DrainState,
    Framework,
    Frameworks,
    Machine,
    MaintenanceSchedule,
    MaintenanceStatus,
    MasterInfo,
    Quota,
    RecoveredAgent,
    Role,
    Scalars,
    State,
    Task,
    Tasks,
    Version,
    Window,
)

Json = dict[str, Any]
_T = TypeVar("_T")


def _checked(parse: Callable[[Json], _T]) -> Callable[[Json], _T]:
    """Turn an answer of another shape into a typed error."""

    @functools.wraps(parse)
    def checked(body: Json) -> _T:
        try:
            return parse(body)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = (
                f"expected an answer that {parse.__name__} understands, saw {error!r} in "
                f"{str(body)[:200]}: is this a Mesos master?"
            )
            raise ProtocolError(msg) from None

    return checked


def _part(body: Json, name: str) -> Json:
    found: Json | None = body.get(name)
    return found or {}


def _scalars(resources: Iterable[Json] | None) -> Scalars:
    found: dict[str, float] = {}
    for resource in resources or ():
        if "scalar" in resource:
            name = str(resource["name"])
            found[name] = round(found.get(name, 0.0) + float(resource["scalar"]["value"]), 3)
    return found


def _time_s(info: Json | None) -> float | None:
    return None if info is None else int(info["nanoseconds"]) / 1e9


def _duration_s(info: Json | None) -> float | None:
    if info is None:
        return None
    return float(info["seconds"]) if "seconds" in info else int(info["nanoseconds"]) / 1e9


def _drain(info: Json | None) -> Drain | None:
    if info is None:
        return None
    config: Json = info.get("config") or {}
    return Drain(
        state=DrainState(info["state"]),
        max_grace_period_s=_duration_s(config.get("max_grace_period")),
        mark_gone=bool(config.get("mark_gone", False)),
    )


def _attribute(item: Json) -> str:
    if "text" in item:
        return str(item["text"]["value"])
    if "scalar" in item:
        return str(item["scalar"]["value"])
    return str(item.get("ranges") or item.get("set") or "")


def _agent(body: Json) -> Agent:
    info: Json = body["agent_info"]
    registered_at = _time_s(body.get("registered_time"))
    return Agent(
        id=str(info["id"]["value"]),
        hostname=str(info["hostname"]),
        port=int(info.get("port", 5051)),
        pid=str(body.get("pid", "")),
        version=str(body.get("version", "")),
        active=bool(body["active"]),
        deactivated=bool(body.get("deactivated", False)),
        registered_at=registered_at or 0.0,
        reregistered_at=_time_s(body.get("reregistered_time")),
        attributes={str(a["name"]): _attribute(a) for a in info.get("attributes") or ()},
        resources=_scalars(body.get("total_resources") or info.get("resources")),
        allocated=_scalars(body.get("allocated_resources")),
        drain=_drain(body.get("drain_info")),
    )


def _recovered(info: Json) -> RecoveredAgent:
    return RecoveredAgent(
        str(info["id"]["value"]), str(info["hostname"]), int(info.get("port", 5051))
    )


def _task(body: Json) -> Task:
    statuses: list[Json] = body.get("statuses") or []
    last: Json = statuses[-1] if statuses else {}
    pid = next(
        (
            status["container_status"]["executor_pid"]
            for status in reversed(statuses)
            if _part(status, "container_status").get("executor_pid")
        ),
        None,
    )
    return Task(
        id=str(body["task_id"]["value"]),
        name=str(body.get("name", "")),
        framework_id=str(body["framework_id"]["value"]),
        agent_id=str(body["agent_id"]["value"]),
        state=str(body["state"]),
        resources=_scalars(body.get("resources")),
        executor_pid=None if pid is None else int(pid),
        reason=last.get("reason"),
        updated_at=None if "timestamp" not in last else float(last["timestamp"]),
    )


def _framework(body: Json) -> Framework:
    info: Json = body["framework_info"]
    return Framework(
        id=str(info["id"]["value"]),
        name=str(info["name"]),
        roles=tuple(info.get("roles") or [info.get("role", "*")]),
        active=bool(body["active"]),
        connected=bool(body["connected"]),
        recovered=bool(body.get("recovered", False)),
        checkpoint=bool(info.get("checkpoint", False)),
        failover_timeout_s=float(info.get("failover_timeout", 0.0)),
        capabilities=frozenset(str(c["type"]) for c in info.get("capabilities") or ()),
    )


@_checked
def agents(body: Json) -> Agents:
    """GET_AGENTS."""
    return Agents(
        registered=tuple(_agent(one) for one in body.get("agents") or ()),
        recovered=tuple(_recovered(one) for one in body.get("recovered_agents") or ()),
    )


@_checked
def tasks(body: Json) -> Tasks:
    """GET_TASKS."""
    return Tasks(
        live=tuple(_task(one) for one in body.get("tasks") or ()),
        unreachable=tuple(_task(one) for one in body.get("unreachable_tasks") or ()),
        completed=tuple(_task(one) for one in body.get("completed_tasks") or ()),
    )


@_checked
def frameworks(body: Json) -> Frameworks:
    """GET_FRAMEWORKS."""
    return Frameworks(
        registered=tuple(_framework(one) for one in body.get("frameworks") or ()),
        completed=tuple(_framework(one) for one in body.get("completed_frameworks") or ()),
    )


@_checked
def state(body: Json) -> State:
    """GET_STATE."""
    return State(
        agents=agents(body["get_agents"]),
        tasks=tasks(body["get_tasks"]),
        frameworks=frameworks(body["get_frameworks"]),
    )


@_checked
def roles(body: Json) -> tuple[Role, ...]:
    """GET_ROLES."""
    return tuple(
        Role(
            name=str(one["name"]),
            weight=float(one.get("weight", 1.0)),
            framework_ids=tuple(str(f["value"]) for f in one.get("frameworks") or ()),
            resources=_scalars(one.get("resources")),
        )
        for one in body.get("roles") or ()
    )


def _quantities(body: Json | None) -> Scalars:
    return {str(name): float(value["value"]) for name, value in (body or {}).items()}


@_checked
def quota(body: Json) -> tuple[Quota, ...]:
    """GET_QUOTA; roles whose quota was cleared are left out."""
    found = [
        Quota(
            role=str(config["role"]),
            limits=_quantities(config.get("limits")),
            guarantees=_quantities(config.get("guarantees")),
        )
        for config in body["status"].get("configs") or ()
    ]
    return tuple(sorted((q for q in found if q.limits or q.guarantees), key=lambda q: q.role))


@_checked
def weights(body: Json) -> dict[str, float]:
    """GET_WEIGHTS, by role."""
    return {str(info["role"]): float(info["weight"]) for info in body.get("weight_infos") or ()}


def _machine(body: Json) -> Machine:
    return Machine(hostname=str(body.get("hostname", "")), ip=str(body.get("ip", "")))


@_checked
def schedule(body: Json) -> MaintenanceSchedule:
    """GET_MAINTENANCE_SCHEDULE."""
    windows: list[Window] = []
    for window in body.get("schedule", {}).get("windows") or ():
        unavailability: Json = window["unavailability"]
        duration: Json | None = unavailability.get("duration")
        windows.append(
            Window(
                machines=tuple(_machine(one) for one in window.get("machine_ids") or ()),
                start_ns=int(unavailability["start"]["nanoseconds"]),
                duration_ns=None if duration is None else int(duration["nanoseconds"]),
            )
        )
    return MaintenanceSchedule(tuple(windows))


@_checked
def maintenance_status(body: Json) -> MaintenanceStatus:
    """GET_MAINTENANCE_STATUS."""
    status: Json = body.get("status") or {}
    return MaintenanceStatus(
        draining=tuple(_machine(one["id"]) for one in status.get("draining_machines") or ()),
        down=tuple(_machine(one) for one in status.get("down_machines") or ()),
    )


@_checked
def version(body: Json) -> Version:
    """GET_VERSION, or /version."""
    info: Json = body.get("version_info") or body
    return Version(
        version=str(info["version"]),
        build_date=str(info.get("build_date", "")),
        build_time=float(info.get("build_time", 0.0)),
    )


@_checked
def master(body: Json) -> MasterInfo:
    """GET_MASTER."""
    info: Json = body["master_info"]
    elected = body.get("elected_time")
    return MasterInfo(
        id=str(info["id"]),
        address=f"{info.get('hostname') or info['address']['ip']}:{info['port']}",
        pid=str(info.get("pid", "")),
        version=str(info.get("version", "")),
        started_at=float(body.get("start_time", 0.0)),
        elected_at=None if elected is None else float(elected),
    )


def _by_name(body: Any) -> Json:
    """Named values, whether they come as a list of the v1 API or as an object."""
    if not isinstance(body, list):
        return body
    return {str(one["name"]): one.get("value", 0) for one in cast("list[Json]", body)}


@_checked
def metrics(body: Json) -> dict[str, float]:
    """GET_METRICS, or /metrics/snapshot."""
    named = _by_name(body["metrics"]) if "metrics" in body else body
    return {name: float(value) for name, value in named.items()}


@_checked
def flags(body: Json) -> dict[str, str]:
    """GET_FLAGS, or /flags."""
    return {name: str(value) for name, value in _by_name(body["flags"]).items()}


@_checked
def healthy(body: Json) -> bool:
    """GET_HEALTH."""
    return bool(body["healthy"])
