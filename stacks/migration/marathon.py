"""What Marathon tells, in the words in which the other frameworks tell of themselves.

Marathon does not say with which master it is subscribed; the leader says whether it is.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any, NamedTuple

from clients.marathon.model import App, Task
from components.marathon.service import NAME
from stacks.migration.world import World

State = dict[str, Any]
KILLING = "TASK_KILLING"
# What an instance that still takes room, and may still serve, is in.
LIVE = frozenset({"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", KILLING, "TASK_UNREACHABLE"})


async def states(world: World) -> dict[str, State]:
    """Marathon's state by its name; none where there is no Marathon.

    `healthy` counts no more instances of an app than it wants, so that one app does not make up for
    another.
    """
    if not world.has_marathon:
        return {}
    client = await world.marathon()
    info, apps, tasks = await asyncio.gather(client.info(), client.apps(), client.tasks())
    return {
        NAME: {
            "name": NAME,
            "framework_id": info.framework_id,
            "registered_with": await _master_of(world, info.framework_id),
            "subscribed_at": None,
            "target": sum(app.instances for app in apps),
            "healthy": sum(min(healthy(app), app.instances) for app in apps),
            "tasks": [
                {"id": task.id, "agent_id": task.agent_id, "app": task.app_id}
                for task in tasks
                if task.state in LIVE
            ],
            "apps": {app.id: {"instances": app.instances, "healthy": healthy(app)} for app in apps},
        }
    }


def healthy(app: App) -> int:
    """Instances that serve, as far as anybody looks."""
    return app.healthy if app.has_health_checks else app.running


async def _master_of(world: World, framework_id: str | None) -> str | None:
    operator = await world.operator(await world.leading())
    leader, frameworks = await asyncio.gather(operator.leader(), operator.frameworks())
    ours = (one for one in frameworks.registered if one.id == framework_id)
    return leader if any(one.connected and one.active for one in ours) else None


async def sizes(world: World) -> dict[str, int]:
    """How many instances each app should have."""
    if not world.has_marathon:
        return {}
    return {app.id: app.instances for app in await (await world.marathon()).apps()}


async def backup(world: World) -> dict[str, State]:
    """All that an app can be declared from again; none where there is no Marathon."""
    if not world.has_marathon:
        return {}
    client = await world.marathon()
    info, root, deployments, tasks = await asyncio.gather(
        client.info(), client.group("/"), client.deployments(), client.tasks()
    )
    return {
        NAME: {
            "info": asdict(info),
            "group": None if root is None else asdict(root),
            "deployments": [asdict(one) for one in deployments],
            "tasks": [asdict(one) for one in tasks],
        }
    }


class TasksOn(NamedTuple):
    """Live tasks on some agents: those that are to stay, and those that were asked to end."""

    staying: tuple[str, ...]
    ending: tuple[str, ...]


def tasks_on(tasks: tuple[Task, ...], agent_ids: frozenset[str]) -> TasksOn:
    """Live tasks on some agents."""
    live = [task for task in tasks if task.agent_id in agent_ids and task.state in LIVE]
    return TasksOn(
        tuple(task.id for task in live if task.state != KILLING),
        tuple(task.id for task in live if task.state == KILLING),
    )
