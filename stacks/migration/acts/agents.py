"""Acts on agents and what runs on them: inventory, registration, deactivation, drain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from clients.mesos.model import Agent, DrainState
from stacks.migration import marathon, phases, readers
from stacks.migration.errors import ActFailedError
from stacks.migration.evidence import Evidence, Findings
from stacks.migration.executor import Situation
from stacks.migration.readers import Inventory
from stacks.migration.updates import Tell
from stacks.migration.waiting import NotYetError, wait_until
from stacks.migration.world import World
from stacks.topology import Color, Stage

TAKEN = "inventory"
TAKEN_AT_REST = "inventory at rest"
# On these tasks leave agents, and apps are larger for a while.
_MOVING_LAST = 4
_MOVING_EDGES = frozenset({3, _MOVING_LAST})


def recorded(situation: Situation) -> Inventory | None:
    """The inventory of the walk under way, as the journal keeps it."""
    for name in (TAKEN_AT_REST, TAKEN):
        evidence = situation.story.evidence_of(name, edge=_edge(situation))
        if evidence is not None and "inventory" in evidence:
            return Inventory.from_dict(evidence["inventory"])
    return None


def last_taken(situation: Situation) -> Inventory:
    """The inventory of the last walk that took tasks off agents; an empty one where none did."""
    evidence = situation.story.evidence_of(TAKEN, edge=_MOVING_LAST, earlier_walks=True)
    return Inventory.from_dict(evidence["inventory"]) if evidence else Inventory()


def _edge(situation: Situation) -> int:
    edge = situation.transition.edge
    assert edge is not None
    return edge


async def take_inventory(world: World, situation: Situation, tell: Tell) -> Findings:
    """Write down all agents and tasks; in the middle of an edge the first writing counts."""
    position = situation.standing.position
    # After 2/moved frameworks run again, and what they have done since is as it should be.
    kept = None if position.is_settled or position.stage is Stage.MOVED else recorded(situation)
    found = kept or await _read_inventory(world, await world.leading(), tell)
    if kept is None and situation.transition.edge in _MOVING_EDGES:
        found = replace(found, apps=await _read_sizes(world, tell))
    return _taken(found)


async def _read_sizes(world: World, tell: Tell) -> Mapping[str, int]:
    what, bound_s = "Marathon to tell its apps", world.bounds.frameworks_s
    return await wait_until(what, lambda: marathon.sizes(world), bound_s=bound_s, tell=tell)


async def take_inventory_at_rest(world: World, situation: Situation, tell: Tell) -> Findings:
    """Write down what runs now that frameworks stand still, as long as nobody has changed sides."""
    forward = situation.transition.direction is phases.Direction.FORWARD
    origin = world.source if forward else world.target
    leading = await world.leading()
    if leading is not origin and (kept := recorded(situation)) is not None:
        return _taken(kept)
    found = await _read_inventory(world, leading, tell)
    # The stack's own frameworks stand still, and others may not have found a restarted leader.
    before = situation.story.evidence_of(TAKEN, edge=_edge(situation))
    return _taken(found.after(Inventory.from_dict(before["inventory"])) if before else found)


def _taken(found: Inventory) -> Findings:
    counts = {"agents": len(found.agents), "tasks": len(found.tasks)}
    said = f"{counts['agents']} agents, {counts['tasks']} tasks"
    evidence = Evidence("inventory", ok=bool(found.agents), said=said, numbers=counts)
    return Findings((evidence,), {"inventory": found.as_dict()})


async def _read_inventory(world: World, color: Color, tell: Tell) -> Inventory:
    async def look() -> Inventory:
        found = await readers.inventory(world, color)
        if not found.agents:
            msg = f"{color}'s leader knows no agent yet"
            raise NotYetError(msg)
        return found

    what = f"an inventory of {color}'s masters"
    return await wait_until(what, look, bound_s=world.bounds.agents_s, tell=tell)


async def await_agents_on_target(world: World, situation: Situation, tell: Tell) -> Findings:
    """Wait until every inventoried agent and task is the target's, none changed."""
    return await _await_same(world, world.target, situation, tell)


