"""From the operator API's JSON to values; unknown fields are ignored, wrong ones refused.

Quirks of real masters that end here: durations come back in nanoseconds whatever was sent, a
cleared quota stays listed as a role without anything, an absent list means an empty one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar, cast

import msgspec

from clients.mesos import wire
from clients.mesos.errors import ProtocolError
from clients.mesos.model import (
    Agent,
    Drain,
    DrainState,
    Executor,
    Framework,
    Machine,
    MaintenanceSchedule,
    MaintenanceStatus,
    MasterInfo,
    Operation,
    Quota,
    RecoveredAgent,
    Role,
    Scalars,
    Task,
    Version,
    Window,
)
from clients.mesos.resources import ranges_of_ports, scalars

Json = dict[str, Any]
_P = ParamSpec("_P")
_T = TypeVar("_T")


def checked(
    parse: Callable[Concatenate[Json, _P], _T],
) -> Callable[Concatenate[Json, _P], _T]:
    """Turn an answer of another shape into a typed error."""

    @functools.wraps(parse)
    def parsed(body: Json, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return parse(body, *args, **kwargs)
        except (KeyError, TypeError, ValueError, AttributeError, msgspec.MsgspecError) as error:
            expected = f"an answer that {parse.__name__} understands"
            refuse(expected, f"{error!r} in {str(body)[:200]}")

    return parsed


def refuse(expected: str, seen: object) -> NoReturn:
    """Say that an answer has another shape.

    Raises:
        ProtocolError: always.
    """
    msg = f"expected {expected}, saw {seen}: is this a Mesos master?"
    raise ProtocolError(msg) from None


class Shared:
    """Holds once what thousands of tasks have in common."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._scalars: dict[tuple[tuple[str, float], ...], Scalars] = {}

    def text(self, text: str) -> str:
        """The first text that was equal."""
        return self._texts.setdefault(text, text)

    def scalars(self, scalars: Scalars) -> Scalars:
        """The first scalars that were equal."""
        return self._scalars.setdefault(tuple(scalars.items()), scalars)


def _part(body: Json, name: str) -> Json:
    found: Json | None = body.get(name)
    return found or {}


def _scalars_of(resources: Iterable[wire.Resource]) -> Scalars:
    """The same of a task's, a hundred thousand of which come this way."""
    found: dict[str, float] = {}
    for resource in resources:
        if resource.scalar is None:
            continue
        name, value = resource.name, resource.scalar.value
        found[name] = round(found[name] + value, 3) if name in found else value
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


def attribute(item: Json) -> str:
    """An attribute as text."""
    if "text" in item:
        return str(item["text"]["value"])
    if "scalar" in item:
        return str(item["scalar"]["value"])
    return str(item.get("ranges") or item.get("set") or "")


@checked
def agent(body: Json) -> Agent:
    """One agent, of an answer or an event."""
    info: Json = body["agent_info"]
    registered_at = _time_s(body.get("registered_time"))
    resources = body.get("total_resources") or info.get("resources")
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
        attributes={str(a["name"]): attribute(a) for a in info.get("attributes") or ()},
        resources=scalars(resources),
        allocated=scalars(body.get("allocated_resources")),
        drain=_drain(body.get("drain_info")),
        ports=ranges_of_ports(resources),
    )


@checked
def recovered_agent(info: Json) -> RecoveredAgent:
    """One agent that has not come back yet."""
    return RecoveredAgent(
        str(info["id"]["value"]), str(info["hostname"]), int(info.get("port", 5051))
    )


@checked
def task(body: Json) -> Task:
    """One task of an event."""
    return task_of(wire.read_task(body), Shared())


def task_of(body: wire.Task, share: Shared) -> Task:
    """One task of many."""
    last = body.statuses[-1] if body.statuses else None
    pid = container_id = None
    for status in reversed(body.statuses):
        container = status.container_status
        if container is not None:
            container_id = container_id or _outermost(container.container_id)
            if pid := container.executor_pid:
                break
    return Task(
        id=body.task_id.value,
        name=body.name,
        framework_id=share.text(body.framework_id.value),
        agent_id=share.text(body.agent_id.value),
        state=share.text(body.state),
        resources=share.scalars(_scalars_of(body.resources)),
        executor_pid=pid or None,
        reason=None if last is None or last.reason is None else share.text(last.reason),
        updated_at=None if last is None else last.timestamp,
        role=share.text(_role(body.resources)),
        container_id=container_id,
    )


