"""Rows about offers and launches: how soon, how many a second, and whose time that is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from clients.mesos import SchedulerClient
from tests.performance.mesos.batch import Batch
from tests.performance.mesos.instant import instant_master
from tests.performance.mesos.stage import BOUND_S, Cluster, Stage, engine, read
from tests.performance.table import Figure, Sense
from tests.waiting import until

# Below the goal of 100 ms: an offer that was declined comes again with a round of the allocator.
_INTERVAL_MS = 50
# docs/benchmarks.md says of each where it comes from.
_FIRST_OFFER_MS, _REOFFER_MS, _MARATHON_RATE = 7.6, 187.0, 69.0
_RECORDED = "recorded on Mesos 1.12, interval 200 ms"


@asynccontextmanager
async def working(batch: Batch) -> AsyncGenerator[None]:
    """A framework that stays subscribed, and has ended well when the block does.

    Raises:
        Exception: the first of its calls that failed.
    """
    work = asyncio.ensure_future(batch.stay())
    try:
        yield
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
    if batch.failures:
        raise batch.failures[0]


async def offers(stage: Stage) -> AsyncGenerator[Figure]:
    """From a subscription to its first offer, and from a declined offer to the next."""
    first: list[float] = []
    again: list[float] = []
    async with stage.cluster(interval_ms=_INTERVAL_MS) as cluster, cluster.scheduler() as client:
        await cluster.start_any(2, 1, cpus=4, mem=4096)
        for _ in range(stage.sizes.offers):
            batch = Batch(client, 0, refuse_s=0)
            async with working(batch):
                await until(lambda b=batch: len(b.moments.offers) >= 3, "offers again", BOUND_S)
                await batch.end()
            found = batch.moments
            first.append((found.offers[0] - found.subscribed) * 1000)
            again += [(b - a) * 1000 for a, b in zip(found.offers, found.offers[1:], strict=False)]
    note = f"{engine()}, allocation_interval {_INTERVAL_MS} ms, 2 agents, {len(first)} times"
    yield _offer_figure("first offer, median", first, _FIRST_OFFER_MS, note)
    yield Figure("first offer, highest", "ms", max(first), target=100, note=note)
    yield _offer_figure("re-offer after a decline, median", again, _REOFFER_MS, note)
    yield Figure("re-offer after a decline, highest", "ms", max(again), target=100, note=note)


def _offer_figure(metric: str, seen: list[float], anchor: float, note: str) -> Figure:
    middle = statistics.median(seen)
    return Figure(metric, "ms", middle, 100, anchor=anchor, anchor_name=_RECORDED, note=note)


async def launch(stage: Stage) -> AsyncGenerator[Figure]:
    """A batch framework on many agents, and what its master and its client had to do for it."""
    sizes = stage.sizes
    async with stage.cluster() as cluster, cluster.scheduler() as client:
        began = time.monotonic()
        agents = await cluster.start_any(sizes.agents, sizes.hosts, cpus=8, mem=8192)
        tasks = sizes.tasks if engine() == "stand-in" else sizes.tasks // 50
        note = f"{engine()}, {agents} agents, {tasks} tasks"
        yield Figure("registration of all agents", "s", time.monotonic() - began, note=note)
        batch = Batch(client, tasks, per_offer=max(1, tasks // agents))
        master_s, agents_s = cluster.processes.cpu_s("master"), cluster.processes.cpu_s("agents")
        own_s = time.process_time()
        async with working(batch):
            await until(
                lambda: batch.running == tasks and not batch.waiting, "all tasks run", BOUND_S
            )
            own_s = time.process_time() - own_s
            master_s = cluster.processes.cpu_s("master") - master_s
            agents_s = cluster.processes.cpu_s("agents") - agents_s
            async for figure in _reads(cluster, note):
                yield figure
    seconds = max(batch.moments.running.values()) - (batch.moments.first_offer or 0.0)
    yield Figure(
        "launch rate, from the first offer until all run",
        "tasks/s",
        tasks / seconds,
        target=1000,
        sense=Sense.AT_LEAST,
        anchor=_MARATHON_RATE,
        anchor_name="Marathon 0.15 on 189 agents, published",
        note=f"{note}, in {seconds:.1f} s; all processes share this machine",
    )
    for whose, cpu_s in (("master", master_s), ("agents", agents_s), ("client", own_s)):
        note = f"{cpu_s:.1f} s of processor time for {tasks} tasks, acknowledgements included"
        metric = f"tasks for a second of processor time of the {whose}"
        yield Figure(metric, "tasks/s", tasks / max(cpu_s, 0.01), note=note)


async def _reads(cluster: Cluster, note: str) -> AsyncGenerator[Figure]:
    """What reading such a master costs, and what it says of itself."""
    url = f"http://{cluster.masters[0]}"
    yield Figure("memory of the master", "MB", cluster.processes.rss_mb("master-0"), note=note)
    state, seconds = await read(f"{url}/state")
    shown = f"{note}, {len(state) / 1e6:.1f} MB"
    yield Figure("/state, until all is there", "ms", seconds * 1000, note=shown)
    content, _ = await read(f"{url}/metrics/snapshot")
    metrics = json.loads(content)
    for name in ("allocation_run_ms", "allocation_run_latency_ms"):
        value = metrics.get(f"allocator/mesos/{name}/p99")
        if value is not None:
            yield Figure(f"allocator {name}, p99", "ms", value, note=note)


async def ceiling(stage: Stage) -> AsyncGenerator[Figure]:
    """The scheduler client alone, against a master that answers at once."""
    tasks, per_offer = stage.sizes.tasks, 10
    with instant_master(offers=tasks // per_offer, cpus=1.0) as address:
        async with SchedulerClient([address], timeout_s=60) as client:
            batch = Batch(client, tasks, per_offer=per_offer)
            cpu_s = time.process_time()
            async with working(batch):
                await until(
                    lambda: batch.running == tasks and not batch.waiting, "all tasks run", BOUND_S
                )
                cpu_s = time.process_time() - cpu_s
    first = batch.moments.first_offer or 0.0
    launched = batch.moments.accepted - first
    seconds = max(batch.moments.running.values()) - first
    note = f"a master that answers at once, {tasks} tasks, {per_offer} an offer"
    yield Figure(
        "client's ceiling: tasks offered to the master",
        "tasks/s",
        tasks / max(launched, 1e-6),
        target=1000,
        sense=Sense.AT_LEAST,
        note=f"{note}; offers read, and every ACCEPT answered",
    )
    yield Figure(
        "client's ceiling: tasks launched, heard of and acknowledged",
        "tasks/s",
        tasks / seconds,
        target=1000,
        sense=Sense.AT_LEAST,
        note=f"{note}; {cpu_s:.2f} s of processor time, {tasks / cpu_s:.0f} tasks for each",
    )


async def start(stage: Stage) -> AsyncGenerator[Figure]:
    """From accepting an offer until the task's process runs."""
    async with stage.cluster() as cluster, cluster.scheduler() as client:
        await cluster.start_agents(1, cpus=8, mem=8192)
        batch = Batch(client, stage.sizes.offers, per_offer=1, refuse_s=0)
        async with working(batch):
            await until(lambda: not batch.wanted and not batch.waiting, "all launched", BOUND_S)
            await until(lambda: batch.running == batch.launched, "all tasks run", BOUND_S)
            await batch.end()
        moments = batch.moments
    times = [moments.running[name] - at for name, at in moments.launched.items()]
    note = f"{engine()}, one after the other, {len(times)} tasks, no image to pull"
    yield Figure("container start, median", "s", statistics.median(times), target=5, note=note)
    yield Figure("container start, slowest", "s", max(times), target=5, note=note)