async def await_agents_on_source(world: World, situation: Situation, tell: Tell) -> Findings:
    """Wait until every inventoried agent and task is the source's, none changed."""
    return await _await_same(world, world.source, situation, tell)


async def _await_same(world: World, color: Color, situation: Situation, tell: Tell) -> Findings:
    return Findings((await same_inventory(world, color, _needed(situation), tell),))


def _needed(situation: Situation) -> Inventory:
    wanted = recorded(situation)
    if wanted is None:
        msg = (
            "expected an inventory in the journal, saw none: the journal was moved away. Put it "
            "back, or go back with `migrate rollback`"
        )
        raise ActFailedError(msg)
    return wanted


async def same_inventory(world: World, color: Color, wanted: Inventory, tell: Tell) -> Evidence:
    """Wait until a colour's leader knows exactly the agents and tasks of an inventory."""

    async def look() -> Evidence:
        problems = wanted.missing_in(await readers.inventory(world, color))
        if problems:
            msg = f"{len(problems)} differences: {'; '.join(problems[:4])}"
            raise NotYetError(msg)
        pids = sum(1 for task in wanted.tasks if task.pid is not None)
        numbers = {"agents": len(wanted.agents), "tasks": len(wanted.tasks), "pids": pids}
        said = f"{numbers['agents']} agents and {numbers['tasks']} tasks on {color}, none changed"
        return Evidence("agents", ok=True, said=said, numbers=numbers, told_by=f"{color}'s leader")

    what = f"every agent and task to be {color}'s, unchanged"
    return await wait_until(what, look, bound_s=world.bounds.agents_s, tell=tell)


async def replay_deactivations(world: World, situation: Situation, tell: Tell) -> Findings:
    """Deactivate on the target what was deactivated on the source."""
    return await _carry_deactivations(world, world.target, situation, tell)


async def return_deactivations(world: World, situation: Situation, tell: Tell) -> Findings:
    """Deactivate on the source what is deactivated on the target."""
    return await _carry_deactivations(world, world.source, situation, tell)


async def _carry_deactivations(
    world: World, color: Color, situation: Situation, tell: Tell
) -> Findings:
    wanted = [agent.id for agent in _needed(situation).agents if agent.deactivated]
    return Findings((await _deactivate(world, color, wanted, tell),))


async def deactivate_source(world: World, _: Situation, tell: Tell) -> Findings:
    """Offer the source's own agents no more; their tasks run on."""
    return await _deactivate_own(world, world.source, tell)


async def deactivate_target(world: World, _: Situation, tell: Tell) -> Findings:
    """Offer the target's own agents no more; their tasks run on."""
    return await _deactivate_own(world, world.target, tell)


async def _deactivate_own(world: World, color: Color, tell: Tell) -> Findings:
    ids = await registered_ids(world, color, tell)
    return Findings((await _deactivate(world, await world.leading(), list(ids), tell),))


async def _deactivate(world: World, leading: Color, ids: list[str], tell: Tell) -> Evidence:
    operator = await world.operator(leading)

    async def look() -> Evidence:
        known = {agent.id: agent for agent in (await operator.agents()).registered}
        left = [one for one in ids if one not in known or not known[one].deactivated]
        for one in left:
            await operator.deactivate_agent(one)
        if left:
            msg = f"{len(left)} agents of {len(ids)} still take offers"
            raise NotYetError(msg)
        said = f"{len(ids)} agents deactivated"
        return Evidence("deactivated", ok=True, said=said, numbers={"agents": ids})

    what = f"{len(ids)} agents to be deactivated"
    return await wait_until(what, look, bound_s=world.bounds.agents_s, tell=tell)


async def await_target_agents(world: World, _: Situation, tell: Tell) -> Findings:
    """Wait until the target's own agents have registered."""
    return await _all_registered(world, world.target, tell)


async def await_source_agents(world: World, _: Situation, tell: Tell) -> Findings:
    """Wait until the source's own agents have registered again."""
    return await _all_registered(world, world.source, tell)


