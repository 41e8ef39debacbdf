"""Acts on masters: wait until they are ready, and let the target's forget what they led."""

from __future__ import annotations

from stacks.migration import readers
from stacks.migration.evidence import Evidence, Findings
from stacks.migration.executor import Situation
from stacks.migration.journal import Kind, Outcome, Story
from stacks.migration.updates import Tell
from stacks.migration.waiting import NotYetError, wait_until
from stacks.migration.world import World
from stacks.topology import Color

PROJECT = "project leader"
RESET = "reset target masters"


async def settled_masters(world: World, color: Color, tell: Tell) -> Evidence:
    """Wait until one of a colour's masters leads, and every agent is registered with it."""
    operator = await world.operator(color)

    async def look() -> Evidence:
        leader = await operator.leader()
        agents = await operator.agents()
        if agents.recovered:
            msg = f"{len(agents.recovered)} agents have not come back to {leader}"
            raise NotYetError(msg)
        said = f"{leader} leads, {len(agents.registered)} agents"
        numbers = {"leader": leader, "agents": len(agents.registered)}
        return Evidence("masters", ok=True, said=said, numbers=numbers, told_by=leader)

    what = f"{color}'s masters to lead all agents"
    return await wait_until(what, look, bound_s=world.bounds.masters_s, tell=tell)


async def await_target_masters(world: World, _: Situation, tell: Tell) -> Findings:
    """Wait until the target's masters have elected a leader and recovered their own registry."""
    return Findings((await recovered_masters(world, world.target, tell, leads=True),))


async def await_source_masters(world: World, _: Situation, tell: Tell) -> Findings:
    """Wait until the source's masters stand ready behind the projected leader."""
    await start_masters(world, world.source, tell)
    return Findings((await recovered_masters(world, world.source, tell, leads=False),))


async def start_masters(world: World, color: Color, tell: Tell) -> None:
    """Start every master of a colour that does not run.

    A runner that was killed between stopping one and starting it has left it down, and no update
    makes up for that: what is declared is the same.
    """
    await (await world.masters_host(color)).start(tell)


async def recovered_masters(world: World, color: Color, tell: Tell, *, leads: bool) -> Evidence:
    """Wait until every master of a colour has recovered the log of its own group."""
    operator = await world.operator(color)

    async def look() -> Evidence:
        metrics = await readers.master_metrics(world, color)
        problems = readers.unready(metrics)
        if problems:
            raise NotYetError("; ".join(problems))
        leader = await operator.leader() if leads else None
        taking_part = {c.address for c in await readers.candidates(world, color)}
        absent = [master for master in operator.masters if master not in taking_part]
        if absent:
            msg = f"masters that do not take part in the election: {', '.join(absent)}"
            raise NotYetError(msg)
        said = f"{len(metrics)} masters of {color} recovered"
        said += f", {leader} leads" if leader else ""
        numbers = {"masters": len(metrics), "leader": leader}
        return Evidence("masters", ok=True, said=said, numbers=numbers, told_by="their metrics")

    what = f"{color}'s masters to recover their registry"
    return await wait_until(what, look, bound_s=world.bounds.masters_s, tell=tell)


# Registry of the target


async def reset_target_masters(world: World, situation: Situation, tell: Tell) -> Findings:
    """Let the target's masters forget the agents that they led; nothing to do if they led none."""
    color = world.target
    host = await world.masters_host(color)
    # Of a reset that was cut short some have forgotten and some have not: a group that may never
    # find a quorum, so it is asked for nothing before all of them have.
    was_begun = situation.story.was_begun(RESET, edge=situation.transition.edge)
    if not was_begun and not await host.is_halted():
        await host.start(tell)
        await recovered_masters(world, color, tell, leads=True)
        if not was_shown(situation.story) and not await has_led(world, color):
            return Findings(numbers={"skipped": f"{color}'s registry knows no agent"})
    wiped = await host.reset(tell)
    evidence = await recovered_masters(world, color, tell, leads=True)
    return Findings((evidence,), {"wiped": list(wiped)})


def was_shown(story: Story) -> bool:
    """Whether the target's leader was projected since its masters last forgot what they led.

    Masters list agents that went to the other side for some minutes only; the journal knows longer.
    """
    for record in reversed(story.records):
        if record.migration != story.migration:
            break
        if (record.kind, record.outcome) != (Kind.STEP_ENDED, Outcome.OK):
            continue
        if record.name in {PROJECT, RESET}:
            return record.name == PROJECT
    return False


async def has_led(world: World, color: Color) -> bool:
    """Whether a colour's masters have agents in their registry."""
    agents = await (await world.operator(color)).agents()
    return bool(agents.registered or agents.recovered)