def _role(resources: Iterable[wire.Resource]) -> str:
    """All resources of a task are allocated to one role."""
    for resource in resources:
        if resource.allocation_info is not None and resource.allocation_info.role:
            return resource.allocation_info.role
    return ""


def _outermost(container_id: wire.ContainerId | None) -> str | None:
    while container_id is not None and container_id.parent is not None:
        container_id = container_id.parent
    return None if container_id is None else container_id.value


@checked
def framework(body: Json) -> Framework:
    """One framework, of an answer or an event."""
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
        webui_url=str(info.get("webui_url", "")),
    )


@checked
def roles(body: Json) -> tuple[Role, ...]:
    """GET_ROLES."""
    return tuple(
        Role(
            name=str(one["name"]),
            weight=float(one.get("weight", 1.0)),
            framework_ids=tuple(str(f["value"]) for f in one.get("frameworks") or ()),
            resources=scalars(one.get("resources")),
        )
        for one in body.get("roles") or ()
    )


@checked
def consumption(body: Json) -> dict[str, Scalars]:
    """/roles: what counts against quota."""
    return {
        str(one["name"]): {
            str(name): float(value) for name, value in _part(one["quota"], "consumed").items()
        }
        for one in body["roles"]
        if "quota" in one
    }


@checked
def executors(body: Json) -> tuple[Executor, ...]:
    """GET_EXECUTORS."""
    return tuple(
        Executor(
            id=str(one["executor_info"]["executor_id"]["value"]),
            framework_id=str(_part(one["executor_info"], "framework_id").get("value", "")),
            agent_id=str(_part(one, "agent_id").get("value", "")),
        )
        for one in body.get("executors") or ()
    )


@checked
def operations(body: Json) -> tuple[Operation, ...]:
    """GET_OPERATIONS."""
    return tuple(
        Operation(
            id=str(_part(one["info"], "id").get("value", "")),
            type=str(one["info"]["type"]),
            state=str(one["latest_status"]["state"]),
            framework_id=_part(one, "framework_id").get("value"),
            agent_id=_part(one, "agent_id").get("value"),
        )
        for one in body.get("operations") or ()
    )


def _quantities(body: Json | None) -> Scalars:
    return {str(name): float(value["value"]) for name, value in (body or {}).items()}


@checked
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


@checked
def weights(body: Json) -> dict[str, float]:
    """GET_WEIGHTS, by role."""
    return {str(info["role"]): float(info["weight"]) for info in body.get("weight_infos") or ()}


def _machine(body: Json) -> Machine:
    return Machine(hostname=str(body.get("hostname", "")), ip=str(body.get("ip", "")))


@checked
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


@checked
def maintenance_status(body: Json) -> MaintenanceStatus:
    """GET_MAINTENANCE_STATUS."""
    status: Json = body.get("status") or {}
    return MaintenanceStatus(
        draining=tuple(_machine(one["id"]) for one in status.get("draining_machines") or ()),
        down=tuple(_machine(one) for one in status.get("down_machines") or ()),
    )


@checked
def version(body: Json) -> Version:
    """GET_VERSION, or /version."""
    info: Json = body.get("version_info") or body
    return Version(
        version=str(info["version"]),
        build_date=str(info.get("build_date", "")),
        build_time=float(info.get("build_time", 0.0)),
    )


@checked
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


@checked
def metrics(body: Json) -> dict[str, float]:
    """GET_METRICS, or /metrics/snapshot."""
    named = _by_name(body["metrics"]) if "metrics" in body else body
    return {name: float(value) for name, value in named.items()}


@checked
def flags(body: Json) -> dict[str, str]:
    """GET_FLAGS, or /flags."""
    return {name: str(value) for name, value in _by_name(body["flags"]).items()}


@checked
def healthy(body: Json) -> bool:
    """GET_HEALTH."""
    return bool(body["healthy"])
