"""From Marathon's JSON to values; unknown fields are ignored, wrong ones refused."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from clients.marathon.errors import ProtocolError
from clients.marathon.model import (
    App,
    Deployment,
    Group,
    Info,
    Queued,
    Reason,
    Started,
    Task,
)

Json = dict[str, Any]
_T = TypeVar("_T")


def checked(parse: Callable[[Any], _T]) -> Callable[[Any], _T]:
    """Turn an answer of another shape into a typed error."""

    @functools.wraps(parse)
    def parsed(body: Any) -> _T:
        try:
            return parse(body)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            msg = (
                f"expected an answer that {parse.__name__} understands, saw {error!r} in "
                f"{str(body)[:200]}: is this Marathon?"
            )
            raise ProtocolError(msg) from None

    return parsed


def _count(body: Json, name: str) -> int:
    return int(body.get(name) or 0)


def _app(body: Json) -> App:
    return App(
        id=str(body["id"]),
        definition=body,
        instances=int(body.get("instances", 1)),
        version=str(body.get("version", "")),
        staged=_count(body, "tasksStaged"),
        running=_count(body, "tasksRunning"),
        healthy=_count(body, "tasksHealthy"),
        unhealthy=_count(body, "tasksUnhealthy"),
        deployments=tuple(str(one["id"]) for one in body.get("deployments") or ()),
    )


@checked
def app(body: Any) -> App:
    """`{"app": …}`, or an app by itself."""
    return _app(body.get("app", body))


@checked
def apps(body: Any) -> tuple[App, ...]:
    """/v2/apps."""
    return tuple(_app(one) for one in body["apps"])


@checked
def group(body: Any) -> Group:
    """/v2/groups."""
    return _group(body)


def _group(body: Json) -> Group:
    return Group(
        id=str(body["id"]),
        apps=tuple(_app(one) for one in body.get("apps") or ()),
        groups=tuple(_group(one) for one in body.get("groups") or ()),
        dependencies=tuple(str(one) for one in body.get("dependencies") or ()),
        pods=tuple(str(one["id"]) for one in body.get("pods") or ()),
    )


@checked
def started(body: Any) -> Started:
    """The answer to a request that starts a deployment, in each of its forms."""
    if "deploymentId" in body:
        return Started(str(body["deploymentId"]), str(body["version"]))
    # Creating an app answers with the app.
    return Started(str(body["deployments"][0]["id"]), str(body["version"]))


def _actions(step: Any) -> tuple[tuple[str, str], ...]:
    items = cast("list[Json]", step if isinstance(step, list) else step["actions"])
    return tuple((str(a.get("action") or a["type"]), str(a.get("app") or a["pod"])) for a in items)


@checked
def deployments(body: Any) -> tuple[Deployment, ...]:
    """/v2/deployments."""
    return tuple(
        Deployment(
            id=str(one["id"]),
            version=str(one["version"]),
            affected=(
                *map(str, one.get("affectedApps") or ()),
                *map(str, one.get("affectedPods") or ()),
            ),
            actions=_actions(one.get("currentActions") or []),
            current_step=int(one["currentStep"]),
            total_steps=int(one["totalSteps"]),
        )
        for one in body
    )


@checked
def steps(body: Any) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Steps of a deployment's plan."""
    return tuple(_actions(step) for step in body["steps"])


def _queued(body: Json) -> Queued:
    offers: Json = body.get("processedOffersSummary") or {}
    delay: Json = body.get("delay") or {}
    spec: Json = body.get("app") or body["pod"]
    found = [
        Reason(str(one["reason"]), int(one["declined"]), int(one["processed"]))
        for one in offers.get("rejectSummaryLastOffers") or ()
    ]
    reasons = sorted((one for one in found if one.declined), key=lambda one: -one.declined)
    return Queued(
        id=str(spec["id"]),
        count=int(body.get("count", 0)),
        delay_s=float(delay.get("timeLeftSeconds", 0)),
        overdue=bool(delay.get("overdue", False)),
        since=str(body.get("since", "")),
        processed_offers=_count(offers, "processedOffersCount"),
        unused_offers=_count(offers, "unusedOffersCount"),
        reasons=tuple(reasons),
    )


@checked
def queue(body: Any) -> tuple[Queued, ...]:
    """/v2/queue."""
    return tuple(_queued(one) for one in body["queue"])


def _task(body: Json) -> Task:
    results: list[Json | None] = body.get("healthCheckResults") or []
    alive = [bool(one["alive"]) for one in results if one is not None]
    agent_id = body.get("slaveId")
    return Task(
        id=str(body["id"]),
        app_id=str(body["appId"]),
        agent_id=None if agent_id is None else str(agent_id),
        host=body.get("host"),
        ports=tuple(int(port) for port in body.get("ports") or ()),
        state=str(body["state"]),
        version=str(body.get("version", "")),
        staged_at=body.get("stagedAt"),
        started_at=body.get("startedAt"),
        healthy=all(alive) if alive else None,
    )


@checked
def task(body: Any) -> Task:
    """`{"task": …}`, or a task by itself."""
    return _task(body.get("task", body))


@checked
def tasks(body: Any) -> tuple[Task, ...]:
    """/v2/tasks, or those of one app."""
    return tuple(_task(one) for one in body["tasks"])


@checked
def info(body: Any) -> Info:
    """/v2/info."""
    config: Mapping[str, Any] = body.get("marathon_config") or {}
    zookeeper: Mapping[str, Any] = body.get("zookeeper_config") or {}
    return Info(
        name=str(body["name"]),
        version=str(body["version"]),
        framework_id=body.get("frameworkId"),
        leader=body.get("leader"),
        elected=bool(body.get("elected", False)),
        config=config,
        zookeeper=zookeeper,
    )


@checked
def leader(body: Any) -> str:
    """/v2/leader."""
    return str(body["leader"])
