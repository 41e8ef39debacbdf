"""What must hold before a transition begins, and before it removes something.

Each guard looks once and returns evidence. Which guards an edge has is said in
stacks.migration.guard_tables, who gives them time to hold in stacks.migration.work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from clients.mesos.model import Scalars
from stacks.migration import readers
from stacks.migration.acts import agents, ensembles, masters, registry
from stacks.migration.evidence import Evidence
from stacks.migration.executor import Situation
from stacks.migration.waiting import NotYetError
from stacks.migration.world import World
from stacks.topology import Color, Placement
from sync_engine.client import EngineState, EnsembleFacts, ProjectionKind, Side, facts

Guard = Callable[[World, Situation], Awaitable[Evidence]]
_RESOURCES = ("cpus", "mem", "disk", "gpus")
_ENSEMBLE_QUORUM_SHARE = 2


async def engine_live(world: World, _: Situation) -> Evidence:
    """The engine follows both sides, may read and write all, and keeps up."""
    status = await (await world.engine()).status()
    lags = {str(way): found.lag.p99_ms for way, found in status.directions.items()}
    backlog = sum(found.backlog for found in status.directions.values())
    ok = status.state is EngineState.LIVE and not status.unreadable
    said = f"engine {status.state}, backlog {backlog}, lag p99 {_lag_text(lags)}"
    if status.reasons or status.unreadable:
        said += f": {'; '.join([*status.reasons, *status.unreadable[:3]])}"
    numbers = {
        "lag_p99_ms": lags,
        "backlog": backlog,
        "conflicts": status.conflicts,
        "unreadable": len(status.unreadable),
    }
    return Evidence("engine", ok=ok, said=said, numbers=numbers, told_by="engine /status")


def _lag_text(lags: Mapping[str, float | None]) -> str:
    known = [f"{way} {lag:.0f} ms" for way, lag in lags.items() if lag is not None]
    return ", ".join(known) or "unknown"


async def audit_equal(world: World, _: Situation) -> Evidence:
    """A full comparison finds no difference."""
    report = await (await world.engine()).audit(timeout_s=world.bounds.audit_s)
    return ensembles.audit_evidence(report)


async def source_serves(world: World, _: Situation) -> Evidence:
    """The source's ensemble has a quorum."""
    return ensemble_serves(await facts(world.ensemble(world.source)), world.source)


async def target_serves(world: World, _: Situation) -> Evidence:
    """The target's ensemble has a quorum."""
    return ensemble_serves(await facts(world.ensemble(world.target)), world.target)


def ensemble_serves(found: EnsembleFacts, color: Color) -> Evidence:
    """Whether an ensemble serves, and with how many of its servers."""
    serving = [server for server in found.servers if server.mode is not None]
    ok = found.has_quorum and len(serving) == len(found.servers)
    said = f"{color}: {len(serving)} of {len(found.servers)} servers serve, leader {found.leader}"
    numbers = {
        "servers": len(found.servers),
        "serving": len(serving),
        "epoch": found.epoch,
        "zxid": f"0x{found.zxid:x}",
    }
    return Evidence("ensemble", ok=ok, said=said, numbers=numbers, told_by="srvr of its servers")


async def ensembles_apart(world: World, _: Situation) -> Evidence:
    """The ensembles share no server, and the target's transaction ids are above the source's."""
    source = await facts(world.ensemble(world.source))
    target = await facts(world.ensemble(world.target))
    shared = {s.address for s in source.servers} & {s.address for s in target.servers}
    ok = not shared and target.zxid > source.zxid
    said = f"zxid of {world.target} 0x{target.zxid:x}, of {world.source} 0x{source.zxid:x}"
    if shared:
        said = f"both colours name {', '.join(sorted(shared))}: they are one ensemble"
    numbers = {"source_epoch": source.epoch, "target_epoch": target.epoch, "shared": len(shared)}
    return Evidence("zxid", ok=ok, said=said, numbers=numbers, told_by="srvr of all servers")


