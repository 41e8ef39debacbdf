"""Acts on the source's election: its numbers, the projected leader, and the fence around it.

Mesos has no switch that stops operators from writing to a leader. What they write to the source
until its leader is deposed is carried over in the last moment before that, each time that it is
tried; what they write to the source afterwards reaches the target, because masters redirect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from clients.mesos.errors import ForeignLeaderError
from stacks.migration import readers
from stacks.migration.acts.masters import recovered_masters, settled_masters, start_masters
from stacks.migration.acts.registry import carry
from stacks.migration.errors import ActFailedError
from stacks.migration.evidence import Evidence, Findings
from stacks.migration.executor import Situation
from stacks.migration.updates import Tell
from stacks.migration.waiting import NotYetError, wait_until
from stacks.migration.world import World
from stacks.topology import Color
from sync_engine.client import EngineClient, ProjectionKind, ProjectionStatus

# A leader is projected below every live number, and once more when its kind changes; real masters
# leave 0 free.
LOWEST_NUMBER_MIN = 3


async def raise_election_numbers(world: World, _: Situation, tell: Tell) -> Findings:
    """Restart the source's masters, followers first, until every number leaves room below it.

    Frameworks stand still: Marathon would end with the old leader, and ask the new one.
    """
    if await projected(world) is not ProjectionKind.OFF:
        return Findings(numbers={"skipped": "a leader is projected already"})
    color = world.source
    # One that is down is no candidate, so nobody below would start it.
    await start_masters(world, color, tell)
    await recovered_masters(world, color, tell, leads=True)
    restarted: list[str] = []
    # A single master rises by one each time.
    for _turn in range(LOWEST_NUMBER_MIN):
        for candidate in reversed(await readers.candidates(world, color)):
            if candidate.number < LOWEST_NUMBER_MIN and candidate.address in world.masters(color):
                tell(f"restarting master {candidate.address}, number {candidate.number}")
                await _restart_master(world, color, candidate.address, tell)
                restarted.append(candidate.address)

    async def look() -> Evidence:
        evidence = await lowest_number(world, color)
        if not evidence.ok:
            raise NotYetError(evidence.said)
        return evidence

    what = f"election numbers of {color} from {LOWEST_NUMBER_MIN} on"
    evidence = await wait_until(what, look, bound_s=world.bounds.masters_s, tell=tell)
    return Findings((evidence, await settled_masters(world, color, tell)), {"restarted": restarted})


async def lowest_number(world: World, color: Color) -> Evidence:
    """Whether there is room below the leader's number."""
    found = await readers.candidates(world, color)
    numbers = [candidate.number for candidate in found]
    lowest = min(numbers, default=-1)
    return Evidence(
        "election numbers",
        ok=lowest >= LOWEST_NUMBER_MIN,
        said=f"lowest of {color} is {lowest}, needed {LOWEST_NUMBER_MIN}",
        numbers={"numbers": numbers},
        told_by=f"{color}'s election path",
    )


async def _restart_master(world: World, color: Color, address: str, tell: Tell) -> None:
    host = await world.masters_host(color)
    before = {c.number for c in await readers.candidates(world, color)}
    await host.restart(world.masters(color).index(address), tell)
    operator = await world.operator(color)

    async def look() -> None:
        found = {c.number for c in await readers.candidates(world, color) if c.address == address}
        if not found - before:
            msg = f"master {address} has not entered the election"
            raise NotYetError(msg)
        metrics = await operator.metrics(address)
        if metrics.get(readers.RECOVERED) != 1:
            msg = f"master {address} has not recovered its log"
            raise NotYetError(msg)

    what = f"master {address} to take part again"
    await wait_until(what, look, bound_s=world.bounds.masters_s, tell=tell)


# Projection


async def projected(world: World) -> ProjectionKind:
    """How the target's leader is projected; OFF unless all projections are of one kind."""
    found = await _projections(await world.engine())
    kinds = {projection.kind for projection in found.values()}
    return kinds.pop() if len(kinds) == 1 else ProjectionKind.OFF


async def _projections(engine: EngineClient) -> Mapping[str, ProjectionStatus]:
    """What the engine projects, by name.

    Raises:
        ActFailedError: nothing, so that whatever is done to all of it is done to nobody.
    """
    found = (await engine.status()).projections
    if not found:
        msg = (
            "expected the sync engine to have the projection of the target's leader in its rules, "
            "saw none: they are not this stack's. Run `pulumi up`, then `migrate resume`"
        )
        raise ActFailedError(msg)
    return found


