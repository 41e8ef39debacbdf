"""How long a write takes to the other side, at given rates, beside what a naive loop takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass

from sync_engine.client import Direction, Side
from tests.performance import leaves
from tests.performance.anchors import AnchorJob
from tests.performance.child import Child, started
from tests.performance.engine import EngineProcess, Rule, running
from tests.performance.lags import Lags, Write, join, summarise
from tests.performance.load import LoadJob, LoadResult
from tests.performance.observe import ObserveJob, ObserveResult
from tests.performance.stage import Stage
from tests.performance.table import Figure

NAIVE = "naive kazoo loop"
# Answers that are late by more than this are of a run that has failed anyway.
_LATE_BOUND_S = 120.0
# By the place of the rate among the sizes' rates.
_TARGETS_MS = (20, 50)


@dataclass(frozen=True)
class Measured:
    """One load as it was seen. `lags` leaves out the warm-up."""

    lags: Lags
    load: LoadResult


async def one_way(stage: Stage) -> AsyncGenerator[Figure]:
    """Lag with writes on one side."""
    sizes = stage.sizes
    for index, rate in enumerate(sizes.rates_per_s):
        async with copied(stage, Side.A) as (engine, (rule,)):
            used_s = engine.cpu_s()
            (found,) = await measure(stage, [rule], rate, sizes.lag_s)
            used_s = engine.cpu_s() - used_s
            marker = await marker_p99_ms(engine, Direction.A_TO_B)
        naive = await _measure_naive(stage, rate)
        what = f"{rate:,} writes/s one way, {sizes.watched:,} znodes watched"
        note = (
            f"{describe(found)}; the engine used {100 * used_s / sizes.lag_s:.0f} % of a core; "
            f"naive loop: {describe(naive)}"
        )
        yield Figure(
            f"lag p50, {what}",
            "ms",
            found.lags.p50_ms,
            anchor=naive.lags.p50_ms,
            anchor_name=NAIVE,
        )
        yield Figure(
            f"lag p99, {what}",
            "ms",
            found.lags.p99_ms,
            target=_TARGETS_MS[index],
            anchor=naive.lags.p99_ms,
            anchor_name=NAIVE,
            note=note,
        )
        yield Figure(f"lag p99 by the engine's own account, {rate:,} writes/s", "ms", marker)


@contextlib.asynccontextmanager
async def copied(stage: Stage, *owners: Side) -> AsyncGenerator[tuple[EngineProcess, list[Rule]]]:
    """A tree for each owner, and a live engine that has copied them."""
    async with contextlib.AsyncExitStack() as stack:
        watched = stage.sizes.watched
        rules = [await stack.enter_async_context(stage.tree(owner, watched)) for owner in owners]
        yield await stack.enter_async_context(running(stage.engine(*rules))), rules


def describe(found: Measured) -> str:
    """What else there is to know of a load."""
    lags = found.lags
    unseen = f", {lags.unseen} NOT SEEN" if lags.unseen else ""
    return (
        f"{lags.samples:,} samples, max {lags.max_ms:.0f} ms, "
        f"{found.load.rate_per_s:,.0f} writes/s acknowledged{unseen}"
    )


async def marker_p99_ms(engine: EngineProcess, direction: Direction) -> float | None:
    """The p99 that the engine itself tells, over its last minute."""
    return (await engine.client.status()).directions[direction].lag.p99_ms


async def measure(
    stage: Stage, rules: Sequence[Rule], rate_per_s: float, seconds: float
) -> list[Measured]:
    """Write to each tree at a rate, on its owner's side, and see what arrives on the other."""
    warm_s = stage.sizes.warm_s
    writes = round(rate_per_s * (seconds + warm_s))
    async with contextlib.AsyncExitStack() as stack:
        watching = [await observe(stack, stage, rule, rate_per_s) for rule in rules]
        loads = [await load(stack, stage, rule, rate_per_s, writes) for rule in rules]
        await asyncio.gather(*(child.go() for child in loads))
        await asyncio.gather(*(child.done(seconds + warm_s + _LATE_BOUND_S) for child in loads))
        results = [LoadResult.parse(await child.stop()) for child in loads]
        found: list[Measured] = []
        for rule, result, (job, observer) in zip(rules, results, watching, strict=True):
            await stage.until_equal(rule.root, job.watched)
            sights = ObserveResult.parse(await observer.stop())
            all_ = matched(job, result, sights)
            counted = [w for w in all_ if w.acked_at >= result.began_at + warm_s]
            found.append(Measured(summarise(counted), result))
        return found


async def observe(
    stack: contextlib.AsyncExitStack, stage: Stage, rule: Rule, rate_per_s: float
) -> tuple[ObserveJob, Child]:
    """An observer of a tree's copy that watches."""
    hosts = stage.hosts(rule.owner.other)
    job = ObserveJob.for_rate(hosts, rule.root, stage.sizes.watched, rate_per_s)
    return job, await stack.enter_async_context(started("observe", asdict(job)))


async def load(
    stack: contextlib.AsyncExitStack,
    stage: Stage,
    rule: Rule,
    rate_per_s: float | None,
    writes: int | None,
) -> Child:
    """A load on a tree that is ready."""
    job = LoadJob(stage.hosts(rule.owner), rule.root, stage.sizes.watched, rate_per_s, writes)
    return await stack.enter_async_context(started("load", asdict(job)))


def matched(job: ObserveJob, result: LoadResult, sights: ObserveResult) -> list[Write]:
    """The writes to watched leaves, and when they were seen."""

    def leaf_of(number: int) -> int:
        return leaves.leaf_of(number, job.count)

    acked = [(number, at) for number, at in result.acked if leaf_of(number) in job.watched]
    return join(acked, sights.seen, leaf_of)


async def _measure_naive(stage: Stage, rate_per_s: float) -> Measured:
    """The same load on a tree that a loop copies for which kazoo alone is enough."""
    sizes = stage.sizes
    async with stage.tree(Side.A, sizes.watched) as rule:
        # It copies only what changes, so the copy begins equal.
        await stage.plant(Side.B, rule.root, sizes.watched)
        job = AnchorJob(stage.hosts(Side.A), stage.hosts(Side.B), rule.root, rule.root)
        async with started("anchors", asdict(job), "naive") as loop:
            (found,) = await measure(stage, [rule], rate_per_s, sizes.lag_s)
            await loop.stop()
        return found
