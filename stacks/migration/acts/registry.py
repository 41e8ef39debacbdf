"""Acts that carry a registry from one side's masters to the other's.

Agents and tasks follow the projected leader by themselves. Quota, weights, the maintenance schedule
with the machines that are down, and deactivations do not: they are read where the leader was and
written where it will be.
"""

from __future__ import annotations

from clients.mesos.model import Machine, Quota
from clients.mesos.operator import OperatorClient
from stacks.migration import readers
from stacks.migration.acts.masters import has_led, was_shown
from stacks.migration.evidence import Evidence, Findings
from stacks.migration.executor import Situation
from stacks.migration.readers import Registry
from stacks.migration.updates import Tell
from stacks.migration.waiting import NotYetError, wait_until
from stacks.migration.world import World
from stacks.topology import Color


async def replay_registry(world: World, _: Situation, tell: Tell) -> Findings:
    """Bring the target's registry to what the source's says; nothing once the target leads."""
    if await world.leading() is world.target:
        return Findings(numbers={"skipped": f"{world.target} leads already"})
    return Findings((await carry(world, world.source, world.target, tell),))


async def return_registry(world: World, situation: Situation, tell: Tell) -> Findings:
    """Bring the source's registry to what the target's says, if the target has ever led."""
    if not was_shown(situation.story) and not await has_led(world, world.target):
        return Findings(numbers={"skipped": f"{world.target} has led no agent"})
    return Findings((await carry(world, world.target, world.source, tell),))


async def carry(world: World, origin: Color, goal: Color, tell: Tell) -> Evidence:
    """Write one side's registry on the other side, and read it back."""
    reading, writing = await world.operator(origin), await world.operator(goal)

    async def look() -> Evidence:
        wanted, seen = await readers.registry(reading), await readers.registry(writing)
        if wanted.comparable != seen.comparable:
            await _write(writing, wanted, seen)
            seen = await readers.registry(writing)
        evidence = compare(wanted, seen, f"{origin}'s and {goal}'s leaders")
        if not evidence.ok:
            raise NotYetError(evidence.said)
        return evidence

    what = f"{goal}'s registry to be that of {origin}"
    return await wait_until(what, look, bound_s=world.bounds.masters_s, tell=tell)


def compare(wanted: Registry, seen: Registry, told_by: str) -> Evidence:
    """Whether two registries mean the same."""
    ok = wanted.comparable == seen.comparable
    numbers = {
        "quota": len(wanted.quota),
        "weights": len(wanted.weights),
        "windows": len(wanted.schedule.windows),
        "machines down": len(wanted.down),
    }
    listed = ", ".join(f"{count} {name}" for name, count in numbers.items())
    said = f"equal: {listed}" if ok else f"expected {wanted.as_dict()}, saw {seen.as_dict()}"
    return Evidence("registry", ok=ok, said=said, numbers=numbers, told_by=told_by)


async def _write(operator: OperatorClient, wanted: Registry, seen: Registry) -> None:
    kept = {one.role for one in wanted.quota}
    cleared = [Quota(one.role) for one in seen.quota if one.role not in kept]
    if wanted.quota or cleared:
        # Guarantees above what the cluster has are somebody's decision, taken on the other side;
        # and the agents that would cover them have not registered here yet.
        await operator.update_quota([*wanted.quota, *cleared], force=True)
    weights = {role: 1.0 for role in seen.weights if role not in wanted.weights}
    weights |= dict(wanted.weights)
    if weights:
        await operator.update_weights(weights)
    # A machine that is down cannot leave the schedule, and only a scheduled one can go down.
    if back := seen.down - wanted.down:
        await operator.stop_maintenance(sorted(back, key=_order))
        seen = await readers.registry(operator)
    if wanted.schedule != seen.schedule:
        await operator.update_maintenance_schedule(wanted.schedule)
    if gone := wanted.down - seen.down:
        await operator.start_maintenance(sorted(gone, key=_order))


def _order(machine: Machine) -> tuple[str, str]:
    return machine.hostname, machine.ip