async def frameworks_survive(world: World, _: Situation) -> Evidence:
    """Every framework checkpoints, and is waited for longer than a migration takes."""
    operator = await world.operator(await world.leading())
    found = (await operator.frameworks()).registered
    least_s = world.bounds.failover_timeout_s
    weak = [
        f"{framework.name} (checkpoint {framework.checkpoint}, "
        f"failover_timeout {framework.failover_timeout_s:g} s)"
        for framework in found
        if not framework.checkpoint or framework.failover_timeout_s <= least_s
    ]
    said = f"{len(found)} frameworks checkpoint and are waited for longer than {least_s:g} s"
    if weak:
        said = f"would lose tasks: {', '.join(weak)}"
    numbers = {framework.name: framework.failover_timeout_s for framework in found}
    return Evidence("frameworks", ok=not weak, said=said, numbers=numbers, told_by="GET_FRAMEWORKS")


async def nothing_in_motion(world: World, _: Situation) -> Evidence:
    """No agent is unreachable, recovering or draining, no task unreachable."""
    operator = await world.operator(await world.leading())
    state = await operator.state()
    own = {*world.agents(world.source), *world.agents(world.target)}
    known = {agent.address for agent in state.agents.registered}
    problems = [f"agent {one.id} has not come back" for one in state.agents.recovered]
    problems += [f"agent {address} is not registered" for address in sorted(own - known)]
    problems += [f"task {task.id} is unreachable" for task in state.tasks.unreachable]
    problems += [
        f"agent {agent.id} drains" for agent in state.agents.registered if agent.drain is not None
    ]
    numbers = {"agents": len(state.agents.registered), "tasks": len(state.tasks.live)}
    said = f"{numbers['agents']} agents, {numbers['tasks']} tasks, none in motion"
    if problems:
        said = "; ".join(problems[:4])
    return Evidence("agents", ok=not problems, said=said, numbers=numbers, told_by="GET_STATE")


async def tasks_healthy(world: World, _: Situation) -> Evidence:
    """Every framework has all of its tasks."""
    states = await readers.framework_states(world)
    short = {
        name: f"{state['healthy']} of {state['target']}"
        for name, state in states.items()
        if state["healthy"] < state["target"]
    }
    numbers = {name: state["healthy"] for name, state in states.items()}
    said = f"healthy tasks {numbers}" if not short else f"tasks are missing: {short}"
    return Evidence("tasks", ok=not short, said=said, numbers=numbers, told_by="frameworks' /state")


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


async def target_masters_apart(world: World, _: Situation) -> Evidence:
    """The target's masters are a quorum of their own, with a recovered and empty registry."""
    metrics = await readers.master_metrics(world, world.target)
    problems = readers.unready(metrics)
    sizes = {int(values.get(readers.ENSEMBLE_SIZE, 0)) for values in metrics.values()}
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


async def registry_equal(world: World, _: Situation) -> Evidence:
    """Both sides' registries mean the same."""
    source = await readers.registry(await world.operator(world.source))
    target = await readers.registry(await world.operator(world.target))
    return registry.compare(source, target, "both leaders")


