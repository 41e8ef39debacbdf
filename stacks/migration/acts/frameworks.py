"""Acts on frameworks and client groups: wait for them, try new agents, move tasks."""

from __future__ import annotations

import time
from typing import Any

from components.mesos.isolation import limits_tasks
from stacks.migration import readers
from stacks.migration.acts.agents import await_registered, recorded, registered_ids
from stacks.migration.acts.apps import move_apps
from stacks.migration.errors import ActFailedError
from stacks.migration.evidence import Evidence, Findings
from stacks.migration.executor import Situation
from stacks.migration.readers import Inventory
from stacks.migration.updates import Tell
from stacks.migration.waiting import NotYetError, wait_until
from stacks.migration.world import World
from stacks.topology import Color

_OK = 200
_ACCEPTED = 202
_ROUNDS_MAX = 50
State = dict[str, Any]


async def await_frameworks_on_target(world: World, situation: Situation, tell: Tell) -> Findings:
    """Wait until every framework is subscribed to the target's leader, with its old id."""
    return await _await_frameworks(world, world.target, situation, tell)


async def await_frameworks_on_source(world: World, situation: Situation, tell: Tell) -> Findings:
    """Wait until every framework is subscribed to the source's leader, with its old id."""
    return await _await_frameworks(world, world.source, situation, tell)


async def _await_frameworks(
    world: World, color: Color, situation: Situation, tell: Tell
) -> Findings:
    inventory = recorded(situation) or Inventory()
    return Findings((await subscribed(world, color, tell, wanted=inventory),))


async def subscribed(world: World, color: Color, tell: Tell, *, wanted: Inventory) -> Evidence:
    """Wait until frameworks are subscribed to a colour's masters, those of the stack with all of
    their tasks."""
    ids = wanted.framework_ids
    operator = await world.operator(color)

    async def look() -> Evidence:
        states = await readers.framework_states(world)
        away = wanted.unsubscribed_in(await operator.frameworks())
        problems = [f"{one} is not subscribed" for one in away]
        for name, state in states.items():
            master = state["registered_with"]
            if master not in world.masters(color):
                problems.append(f"{name} is subscribed to {master or 'nobody'}")
            elif ids.get(name, state["framework_id"]) != state["framework_id"]:
                problems.append(f"{name} has id {state['framework_id']}, not {ids[name]}")
            elif state["healthy"] < state["target"]:
                problems.append(f"{name} has {state['healthy']} of {state['target']} tasks")
        if problems:
            raise NotYetError("; ".join(problems))
        numbers = {name: _numbers(state) for name, state in states.items()}
        healthy = ", ".join(f"{n}: {s['healthy']}/{s['target']}" for n, s in states.items())
        count = sum(one.subscribed for one in wanted.frameworks)
        said = f"{count} frameworks of the inventory subscribed to {color}, tasks {healthy}"
        told_by = "GET_FRAMEWORKS, their /state"
        return Evidence("frameworks", ok=True, said=said, numbers=numbers, told_by=told_by)

    what = f"frameworks to be subscribed to {color} with all of their tasks"
    return await wait_until(what, look, bound_s=world.bounds.frameworks_s, tell=tell)


def _numbers(state: State) -> dict[str, Any]:
    kept = ("framework_id", "registered_with", "subscribed_at", "healthy", "target")
    return {key: state[key] for key in kept}


async def canary(world: World, _: Situation, tell: Tell) -> Findings:
    """Run a short task on each of the target's agents, which sees its limits where its agent has
    them set."""
    evidence: list[Evidence] = []
    bound_s = world.bounds.canary_s
    agents = await await_registered(world, world.target, tell, everywhere=True)
    for name, url in world.frameworks().items():
        for agent in agents:
            address = agent.address
            tell(f"{name}: canary on {address}")
            # On a cluster all of a colour's have one port.
            body: dict[str, Any] = {
                "agent_id": agent.id, "agent_port": agent.port, "timeout_s": bound_s
            }  # fmt: skip
            flags: dict[str, Any] = (await world.get(f"http://{address}/flags"))["flags"]
            if limited := limits_tasks(flags.get("isolation")):
                body["limited"] = True
            status, told = await world.post(f"{url}/canary", body, timeout_s=bound_s + 10)
            ok = status == _OK
            said = f"{name} on {address}: {told.get('states') or told}"
            if limited:
                said += ", within its limits" if ok else ", not within its limits"
            evidence.append(Evidence("canary", ok=ok, said=said, numbers=told, told_by=url))
    return Findings(tuple(evidence))


