"""Guards on agents and the tasks on them.

Each looks once and returns evidence; which edge has which is said in `tables.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from clients.mesos.model import Scalars
from stacks.agents import ListedAgents, NodeAgents
from stacks.migration import readers
from stacks.migration.acts import agents
from stacks.migration.errors import AgentsMissingError
from stacks.migration.evidence import Evidence
from stacks.migration.executor import Situation
from stacks.migration.world import World
from stacks.topology import Color

_RESOURCES = ("cpus", "mem", "disk", "gpus")


async def clocks_agree(world: World, _: Situation) -> Evidence:
    """Masters and agents that are there have this machine's time, as far as they tell."""
    colors = (world.source, world.target)
    addresses = [address for color in colors for address in world.masters(color)]
    wanted = [world.agents(color) for color in colors]
    listed = [each for each in wanted if isinstance(each, ListedAgents)]
    addresses += [address for each in listed for address in each.addresses]
    if len(listed) < len(wanted):
        found = await (await world.operator(await world.leading())).agents()
        addresses += [agent.address for agent in found.registered]
    offsets = await asyncio.gather(*map(world.clock_offset_s, addresses))
    told = {a: round(o, 2) for a, o in zip(addresses, offsets, strict=True) if o is not None}
    bound_s = world.bounds.clock_skew_s
    off = [f"{address} by {o:+.1f} s" for address, o in told.items() if abs(o) > bound_s]
    furthest = max((abs(offset) for offset in told.values()), default=0.0)
    said = f"{len(told)} of {len(addresses)} servers tell the time, furthest off {furthest:.1f} s"
    if off:
        said = f"clocks are off: {', '.join(off)}; at most {bound_s:g} s. Set them, e.g. by chrony"
    return Evidence("clocks", ok=not off, said=said, numbers=told, told_by="Date of /health")


async def nothing_in_motion(world: World, _: Situation) -> Evidence:
    """No agent is unreachable, recovering or draining, no task unreachable."""
    operator = await world.operator(await world.leading())
    state = await operator.state()
    problems = [f"agent {one.id} has not come back" for one in state.agents.recovered]
    for color in (world.source, world.target):
        lacking = world.agents(color).lacking(state.agents)
        problems += [reason for reason in lacking if reason not in problems]
    problems += [f"task {task.id} is unreachable" for task in state.tasks.unreachable]
    problems += [
        f"agent {agent.id} drains" for agent in state.agents.registered if agent.drain is not None
    ]
    numbers = {"agents": len(state.agents.registered), "tasks": len(state.tasks.live)}
    said = f"{numbers['agents']} agents, {numbers['tasks']} tasks, none in motion"
    if problems:
        said = "; ".join(problems[:4])
    return Evidence("agents", ok=not problems, said=said, numbers=numbers, told_by="GET_STATE")


async def room_on_target(world: World, _: Situation) -> Evidence:
    """The target's agents offer at least what the source's do."""
    return await _room(world, world.source, world.target)


async def room_on_source(world: World, _: Situation) -> Evidence:
    """The source's agents offer at least what the target's do."""
    return await _room(world, world.target, world.source)


async def _room(world: World, leaving: Color, coming: Color) -> Evidence:
    operator = await world.operator(await world.leading())
    found = (await operator.agents()).registered
    need = _total(agent.resources for agent in readers.own(world, leaving, found))
    have = _total(agent.resources for agent in readers.own(world, coming, found))
    short = [name for name in _RESOURCES if have.get(name, 0.0) < need.get(name, 0.0)]
    said = f"{coming} offers {have}, {leaving} {need}"
    numbers = {str(coming): have, str(leaving): need}
    return Evidence("room", ok=not short, said=said, numbers=numbers, told_by="GET_AGENTS")


def _total(resources: Iterable[Scalars]) -> dict[str, float]:
    total: dict[str, float] = {}
    for scalars in resources:
        for name in _RESOURCES:
            if name in scalars:
                total[name] = total.get(name, 0.0) + scalars[name]
    return total


async def source_agents_empty(world: World, _: Situation) -> Evidence:
    """No task is left on the source's agents."""
    return await _empty(world, world.source)


async def target_agents_empty(world: World, _: Situation) -> Evidence:
    """No task is left on the target's agents."""
    return await _empty(world, world.target)


async def _empty(world: World, color: Color) -> Evidence:
    state = await (await world.operator(await world.leading())).state()
    ids = {agent.id for agent in readers.own(world, color, state.agents.registered)}
    left = [task.id for task in state.tasks.live if task.agent_id in ids]
    said = f"{len(left)} tasks on {len(ids)} agents of {color}"
    numbers: dict[str, object] = {"tasks": len(left), "agents": len(ids)}
    lost: list[str] = []
    wanted = world.agents(color)
    if isinstance(wanted, NodeAgents) or wanted.lacking(state.agents):
        # Nobody knows whose an agent is that is away, and its tasks may run on. Only where agents
        # are listed and all of them are there, it is somebody else's.
        lost = [f"task {task.id} is unreachable" for task in state.tasks.unreachable]
        lost += [f"agent {one.id} has not come back" for one in state.agents.recovered]
        numbers["lost"] = lost
    if lost:
        said += f", and whose these are nobody knows: {'; '.join(lost[:4])}"
    ok = not left and not lost
    return Evidence("tasks left", ok=ok, said=said, numbers=numbers, told_by="GET_STATE")


async def cluster_followed(world: World, situation: Situation) -> Evidence:
    """Every inventoried agent is the target's.

    Tasks were compared while frameworks stood still (`await agents on target`); since then these
    may have ended some and started others.
    """
    return await _followed(world, world.target, situation)


async def _followed(world: World, color: Color, situation: Situation) -> Evidence:
    wanted = agents.recorded(situation)
    if wanted is None or not wanted.agents:
        said = "no inventory in the journal to compare with: it was moved away. Put it back"
        return Evidence("agents", ok=False, said=said, told_by="journal")
    found = await readers.inventory(world, color)
    missing = {a.id for a in wanted.agents} - {a.id for a in found.agents}
    said = f"{len(found.agents)} agents and {len(found.tasks)} tasks on {color}"
    if missing:
        said = f"agents are missing on {color}: {', '.join(sorted(missing))}"
    ended = {task.id for task in wanted.tasks} - {task.id for task in found.tasks}
    numbers = {
        "agents": len(found.agents),
        "tasks": len(found.tasks),
        "ended_since_inventory": sorted(ended),
    }
    return Evidence("agents", ok=not missing, said=said, numbers=numbers, told_by="GET_STATE")


async def registered_target_agents(world: World, _: Situation) -> Evidence:
    """All of the target's own agents are registered and take offers."""
    return await _registered(world, world.target)


async def registered_source_agents(world: World, _: Situation) -> Evidence:
    """All of the source's own agents are registered."""
    return await _registered(world, world.source)


async def _registered(world: World, color: Color) -> Evidence:
    try:
        found = await readers.own_agents(world, color, everywhere=True)
    except AgentsMissingError as error:
        numbers = {"seen": list(error.seen), "lacking": list(error.lacking)}
        said = str(error)
        return Evidence("registered", ok=False, said=said, numbers=numbers, told_by="GET_AGENTS")
    said = f"{len(found)} agents of {color} registered"
    numbers = {"agents": len(found)}
    return Evidence("registered", ok=True, said=said, numbers=numbers, told_by="GET_AGENTS")
