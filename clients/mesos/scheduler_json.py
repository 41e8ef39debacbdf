"""Values of the scheduler API to JSON and back; unknown fields of masters are ignored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from clients.mesos.parse import Json, attribute, checked, refuse
from clients.mesos.resources import scalars
from clients.mesos.scheduler_model import (
    Alive,
    Failed,
    FrameworkInfo,
    Offer,
    Offers,
    PortRange,
    Refused,
    Rescinded,
    SchedulerEvent,
    TaskInfo,
    TaskStatus,
    Unknown,
    Updated,
)


def _labels(labels: Mapping[str, str]) -> Json:
    return {"labels": [{"key": key, "value": value} for key, value in labels.items()]}


def framework(info: FrameworkInfo) -> Json:
    """FrameworkInfo."""
    body: Json = {
        "name": info.name,
        "user": info.user,
        "roles": list(info.roles),
        "checkpoint": info.checkpoint,
        "failover_timeout": info.failover_timeout_s,
        "capabilities": [{"type": name} for name in info.capabilities],
    }
    if info.id is not None:
        body["id"] = {"value": info.id}
    if info.principal is not None:
        body["principal"] = info.principal
    if info.hostname is not None:
        body["hostname"] = info.hostname
    if info.labels:
        body["labels"] = _labels(info.labels)
    return body


def task(info: TaskInfo) -> Json:
    """TaskInfo."""
    resources: list[Json] = [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}}
        for name, value in info.resources.items()
    ]
    if info.ports:
        ranges = [{"begin": begin, "end": end} for begin, end in info.ports]
        resources.append({"name": "ports", "type": "RANGES", "ranges": {"range": ranges}})
    command: Json = {"shell": info.command is not None}
    if info.command is not None:
        command["value"] = info.command
    if info.environment:
        variables = [{"name": name, "value": value} for name, value in info.environment.items()]
        command["environment"] = {"variables": variables}
    body: Json = {
        "name": info.name,
        "task_id": {"value": info.id},
        "agent_id": {"value": info.agent_id},
        "resources": resources,
        "command": command,
    }
    if info.docker_image is not None:
        image = {"type": "DOCKER", "docker": {"name": info.docker_image}}
        body["container"] = {"type": "MESOS", "mesos": {"image": image}}
    if info.labels:
        body["labels"] = _labels(info.labels)
    if info.kill_grace_period_s is not None:
        grace = {"nanoseconds": round(info.kill_grace_period_s * 1e9)}
        body["kill_policy"] = {"grace_period": grace}
    return body


def _ports(resources: Iterable[Json] | None) -> tuple[PortRange, ...]:
    return tuple(
        (int(one["begin"]), int(one["end"]))
        for resource in resources or ()
        if resource["name"] == "ports"
        for one in resource["ranges"]["range"]
    )


def _offer(body: Json) -> Offer:
    allocation: Json = body.get("allocation_info") or {}
    return Offer(
        id=str(body["id"]["value"]),
        agent_id=str(body["agent_id"]["value"]),
        hostname=str(body.get("hostname", "")),
        role=allocation.get("role"),
        resources=scalars(body.get("resources")),
        ports=_ports(body.get("resources")),
        attributes={str(one["name"]): attribute(one) for one in body.get("attributes") or ()},
    )


def _value(body: Json, name: str) -> str | None:
    found: Json | None = body.get(name)
    return None if found is None else str(found["value"])


def _status(body: Json) -> TaskStatus:
    timestamp = body.get("timestamp")
    return TaskStatus(
        task_id=str(body["task_id"]["value"]),
        agent_id=_value(body, "agent_id"),
        state=str(body["state"]),
        uuid=body.get("uuid"),
        reason=body.get("reason"),
        message=body.get("message"),
        healthy=body.get("healthy"),
        timestamp=None if timestamp is None else float(timestamp),
    )


@checked
def subscribed(record: Json) -> tuple[str, Json]:
    """The first event: the framework's id, and what is told of heartbeats."""
    if record["type"] != "SUBSCRIBED":
        error: Json = record.get("error") or {}
        refuse("SUBSCRIBED as the first event", error.get("message") or record["type"])
    body: Json = record["subscribed"]
    return str(body["framework_id"]["value"]), body


_PARSERS: dict[str, Callable[[Json], SchedulerEvent]] = {
    "HEARTBEAT": lambda _: Alive(),
    "OFFERS": lambda body: Offers(tuple(_offer(one) for one in body["offers"])),
    "RESCIND": lambda body: Rescinded(str(body["offer_id"]["value"])),
    "UPDATE": lambda body: Updated(_status(body["status"])),
    "FAILURE": lambda body: Failed(
        _value(body, "agent_id"), _value(body, "executor_id"), body.get("status")
    ),
    "ERROR": lambda body: Refused(str(body["message"])),
}


@checked
def event(record: Json) -> SchedulerEvent:
    """Any event but the first."""
    kind = str(record["type"])
    parser = _PARSERS.get(kind)
    return Unknown(kind) if parser is None else parser(record.get(kind.lower()) or {})
