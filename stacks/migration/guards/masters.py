"""Guards on masters: who leads, what they let in, their registries and the projected leader.

Each looks once and returns evidence; which edge has which is said in `tables.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stacks.migration import readers
from stacks.migration.acts import masters, registry
from stacks.migration.evidence import Evidence
from stacks.migration.executor import Situation
from stacks.migration.world import World
from stacks.topology import Color
from sync_engine.client import ProjectionKind

_ENSEMBLE_QUORUM_SHARE = 2
# Whose difference could make the target refuse an agent or framework that the source took.
_ACCESS_FILES = frozenset({"acls", "credentials"})
_ACCESS_FLAGS = (
    "acls",
    "authenticate_agents",
    "authenticate_frameworks",
    "authenticate_http_frameworks",
    "authenticate_http_readonly",
    "authenticate_http_readwrite",
    "authenticators",
    "authorizers",
    "credentials",
    "domain",
    "require_agent_domain",
    "roles",
)


async def source_leads(world: World, _: Situation) -> Evidence:
    """The source's masters have a leader of their own."""
    return await _leads(world, world.source)


async def target_leads(world: World, _: Situation) -> Evidence:
    """The target's masters have a leader of their own."""
    return await _leads(world, world.target)


async def _leads(world: World, color: Color) -> Evidence:
    leader = await (await world.operator(color)).leader()
    said = f"{leader} leads {color}"
    return Evidence("leader", ok=True, said=said, numbers={"leader": leader}, told_by="/redirect")


async def masters_restartable(world: World, _: Situation) -> Evidence:
    """Whoever migrates can restart both colours' masters, and empty the target's on the way back.

    That is done while frameworks stand still, or after: what cannot be is refused before.
    """
    return await _restartable(world, (world.source, world.target))


async def target_masters_resettable(world: World, _: Situation) -> Evidence:
    """The same at the far end of the edge, where the source has no masters."""
    return await _restartable(world, (world.target,))


async def _restartable(world: World, colors: Sequence[Color]) -> Evidence:
    found = [await (await world.masters_host(color)).examine() for color in colors]
    problems = [one.said for one in found if not one.ok]
    target = world.target
    if target in await world.bootstrapped():
        problems.append(
            f"the way back empties {target}'s masters, and they would refuse to start: take "
            f"{target} out of cluster.masters.bootstrapped until nobody wants to go back"
        )
    said = "; ".join(problems or (one.said for one in found))
    numbers = {str(color): dict(one.numbers) for color, one in zip(colors, found, strict=True)}
    told_by = found[0].told_by
    return Evidence("restarts", ok=not problems, said=said, numbers=numbers, told_by=told_by)


async def target_masters_apart(world: World, _: Situation) -> Evidence:
    """The target's masters are a quorum of their own, with a recovered and empty registry."""
    metrics = await readers.master_metrics(world, world.target)
    problems = readers.unready(metrics)
    # Masters that do not tell are taken for a log of all of them.
    size = len(metrics)
    sizes = {int(values.get(readers.ENSEMBLE_SIZE, size)) for values in metrics.values()}
    operator = await world.operator(world.target)
    problems += await _quorum_problems(world, sizes)
    if await masters.has_led(world, world.target):
        problems.append("its registry knows agents already")
    leader = await operator.leader()
    said = f"{len(metrics)} masters of {world.target} recovered, empty registry, {leader} leads"
    if problems:
        said = "; ".join(problems)
    numbers = {"ensemble_size": sorted(sizes), "masters": len(metrics)}
    return Evidence("masters", ok=not problems, said=said, numbers=numbers, told_by="their metrics")


async def _quorum_problems(world: World, sizes: set[int]) -> list[str]:
    operator = await world.operator(world.target)
    quorum = int((await operator.flags()).get("quorum", "0"))
    return [
        f"a log of {size} replicas with quorum {quorum} could have two leaders"
        for size in sizes
        if size >= _ENSEMBLE_QUORUM_SHARE * quorum
    ]


async def access_equal(world: World, _: Situation) -> Evidence:
    """The target's masters let in and refuse the same as the source's leader."""
    source, target = await world.operator(world.source), await world.operator(world.target)
    wanted = _access(await source.flags(await source.leader()))
    problems: list[str] = []
    for master in target.masters:
        seen = _access(await target.flags(master))
        problems += [
            f"{master} has --{name}={seen.get(name)}, the source {wanted.get(name)}"
            for name in _ACCESS_FLAGS
            if seen.get(name) != wanted.get(name)
        ]
    said = f"{len(target.masters)} masters of {world.target} ask for what {world.source}'s do"
    if problems:
        said = f"agents or frameworks might be refused: {'; '.join(problems[:4])}"
    return Evidence("access", ok=not problems, said=said, numbers=wanted, told_by="GET_FLAGS")


def _access(flags: Mapping[str, str]) -> dict[str, str]:
    """What decides who may register; of a file only that there is one."""
    return {
        name: ("given" if name in _ACCESS_FILES else flags[name])
        for name in _ACCESS_FLAGS
        if flags.get(name)
    }


async def registry_equal(world: World, _: Situation) -> Evidence:
    """Both sides' registries mean the same."""
    source = await readers.registry(await world.operator(world.source))
    target = await readers.registry(await world.operator(world.target))
    return registry.compare(source, target, "both leaders")


async def projection_kept(world: World, _: Situation) -> Evidence:
    """The target's leader is shown for good, and the source's election path is fenced."""
    status = await (await world.engine()).status()
    leaders = world.masters(world.target)
    ok = bool(status.projections) and all(
        projection.kind is ProjectionKind.PERSISTENT
        and projection.fenced
        and projection.leader in leaders
        for projection in status.projections.values()
    )
    told = [
        f"{name} {p.kind}, {'fenced' if p.fenced else 'open'}, shows {p.leader}"
        for name, p in status.projections.items()
    ]
    numbers = {name: p.number for name, p in status.projections.items()}
    said = "; ".join(told) or "no projection in the engine's rules"
    return Evidence("projection", ok=ok, said=said, numbers=numbers, told_by="engine /status")


async def projection_off(world: World, _: Situation) -> Evidence:
    """No leader is projected, and everybody may enter the source's election."""
    status = await (await world.engine()).status()
    on = [
        name
        for name, p in status.projections.items()
        if p.kind is not ProjectionKind.OFF or p.fenced
    ]
    said = f"still projected or fenced: {', '.join(on)}" if on else "no leader is projected"
    if not status.projections:
        # What an engine with such rules left on the source, this one does not tell of.
        said = "no projection in the engine's rules"
    ok = bool(status.projections) and not on
    return Evidence("projection", ok=ok, said=said, told_by="engine /status")