async def move_to_target(world: World, situation: Situation, tell: Tell) -> Findings:
    """Have every task of the source's agents replaced on the target's."""
    return await _move(world, world.source, situation, tell)


async def move_to_source(world: World, situation: Situation, tell: Tell) -> Findings:
    """Have every task of the target's agents replaced on the source's."""
    return await _move(world, world.target, situation, tell)


async def _move(world: World, origin: Color, situation: Situation, tell: Tell) -> Findings:
    """Batch by batch: up elsewhere and healthy, then ended here."""
    ids = frozenset(await registered_ids(world, origin, tell))
    apps = await move_apps(world, situation, ids, tell)
    return Findings((*apps, await _move_tasks(world, origin, ids, tell)))


async def _move_tasks(world: World, origin: Color, ids: frozenset[str], tell: Tell) -> Evidence:
    lowest: dict[str, int] = {}
    moved = 0
    for name, url in world.frameworks().items():
        for _ in range(_ROUNDS_MAX):
            state = await world.get(f"{url}/state")
            left = tasks_on(state, ids)
            if not left:
                break
            batch = left[: world.bounds.batch_size]
            tell(f"{name}: {moved} moved, {len(left)} left")
            low = await _move_batch(world, url, batch, tell)
            lowest[name] = min(low, lowest.get(name, low))
            moved += len(batch)
        else:
            msg = f"expected all tasks of {name} to leave {origin}, saw new ones come: scale down"
            raise ActFailedError(msg)
    target = await _targets(world)
    ok = all(low >= target[name] for name, low in lowest.items())
    said = f"{moved} tasks left {origin}, fewest healthy {lowest or 'all'}"
    numbers = {"moved": moved, "healthy_min": lowest, "target": target}
    return Evidence("moved", ok=ok, said=said, numbers=numbers, told_by="/state")


async def _targets(world: World) -> dict[str, int]:
    states = await readers.framework_states(world)
    return {name: int(state["target"]) for name, state in states.items()}


def tasks_on(state: State, agent_ids: frozenset[str]) -> list[str]:
    """Tasks of a framework that are on some agents."""
    return [str(task["id"]) for task in state["tasks"] if task["agent_id"] in agent_ids]


async def _move_batch(world: World, url: str, batch: list[str], tell: Tell) -> int:
    """Returns the fewest healthy tasks that were seen meanwhile."""
    lowest: int | None = None
    asked: set[str] = set()
    started = time.monotonic()

    async def look() -> int:
        nonlocal lowest
        for task in batch:
            if task not in asked:
                status, _ = await world.post(f"{url}/tasks/{task}/replace")
                if status in {_OK, _ACCEPTED}:
                    asked.add(task)
        state = await world.get(f"{url}/state")
        healthy = int(state["healthy"])
        lowest = healthy if lowest is None else min(lowest, healthy)
        present = {str(task["id"]) for task in state["tasks"]}
        left = [task for task in batch if task in present]
        if left:
            seconds = time.monotonic() - started
            msg = f"{len(left)} of {len(batch)} tasks are being replaced, {seconds:.0f} s"
            raise NotYetError(msg)
        return lowest

    what = f"{len(batch)} tasks to run elsewhere and end here"
    return await wait_until(what, look, bound_s=world.bounds.batch_s, tell=tell)


async def await_group(world: World, situation: Situation, tell: Tell) -> Findings:
    """Wait until a client group writes again, on the side that it was moved to."""
    group = str(situation.transition.group)
    color = world.target if situation.transition.placement == "target" else world.source
    return Findings((await group_writes(world, group, color, tell),))


async def group_writes(world: World, group: str, color: Color, tell: Tell) -> Evidence:
    """Wait until a client group has had a write acknowledged by a colour's ensemble."""
    url = world.groups()[group]
    hosts = world.ensemble(color).hosts

    async def look() -> Evidence:
        status = await world.get(f"{url}/status")
        if status["hosts"] != hosts:
            msg = f"{group} writes to {status['hosts']}, not to {hosts}"
            raise NotYetError(msg)
        if status["first_ack_at"] is None:
            msg = f"{group} has had no write acknowledged yet"
            raise NotYetError(msg)
        numbers = {key: status[key] for key in ("acknowledged", "rate_per_s", "first_ack_at")}
        said = f"{group} writes to {color}, {status['acknowledged']} acknowledged"
        return Evidence("clients", ok=True, said=said, numbers=numbers, told_by=url)

    what = f"client group {group} to write to {color}"
    return await wait_until(what, look, bound_s=world.bounds.frameworks_s, tell=tell)