async def projection_kept(world: World, _: Situation) -> Evidence:
    """The target's leader is shown for good, and the source's election path is fenced."""
    status = await (await world.engine()).status()
    leaders = world.masters(world.target)
    ok = all(
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
    said = "; ".join(told) or "no projection"
    return Evidence("projection", ok=ok, said=said, numbers=numbers, told_by="engine /status")


async def projection_off(world: World, _: Situation) -> Evidence:
    """No leader is projected, and everybody may enter the source's election."""
    status = await (await world.engine()).status()
    on = [
        name
        for name, p in status.projections.items()
        if p.kind is not ProjectionKind.OFF or p.fenced
    ]
    said = f"still projected or fenced: {', '.join(on)}" if on else "no projection"
    return Evidence("projection", ok=not on, said=said, told_by="engine /status")


async def owned_by_source(world: World, _: Situation) -> Evidence:
    """Every subtree is the source's."""
    status = await (await world.engine()).status()
    away = [name for name, s in status.subtrees.items() if s.owner is not Side.A or s.flipping]
    said = f"owned by the other side: {', '.join(away)}" if away else "all owned by the source"
    return Evidence("owners", ok=not away, said=said, told_by="engine /status")


async def owned_by_target(world: World, _: Situation) -> Evidence:
    """Every subtree is the target's."""
    status = await (await world.engine()).status()
    away = [name for name, s in status.subtrees.items() if s.owner is not Side.B or s.flipping]
    said = f"owned by the other side: {', '.join(away)}" if away else "all owned by the target"
    return Evidence("owners", ok=not away, said=said, told_by="engine /status")


async def groups_on_target(world: World, situation: Situation) -> Evidence:
    """Every client group is on the target."""
    del world
    groups = situation.standing.groups
    away = [name for name, where in groups.items() if where is not Placement.TARGET]
    said = f"{len(groups)} client groups on the target"
    if away:
        said = f"still elsewhere: {', '.join(away)}. Run `migrate clients move GROUP`"
    return Evidence("clients", ok=not away, said=said, numbers={"groups": len(groups)})


async def frameworks_on_target(world: World, _: Situation) -> Evidence:
    """Every framework is subscribed to the target's leader."""
    states = await readers.framework_states(world)
    ours = world.masters(world.target)
    away = {n: s["registered_with"] for n, s in states.items() if s["registered_with"] not in ours}
    said = f"subscribed elsewhere: {away}" if away else f"{len(states)} frameworks on the target"
    return Evidence("frameworks", ok=not away, said=said, told_by="frameworks' /state")


async def room_on_target(world: World, _: Situation) -> Evidence:
    """The target's agents offer at least what the source's do."""
    return await _room(world, world.source, world.target)


async def room_on_source(world: World, _: Situation) -> Evidence:
    """The source's agents offer at least what the target's do."""
    return await _room(world, world.target, world.source)


async def _room(world: World, leaving: Color, coming: Color) -> Evidence:
    operator = await world.operator(await world.leading())
    found = (await operator.agents()).registered
    need = _total(a.resources for a in found if a.address in world.agents(leaving))
    have = _total(a.resources for a in found if a.address in world.agents(coming))
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
    own = world.agents(color)
    ids = {agent.id for agent in state.agents.registered if agent.address in own}
    left = [task.id for task in state.tasks.live if task.agent_id in ids]
    said = f"{len(left)} tasks on {color}'s agents"
    numbers = {"tasks": len(left), "agents": len(ids)}
    return Evidence("tasks left", ok=not left, said=said, numbers=numbers, told_by="GET_STATE")


async def cluster_followed(world: World, situation: Situation) -> Evidence:
    """Every inventoried agent and task is the target's, none changed."""
    return await _followed(world, world.target, situation)


async def _followed(world: World, color: Color, situation: Situation) -> Evidence:
    wanted = agents.recorded(situation)
    found = await readers.inventory(world, color)
    missing = {a.id for a in wanted.agents} - {a.id for a in found.agents} if wanted else set[str]()
    said = f"{len(found.agents)} agents and {len(found.tasks)} tasks on {color}"
    if missing:
        said = f"agents are missing on {color}: {', '.join(sorted(missing))}"
    numbers = {"agents": len(found.agents), "tasks": len(found.tasks)}
    return Evidence("agents", ok=not missing, said=said, numbers=numbers, told_by="GET_STATE")


async def source_quiet(world: World, _: Situation) -> Evidence:
    """Nobody but the engine has a session on the source's ensemble."""
    return await ensembles.quiet(world, _say_nothing)


async def registered_target_agents(world: World, _: Situation) -> Evidence:
    """All of the target's own agents are registered and take offers."""
    return await _registered(world, world.target)


async def registered_source_agents(world: World, _: Situation) -> Evidence:
    """All of the source's own agents are registered."""
    return await _registered(world, world.source)


async def _registered(world: World, color: Color) -> Evidence:
    try:
        ids = await readers.agent_ids(world, color)
    except NotYetError as error:
        return Evidence("registered", ok=False, said=str(error), told_by="GET_AGENTS")
    said = f"{len(ids)} agents of {color} registered"
    numbers = {"agents": len(ids)}
    return Evidence("registered", ok=True, said=said, numbers=numbers, told_by="GET_AGENTS")


async def clients_write(world: World, situation: Situation) -> Evidence:
    """Client groups that run are connected."""
    away: list[str] = []
    rates: dict[str, float] = {}
    for name, url in world.groups().items():
        if situation.standing.groups[name] is Placement.STOPPED:
            continue
        status = await world.get(f"{url}/status")
        rates[name] = status["rate_per_s"]
        if not status["connected"]:
            away.append(name)
    said = f"not connected: {', '.join(away)}" if away else f"writes a second: {rates}"
    return Evidence("clients", ok=not away, said=said, numbers=rates, told_by="groups' /status")


def _say_nothing(_: str) -> None:
    """For waits inside of a guard, whose own bound tells."""
