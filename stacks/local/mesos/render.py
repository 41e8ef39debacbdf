"""The master's state as v1 operator API JSON: keys, order and absences as a real one has them."""

from __future__ import annotations

from stacks.local.mesos import values
from stacks.local.mesos.cluster import Agent, Cluster, Framework, Task
from stacks.local.mesos.values import Json

_AGENT_FIELDS = ("hostname", "port", "resources", "attributes", "id", "checkpoint")
_FRAMEWORK_FIELDS = ("user", "name", "id", "failover_timeout", "checkpoint")


def _ordered(info: Json, first: tuple[str, ...]) -> Json:
    """A message's fields in the order of its protobuf, as far as it is known."""
    known = {name: info[name] for name in first if name in info}
    return {**known, **{name: value for name, value in info.items() if name not in known}}


def agent(one: Agent) -> Json:
    """An agent of GET_AGENTS."""
    rendered: Json = {
        "agent_info": _ordered(one.info, _AGENT_FIELDS),
        "active": one.active,
        "deactivated": one.deactivated,
        "version": one.version,
        "pid": one.pid,
        "registered_time": values.nanoseconds(one.registered_at),
    }
    if one.reregistered_at is not None:
        rendered["reregistered_time"] = values.nanoseconds(one.reregistered_at)
    rendered["total_resources"] = [
        {**resource, "role": "*"} for resource in one.info.get("resources", ())
    ]
    allocated = allocated_by_role(list(one.tasks.values()))
    if allocated:
        rendered["allocated_resources"] = allocated
    offered = [
        resource
        for offer in one.offers.values()
        for resource in values.scalar_list(offer.resources, role=offer.role, allocated=True)
    ]
    if offered:
        rendered["offered_resources"] = offered
    rendered["capabilities"] = [{"type": name} for name in values.AGENT_CAPABILITIES]
    if one.drain_info is not None:
        rendered["drain_info"] = one.drain_info
    if one.drain_started_at is not None:
        rendered["estimated_drain_start_time"] = values.nanoseconds(one.drain_started_at)
    return rendered


def allocated_by_role(tasks: list[Task]) -> list[Json]:
    """What tasks take, one list of resources a role."""
    result: list[Json] = []
    live = [task for task in tasks if not task.is_terminal]
    for role in sorted({task.role for task in live}):
        used = values.total(task.resources for task in live if task.role == role)
        result.extend(values.scalar_list(used, role=role, allocated=True))
    return result


def agents(cluster: Cluster) -> Json:
    """GET_AGENTS."""
    return {
        "agents": [agent(one) for one in cluster.agents.values()],
        "recovered_agents": list(cluster.recovered.values()),
    }


def task(one: Task) -> Json:
    """A task of GET_TASKS."""
    rendered: Json = {
        "name": one.info.get("name", ""),
        "task_id": one.info["task_id"],
        "framework_id": {"value": one.framework_id},
        "agent_id": {"value": one.agent_id},
        "state": one.state,
        "resources": [
            {**resource, "allocation_info": {"role": one.role}}
            for resource in one.info.get("resources", ())
        ],
        "statuses": one.statuses,
    }
    if one.status_update_state is not None:
        rendered["status_update_state"] = one.status_update_state
    if one.status_update_uuid is not None:
        rendered["status_update_uuid"] = one.status_update_uuid
    if one.info.get("labels"):
        rendered["labels"] = one.info["labels"]
    return rendered


def tasks(cluster: Cluster) -> Json:
    """GET_TASKS."""
    frameworks = list(cluster.frameworks.values())
    ended = [*frameworks, *cluster.completed_frameworks]
    return {
        "tasks": [task(one) for one in cluster.tasks()],
        "unreachable_tasks": [task(one) for f in frameworks for one in f.unreachable.values()],
        "completed_tasks": [task(one) for f in ended for one in f.completed],
    }


def framework(one: Framework) -> Json:
    """A framework of GET_FRAMEWORKS."""
    rendered: Json = {
        "framework_info": _ordered({**one.info, "id": {"value": one.id}}, _FRAMEWORK_FIELDS),
        "active": one.connected,
        "connected": one.connected,
        "recovered": one.recovered,
        "registered_time": values.nanoseconds(one.registered_at),
        "reregistered_time": values.nanoseconds(one.reregistered_at or one.registered_at),
    }
    if one.unregistered_at:
        rendered["unregistered_time"] = values.nanoseconds(one.unregistered_at)
    allocated = allocated_by_role(list(one.tasks.values()))
    if allocated:
        rendered["allocated_resources"] = allocated
    rendered["offer_constraints"] = {}
    return rendered


def frameworks(cluster: Cluster) -> Json:
    """GET_FRAMEWORKS."""
    return {
        "frameworks": [framework(one) for one in cluster.frameworks.values()],
        "completed_frameworks": [framework(one) for one in cluster.completed_frameworks],
    }


def executors(cluster: Cluster) -> Json:
    """GET_EXECUTORS: tasks without an executor of their own have none that masters list."""
    return {
        "executors": [
            {"executor_info": executor, "agent_id": {"value": one.id}}
            for one in cluster.agents.values()
            for executor in one.executors
        ]
    }


def state(cluster: Cluster) -> Json:
    """GET_STATE, also the first event of SUBSCRIBE."""
    return {
        "get_tasks": tasks(cluster),
        "get_executors": executors(cluster),
        "get_frameworks": frameworks(cluster),
        "get_agents": agents(cluster),
    }
