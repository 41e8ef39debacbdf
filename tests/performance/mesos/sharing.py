"""Rows about a cluster in use: how full it gets, who leads after a loss, and how it is emptied."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack

from clients.mesos import MesosError, OperatorClient
from clients.mesos.model import Agent, DrainState, Quota
from tests.performance.mesos.batch import Batch, Shape
from tests.performance.mesos.launching import working
from tests.performance.mesos.stage import BOUND_S, Stage, engine
from tests.performance.table import Figure, Sense
from tests.waiting import until

_SEED = 20
_CPUS, _MEM = 8.0, 16384.0
# Of the cluster, by role: limits overlap, guarantees do not.
_LIMITS = {"batch": 0.6, "web": 0.4, "data": 0.3}
_GUARANTEES = {"web": 0.2, "data": 0.2}
_SHAPES = (
    Shape(0.5, 1024), Shape(1, 1024), Shape(1, 4096), Shape(2, 2048), Shape(2, 6144),
    Shape(3, 4096), Shape(4, 8192),
)  # fmt: skip
# A cluster that has not launched anything for so long is as full as it gets.
_STILL_S = 3.0
# Real masters lost their leader for so long (docs/benchmarks.md).
_FAILOVER_S = 11.1


async def pack(stage: Stage) -> AsyncGenerator[Figure]:
    """Three roles with quotas want more than there is, in tasks of seven shapes."""
    sizes, rng = stage.sizes, random.Random(_SEED)  # noqa: S311 - a load, the same every time
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(stage.cluster(interval_ms=100))
        agents = await cluster.start_any(sizes.agents // 10, 1, cpus=_CPUS, mem=_MEM)
        operator = await stack.enter_async_context(cluster.operator())
        client = await stack.enter_async_context(cluster.scheduler())
        total = {"cpus": agents * _CPUS, "mem": agents * _MEM}
        quotas = [
            Quota(
                role,
                limits={name: limit * value for name, value in total.items()},
                guarantees={name: _GUARANTEES.get(role, 0) * v for name, v in total.items()},
            )
            for role, limit in _LIMITS.items()
        ]
        await operator.update_quota(quotas)
        frameworks: list[Batch] = []
        for role in _LIMITS:
            shapes = [rng.choice(_SHAPES) for _ in range(6 * agents)]
            batch = Batch(client, shapes, role=role, refuse_s=0.5)
            await stack.enter_async_context(working(batch))
            frameworks.append(batch)
        began = time.monotonic()
        await _still(frameworks)
        seconds = time.monotonic() - began - _STILL_S
        metrics = await operator.metrics()
        consumed = await operator.consumption()
        tasks = sum(batch.launched for batch in frameworks)
        note = (
            f"{engine()}, {agents} agents, {tasks} tasks of {len(_SHAPES)} shapes in 3 roles with "
            f"limits and guarantees, full after {seconds:.1f} s"
        )
        for name in ("cpus", "mem"):
            used = 100 * metrics[f"master/{name}_percent"]
            metric = f"utilisation of {name} under a bin-packing load with quotas"
            yield Figure(metric, "%", used, target=70, sense=Sense.AT_LEAST, note=note)
        over = sum(
            consumed.get(quota.role, {}).get(name, 0.0) > limit + 1e-6
            for quota in quotas
            for name, limit in quota.limits.items()
        )
        yield Figure("limits that were exceeded", "limits", float(over), target=0, note=note)


async def _still(frameworks: Sequence[Batch]) -> None:
    seen, since = -1, time.monotonic()

    async def still() -> bool:
        nonlocal seen, since
        launched = sum(batch.launched for batch in frameworks)
        if launched != seen or launched == 0:
            seen, since = launched, time.monotonic()
        return time.monotonic() - since > _STILL_S

    await until(still, "the cluster is full", BOUND_S)


async def failover(stage: Stage) -> AsyncGenerator[Figure]:
    """The leader of three masters is killed: how long until everybody is with another one."""
    sizes = stage.sizes
    async with stage.cluster(3, session_s=10) as cluster, cluster.scheduler() as client:
        agents = await cluster.start_any(sizes.agents // 10, 1, cpus=8, mem=8192)
        tasks = 2 * agents
        batch = Batch(client, tasks, per_offer=2)
        async with working(batch), cluster.operator() as operator:
            await until(lambda: batch.running == tasks, "all tasks run", BOUND_S)
            leader = await operator.leader()
            killed_at = time.monotonic()
            cluster.processes.kill(f"master-{cluster.masters.index(leader)}")
            moments = await _watch_return(operator, batch, leader, agents)
            lost = tasks - batch.by_state()["TASK_RUNNING"]
            # Calls on their way when the leader died may fail; that is what is measured here.
            batch.failures.clear()
    note = f"{engine()}, 3 masters, sessions of 10 s, {agents} agents, SIGKILL of the leader"
    for what, at in moments.items():
        anchor = _FAILOVER_S if what == "until all agents are back" else None
        yield Figure(
            f"failover, {what}",
            "s",
            at - killed_at,
            anchor=anchor,
            anchor_name="recorded on Mesos 1.12, 2 agents" if anchor else "",
            note=note,
        )
    yield Figure("failover, tasks lost", "tasks", float(lost), target=0, note=note)


async def _watch_return(
    operator: OperatorClient, batch: Batch, old: str, agents: int
) -> dict[str, float]:
    """When the other leader served, the framework was back, and the last agent was."""

    async def leads() -> bool:
        with contextlib.suppress(MesosError):
            return await operator.leader() != old and bool((await operator.master()).id)
        return False

    async def all_back() -> bool:
        with contextlib.suppress(MesosError):
            return (await operator.metrics())["master/slaves_active"] >= agents
        return False

    found: dict[str, float] = {}
    waits = {
        "until another master serves": leads,
        "until the framework is subscribed": lambda: (
            batch.subscription is not None and batch.subscription.leader != old
        ),
        "until all agents are back": all_back,
    }
    for what, holds in waits.items():
        await until(holds, what, BOUND_S)
        found[what] = time.monotonic()
    return found


async def drain(stage: Stage) -> AsyncGenerator[Figure]:
    """Half of the agents are drained in batches; what runs there is replaced before it ends."""
    sizes = stage.sizes
    async with stage.cluster() as cluster, cluster.scheduler() as client:
        agents = await cluster.start_any(sizes.agents, sizes.hosts, cpus=8, mem=8192)
        drained = min(sizes.drained, agents // 2)
        target = 2 * agents
        batch = Batch(client, target, per_offer=2)
        async with working(batch), cluster.operator() as operator:
            await until(lambda: batch.running == target, "all tasks run", BOUND_S)
            found = sorted((await operator.agents()).registered, key=lambda one: one.hostname)
            lowest = asyncio.ensure_future(_lowest(batch, began := asyncio.Event()))
            await began.wait()
            began_at = time.monotonic()
            for start in range(0, drained, sizes.drained_at_once):
                chosen = found[start : min(start + sizes.drained_at_once, drained)]
                await _drain(operator, batch, chosen)
            seconds = time.monotonic() - began_at
            lowest.cancel()
            least = await lowest
    note = (
        f"{engine()}, {drained} of {agents} agents, {sizes.drained_at_once} at once, an app of "
        f"{target} tasks that all run through it"
    )
    yield Figure("drain in batches", "s", seconds, note=note)
    yield Figure("drain in batches, rate", "agents/s", drained / seconds, note=note)
    under = float(max(0, target - least))
    yield Figure("drain in batches, tasks below the app's target", "tasks", under, 0, note=note)


async def _lowest(batch: Batch, began: asyncio.Event) -> int:
    """The fewest tasks that ran at any look, until cancelled."""
    least = batch.running
    began.set()
    try:
        while True:
            least = min(least, batch.running)
            await asyncio.sleep(0.005)
    except asyncio.CancelledError:
        return least


async def _drain(operator: OperatorClient, batch: Batch, agents: Sequence[Agent]) -> None:
    """Offer them no more, run elsewhere what runs there, then drain them.

    A drain ends tasks at once, so what replaces them has to run before it begins.
    """
    ids = {agent.id for agent in agents}
    await asyncio.gather(*(operator.deactivate_agent(agent_id) for agent_id in ids))
    there = [
        task_id
        for task_id, place in batch.places.items()
        if place in ids and batch.states.get(task_id) == "TASK_RUNNING"
    ]
    wanted = batch.running + len(there)
    batch.wanted.extend(Shape() for _ in there)
    assert batch.subscription is not None
    await batch.subscription.revive()
    await until(lambda: batch.running >= wanted, "replacements run", BOUND_S)
    await asyncio.gather(*(operator.drain_agent(agent_id) for agent_id in ids))

    async def drained() -> bool:
        seen = {one.id: one.drain for one in (await operator.agents()).registered}
        states = [seen[agent_id] for agent_id in ids]
        return all(one is not None and one.state is DrainState.DRAINED for one in states)

    await until(drained, "all are drained", BOUND_S)
