"""The unversioned endpoints: /state, /slaves, /tasks, /frameworks, /roles and their relatives.

Older than the v1 API and shaped differently: ids are plain strings, resources four numbers and a
text of ports, times seconds. Much of the world's tooling reads only these.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from stacks.local.mesos import ports, registry, values
from stacks.local.mesos.cluster import Agent, Cluster, Framework, Task
from stacks.local.mesos.values import Json

_SUMMARY_STATES = (
    "TASK_STAGING",
    "TASK_STARTING",
    "TASK_RUNNING",
    "TASK_KILLING",
    "TASK_FINISHED",
    "TASK_KILLED",
    "TASK_FAILED",
    "TASK_LOST",
    "TASK_ERROR",
    "TASK_UNREACHABLE",
)


def slave(agent: Agent) -> Json:
    """An agent of /state."""
    all_ports = values.port_ranges(agent.info.get("resources", ()))
    rendered: Json = {
        "id": agent.id,
        "hostname": agent.info["hostname"],
        "port": agent.info["port"],
        "attributes": {
            item["name"]: item["text"]["value"] for item in agent.info.get("attributes", ())
        },
        "pid": agent.pid,
        "registered_time": agent.registered_at,
    }
    if agent.reregistered_at is not None:
        rendered["reregistered_time"] = agent.reregistered_at
    rendered |= {
        "resources": values.legacy(agent.total, all_ports),
        "used_resources": values.legacy(agent.used, ports.text(agent.used_ports)),
        "offered_resources": values.legacy(agent.offered),
        "reserved_resources": {},
        "unreserved_resources": values.legacy(agent.total, all_ports),
        "active": agent.active,
        "deactivated": agent.deactivated,
        "version": agent.version,
        "capabilities": list(values.AGENT_CAPABILITIES),
    }
    if agent.drain_info is not None:
        rendered["drain_info"] = agent.drain_info
    if agent.drain_started_at is not None:
        rendered["estimated_drain_start_time_seconds"] = agent.drain_started_at
    return rendered


def slaves(cluster: Cluster) -> Json:
    """/slaves."""
    rendered: list[Json] = []
    for agent in cluster.agents.values():
        full = [{**resource, "role": "*"} for resource in agent.info.get("resources", ())]
        rendered.append(
            {
                **slave(agent),
                "reserved_resources_full": {},
                "unreserved_resources_full": full,
                "used_resources_full": values.scalar_list(agent.used, role="*", allocated=True),
                "offered_resources_full": values.scalar_list(
                    agent.offered, role="*", allocated=True
                ),
            }
        )
    return {"slaves": rendered, "recovered_slaves": list(cluster.recovered.values())}


def _status(status: Json) -> Json:
    shown: Json = {"state": status["state"], "timestamp": status["timestamp"]}
    container: Json | None = status.get("container_status")
    if container is not None:
        shown["container_status"] = {k: v for k, v in container.items() if k != "executor_pid"}
    return shown


def task(one: Task) -> Json:
    """A task of /tasks and /state."""
    return {
        "id": one.id,
        "name": one.info.get("name", ""),
        "framework_id": one.framework_id,
        "executor_id": "",
        "slave_id": one.agent_id,
        "state": one.state,
        "resources": values.legacy(one.resources, ports.text(one.ports)),
        "role": one.role,
        "statuses": [_status(status) for status in one.statuses],
    }


def tasks(cluster: Cluster) -> Json:
    """/tasks: live ones first, then those that have ended."""
    frameworks = [*cluster.frameworks.values(), *cluster.completed_frameworks]
    ended = [one for framework in frameworks for one in framework.completed]
    return {"tasks": [task(one) for one in [*cluster.tasks(), *ended]]}


def framework(one: Framework) -> Json:
    """A framework of /frameworks and /state."""
    rendered: Json = {
        "id": one.id,
        "name": one.info.get("name", ""),
        "used_resources": values.legacy(one.used),
        "offered_resources": values.legacy(one.offered),
        "capabilities": [item["type"] for item in one.info.get("capabilities", ())],
        "hostname": one.info.get("hostname", ""),
        "webui_url": one.info.get("webui_url", ""),
        "active": one.connected,
        "connected": one.connected,
        "recovered": one.recovered,
        "user": one.info.get("user", ""),
        "failover_timeout": float(one.info.get("failover_timeout") or 0.0),
        "checkpoint": bool(one.info.get("checkpoint", False)),
        "registered_time": one.registered_at,
        "unregistered_time": one.unregistered_at,
    }
    if one.reregistered_at is not None:
        rendered["reregistered_time"] = one.reregistered_at
    rendered |= {
        "resources": values.legacy(values.add(one.used, one.offered)),
        "roles": one.roles,
        "tasks": [task(item) for item in one.tasks.values()],
        "unreachable_tasks": [task(item) for item in one.unreachable.values()],
        "completed_tasks": [task(item) for item in one.completed],
        "offers": [
            {
                "id": offer.id,
                "framework_id": offer.framework_id,
                "slave_id": offer.agent_id,
                "resources": values.legacy(offer.resources),
            }
            for offer in one.offers.values()
        ],
        "executors": [],
        "offer_constraints": {},
    }
    return rendered


def frameworks(cluster: Cluster) -> Json:
    """/frameworks."""
    return {
        "frameworks": [framework(one) for one in cluster.frameworks.values()],
        "completed_frameworks": [framework(one) for one in cluster.completed_frameworks],
        "unregistered_frameworks": [],
    }


def state(cluster: Cluster, master: Json) -> Json:
    """/state: `master` is what the master says of itself."""
    agents = list(cluster.agents.values())
    return {
        **master,
        "slaves": [slave(one) for one in agents],
        "recovered_slaves": list(cluster.recovered.values()),
        **{k: v for k, v in frameworks(cluster).items() if k != "unregistered_frameworks"},
        "orphan_tasks": [],
        "unregistered_frameworks": [],
    }


def counts(cluster: Cluster) -> Json:
    """How many agents /state shows, as the floats that it has."""
    agents = list(cluster.agents.values())
    active = sum(1 for one in agents if one.active)
    return {
        "activated_slaves": float(active),
        "deactivated_slaves": float(len(agents) - active),
        "unreachable_slaves": float(len(cluster.unreachable)),
    }


def state_summary(cluster: Cluster, *, hostname: str, name: str | None) -> Json:
    """/state-summary."""
    result: Json = {"hostname": hostname}
    if name is not None:
        result["cluster"] = name
    result["slaves"] = [
        {
            **slave(one),
            **_summary(list(one.tasks.values())),
            "framework_ids": sorted({framework_id for framework_id, _ in one.tasks}),
        }
        for one in cluster.agents.values()
    ]
    keys = (
        "id", "name", "used_resources", "offered_resources", "capabilities", "hostname",
        "webui_url", "active", "connected", "recovered",
    )  # fmt: skip
    summaries: list[Json] = []
    for one in cluster.frameworks.values():
        full = framework(one)
        ended = [*one.tasks.values(), *one.completed, *one.unreachable.values()]
        summaries.append(
            {
                **{key: full[key] for key in keys},
                **_summary(ended),
                "slave_ids": sorted({item.agent_id for item in one.tasks.values()}),
            }
        )
    result["frameworks"] = summaries
    return result


def _summary(tasks_: list[Task]) -> Json:
    by_state = Counter(one.state for one in tasks_)
    return {name: by_state.get(name, 0) for name in _SUMMARY_STATES}


def roles(cluster: Cluster, document: Json, known: list[str]) -> Json:
    """/roles: the only place that shows quota consumption."""
    weights = registry.section(document, "weights")
    quota = registry.section(document, "quota")
    rendered: list[Json] = []
    for role in known:
        consumed = {k: v for k, v in sorted(cluster.consumed_below(role).items()) if v > 0}
        offered = values.total(o.resources for o in cluster.offers.values() if o.role == role)
        config: dict[str, Any] = quota.get(role) or {}
        used = {name: consumed[name] for name in sorted(consumed)}
        rendered.append(
            {
                "name": role,
                "weight": float(weights.get(role, 1.0)),
                "quota": {
                    "role": role,
                    "guarantee": {k: v["value"] for k, v in config.get("guarantees", {}).items()},
                    "limit": {k: v["value"] for k, v in config.get("limits", {}).items()},
                    "consumed": consumed,
                },
                "resources": values.add(used, {k: v for k, v in offered.items() if v > 0}),
                "allocated": used,
                "offered": {k: v for k, v in offered.items() if v > 0},
                "reserved": {},
                "frameworks": [f.id for f in cluster.frameworks.values() if role in f.roles],
            }
        )
    return {"roles": rendered}