async def project_leader(world: World, _: Situation, tell: Tell) -> Findings:
    """Show the target's leader to all who watch the source; gone with the engine."""
    if await projected(world) is ProjectionKind.PERSISTENT:
        return Findings(numbers={"skipped": "projected for good already"})

    async def carry_last_writes() -> tuple[Evidence, ...]:
        if await world.leading() is world.target:
            return ()
        return (await carry(world, world.source, world.target, tell),)

    return await _project(world, ProjectionKind.EPHEMERAL, tell, before=carry_last_writes)


async def persist_projection(world: World, _: Situation, tell: Tell) -> Findings:
    """Keep the target's leader shown, whatever becomes of the engine."""
    return await _project(world, ProjectionKind.PERSISTENT, tell)


async def drop_projection(world: World, _: Situation, tell: Tell) -> Findings:
    """Show the target's leader no more, and wait for one of the source's masters to lead."""
    found = await _project(world, ProjectionKind.OFF, tell)
    operator = await world.operator(world.source)

    async def look() -> Evidence:
        try:
            leader = await operator.leader()
        except ForeignLeaderError as error:
            raise NotYetError(str(error)) from None
        numbers = {"leader": leader}
        return Evidence("leader", ok=True, said=f"{leader} leads", numbers=numbers, told_by=leader)

    what = f"one of {world.source}'s masters to lead"
    leads = await wait_until(what, look, bound_s=world.bounds.masters_s, tell=tell)
    return Findings((*found.evidence, leads))


async def _carry_nothing() -> tuple[Evidence, ...]:
    return ()


async def _project(
    world: World,
    kind: ProjectionKind,
    tell: Tell,
    *,
    before: Callable[[], Awaitable[tuple[Evidence, ...]]] = _carry_nothing,
) -> Findings:
    """Set every projection; `before` is done anew ahead of each attempt."""
    engine = await world.engine()
    evidence: list[Evidence] = []
    carried: tuple[Evidence, ...] = ()
    for name in sorted(await _projections(engine)):

        async def look(projection: str = name) -> Evidence:
            nonlocal carried
            carried = await before() or carried
            status = await engine.project(projection, kind)
            ok = status.kind is kind
            shown = f"{status.leader} as number {status.number}" if status.leader else "nobody"
            said = f"{projection}: {kind}, {shown}"
            if not ok or (kind is not ProjectionKind.OFF and status.leader is None):
                raise NotYetError(said)
            numbers = status.model_dump(mode="json")
            return Evidence("projection", ok=ok, said=said, numbers=numbers, told_by="engine")

        what = f"projection {name} to be {kind}"
        bound_s = world.bounds.masters_s
        evidence.append(await wait_until(what, look, bound_s=bound_s, tell=tell))
    return Findings((*carried, *evidence))


async def fence_election(world: World, _: Situation, tell: Tell) -> Findings:
    """Let nobody but the engine create in the source's election path."""
    return await _fence(world, tell, fenced=True)


async def keep_fenced(world: World, situation: Situation, tell: Tell) -> Findings:
    """Projection for good and election path fenced, also after a way back that stopped."""
    kept = await persist_projection(world, situation, tell)
    fenced = await _fence(world, tell, fenced=True)
    return Findings((*kept.evidence, *fenced.evidence))


async def lift_fence(world: World, _: Situation, tell: Tell) -> Findings:
    """Let masters of the source enter their own election again."""
    return await _fence(world, tell, fenced=False)


async def _fence(world: World, tell: Tell, *, fenced: bool) -> Findings:
    engine = await world.engine()
    evidence: list[Evidence] = []
    for name in sorted(await _projections(engine)):

        async def look(projection: str = name) -> Evidence:
            status = await engine.fence_election(projection, fenced=fenced)
            said = f"election path of {projection} {'fenced' if status.fenced else 'open'}"
            if status.fenced is not fenced:
                raise NotYetError(said)
            return Evidence("fence", ok=True, said=said, told_by="engine")

        what = f"the election path of {name} to be {'fenced' if fenced else 'open'}"
        bound_s = world.bounds.masters_s
        evidence.append(await wait_until(what, look, bound_s=bound_s, tell=tell))
    return Findings(tuple(evidence))