async def _all_registered(world: World, color: Color, tell: Tell) -> Findings:
    ids = [agent.id for agent in await await_registered(world, color, tell, everywhere=True)]
    said = f"{len(ids)} agents of {color} registered"
    evidence = Evidence("registered", ok=True, said=said, numbers={"agents": ids})
    return Findings((evidence,))


async def await_registered(
    world: World, color: Color, tell: Tell, *, everywhere: bool = False
) -> tuple[Agent, ...]:
    """Wait for a colour's own agents; with `everywhere`, on each node where the other has one."""

    async def look() -> tuple[Agent, ...]:
        return await readers.own_agents(world, color, everywhere=everywhere)

    what = f"{color}'s agents to be registered"
    return await wait_until(what, look, bound_s=world.bounds.agents_s, tell=tell)


async def registered_ids(world: World, color: Color, tell: Tell) -> tuple[str, ...]:
    """Wait for a colour's own agents; returns their ids."""
    return tuple(agent.id for agent in await await_registered(world, color, tell))


async def reactivate_source(world: World, situation: Situation, tell: Tell) -> Findings:
    """Offer the source's own agents again, but those that were deactivated before the migration."""
    ours = {agent.id for agent in last_taken(situation).agents if agent.deactivated}
    return await _reactivate(world, world.source, ours, tell)


async def reactivate_target(world: World, _: Situation, tell: Tell) -> Findings:
    """Offer the target's own agents again, which a way back may have deactivated."""
    return await _reactivate(world, world.target, set(), tell)


async def _reactivate(world: World, color: Color, but: set[str], tell: Tell) -> Findings:
    ids = [one for one in await registered_ids(world, color, tell) if one not in but]
    operator = await world.operator(await world.leading())

    async def look() -> Evidence:
        known = {agent.id: agent for agent in (await operator.agents()).registered}
        # One that is away takes no offers either.
        left = [one for one in ids if one not in known or known[one].deactivated]
        for agent in (known[one] for one in left if one in known):
            if _may_come_back(agent):
                await operator.reactivate_agent(agent.id)
        if left:
            msg = f"{len(left)} agents of {color} still take no offers"
            raise NotYetError(msg)
        said = f"{len(ids)} agents of {color} take offers"
        return Evidence("active", ok=True, said=said, numbers={"agents": ids})

    what = f"{color}'s agents to take offers again"
    found = await wait_until(what, look, bound_s=world.bounds.agents_s, tell=tell)
    return Findings((found,))


def _may_come_back(agent: Agent) -> bool:
    return agent.drain is None or agent.drain.state is not DrainState.DRAINING


async def drain_source(world: World, _: Situation, tell: Tell) -> Findings:
    """Drain the source's agents, which have no task of a framework left."""
    return await _drain(world, world.source, tell)


async def drain_target(world: World, _: Situation, tell: Tell) -> Findings:
    """Drain the target's agents, which have no task of a framework left."""
    return await _drain(world, world.target, tell)


async def _drain(world: World, color: Color, tell: Tell) -> Findings:
    ids = await registered_ids(world, color, tell)
    operator = await world.operator(await world.leading())

    async def look() -> Evidence:
        known = {agent.id: agent for agent in (await operator.agents()).registered}
        for one in ids:
            if one in known and known[one].drain is None:
                await operator.drain_agent(one)
        left = [one for one in ids if one not in known or not _is_drained(known[one])]
        if left:
            msg = f"{len(left)} agents of {color} are not drained yet"
            raise NotYetError(msg)
        said = f"{len(ids)} agents of {color} drained"
        return Evidence("drained", ok=True, said=said, numbers={"agents": list(ids)})

    what = f"{color}'s agents to be drained"
    found = await wait_until(what, look, bound_s=world.bounds.drain_s, tell=tell)
    return Findings((found,))


def _is_drained(agent: Agent) -> bool:
    return agent.drain is not None and agent.drain.state is DrainState.DRAINED
