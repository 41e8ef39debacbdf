"""Guards on frameworks and client groups.

Each looks once and returns evidence; which edge has which is said in `tables.py`.
"""

from __future__ import annotations

from collections import Counter

from components.marathon.service import NAME as MARATHON
from stacks.migration import app_moves, readers
from stacks.migration.acts import agents
from stacks.migration.evidence import Evidence
from stacks.migration.executor import Situation
from stacks.migration.world import World
from stacks.topology import Color, Placement


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


async def frameworks_on_target(world: World, situation: Situation) -> Evidence:
    """Every framework is subscribed to the target's leader: the stack's own, as they say, and each
    that was subscribed when the inventory was taken, as the leader says."""
    states = await readers.framework_states(world)
    ours = world.masters(world.target)
    away = {n: s["registered_with"] for n, s in states.items() if s["registered_with"] not in ours}
    wanted = agents.recorded(situation) or agents.last_taken(situation)
    found = await (await world.operator(world.target)).frameworks()
    missing = wanted.unsubscribed_in(found)
    count = sum(one.subscribed for one in wanted.frameworks)
    said = f"{len(states)} frameworks of the stack and {count} of the inventory on the target"
    if away:
        said = f"subscribed elsewhere: {away}"
    elif missing:
        said = f"not subscribed to the target's leader: {', '.join(missing)}"
    numbers = {"stack": len(states), "inventory": count, "missing": missing}
    told_by = "frameworks' /state, GET_FRAMEWORKS"
    ok = not away and not missing
    return Evidence("frameworks", ok=ok, said=said, numbers=numbers, told_by=told_by)


async def movers_known(world: World, _: Situation) -> Evidence:
    """Every framework with tasks on the agents that go can be moved, or may be drained."""
    return await _movers_known(world, world.source)


async def movers_known_back(world: World, _: Situation) -> Evidence:
    """The same for the agents that go on the way back."""
    return await _movers_known(world, world.target)


async def _movers_known(world: World, leaving: Color) -> Evidence:
    state = await (await world.operator(await world.leading())).state()
    ids = {agent.id for agent in readers.own(world, leaving, state.agents.registered)}
    names = {framework.id: framework.name for framework in state.frameworks.registered}
    counts = Counter(names.get(t.framework_id, "?") for t in state.tasks.live if t.agent_id in ids)
    movers = {*world.frameworks(), *([MARATHON] if world.has_marathon else [])}
    consents = await world.consents()
    stuck = [name for name in counts if name not in movers and name not in consents]
    said = f"tasks on agents of {leaving}: {dict(counts)}, all can be moved or may be drained"
    if stuck:
        said = (
            f"nobody moves tasks of {', '.join(sorted(stuck))} off the agents of {leaving}, and "
            "the drain would kill them: move them, or name the framework in drain_consents of the "
            "stack's configuration"
        )
    return Evidence("movers", ok=not stuck, said=said, numbers=dict(counts), told_by="GET_STATE")


async def no_deployment(world: World, _: Situation) -> Evidence:
    """Marathon deploys nothing: it would be stopped half way, or moved under its hands."""
    if not world.has_marathon:
        return Evidence("deployments", ok=True, said="no Marathon")
    running = await (await world.marathon()).deployments()
    told = [f"{one.id} of {', '.join(one.affected)}" for one in running]
    said = f"deployments that run: {'; '.join(told)}" if told else "no deployment runs"
    return Evidence("deployments", ok=not told, said=said, told_by="/v2/deployments")


async def apps_movable(world: World, _: Situation) -> Evidence:
    """Nothing speaks against moving an app, or its owner has consented."""
    if not world.has_marathon:
        return Evidence("apps", ok=True, said="no Marathon")
    apps = await (await world.marathon()).apps()
    asked = {app.id: app_moves.why_ask(app.definition) for app in apps}
    reasons = {app_id: why for app_id, why in asked.items() if why is not None}
    open_ = {a: why for a, why in reasons.items() if a not in await world.app_consents()}
    said = f"{len(apps)} apps may be moved, {len(reasons)} of them by consent"
    if open_:
        told = "; ".join(f"{app_id} {why}" for app_id, why in open_.items())
        said = f"{told}. Name them in app_consents of the stack's configuration to move them"
    return Evidence("apps", ok=not open_, said=said, numbers=reasons, told_by="/v2/apps")


async def groups_on_target(world: World, situation: Situation) -> Evidence:
    """Every client group is on the target."""
    del world
    groups = situation.standing.groups
    away = [name for name, where in groups.items() if where is not Placement.TARGET]
    said = f"{len(groups)} client groups on the target"
    if away:
        said = f"still elsewhere: {', '.join(away)}. Run `migrate clients move GROUP`"
    return Evidence("clients", ok=not away, said=said, numbers={"groups": len(groups)})


async def clients_write(world: World, situation: Situation) -> Evidence:
    """Client groups that run are connected."""
    away: list[str] = []
    rates: dict[str, float] = {}
    urls = world.groups()
    for name, placement in situation.standing.groups.items():
        if placement is Placement.STOPPED:
            continue
        if name not in urls:
            away.append(f"{name}, which the stack does not export")
            continue
        status = await world.get(f"{urls[name]}/status")
        rates[name] = status["rate_per_s"]
        if not status["connected"]:
            away.append(name)
    said = f"not connected: {', '.join(away)}" if away else f"writes a second: {rates}"
    return Evidence("clients", ok=not away, said=said, numbers=rates, told_by="groups' /status")
