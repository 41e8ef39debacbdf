"""How long a write takes to the other side, at given rates, beside what a naive loop takes."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import asdict

from sync_engine.client import Direction, Side
from tests.performance import traffic
from tests.performance.anchors import AnchorJob
from tests.performance.child import started
from tests.performance.engine import EngineProcess
from tests.performance.load import LoadResult
from tests.performance.observe import ObserveResult
from tests.performance.stage import Stage
from tests.performance.table import Figure, Sense
from tests.performance.traffic import Measured, copied, describe, measure

NAIVE = "naive kazoo loop"
P99_MAX_MS = 50.0
# By the place of the rate among the sizes' rates.
_TARGETS_MS = (20, 50)
_HIGHEST_PER_S = 3_000
# Of a rate: below it, the load or the ensemble has found its own limit.
_REACHED_SHARE_MIN = 0.95
# One pause of a shared machine must not end the search.
_ATTEMPTS_MAX = 2
_DRAINED_MAX_S = 1.5


async def one_way(stage: Stage) -> AsyncGenerator[Figure]:
    """Lag with writes on one side."""
    sizes = stage.sizes
    for index, rate in enumerate(sizes.rates_per_s):
        async with copied(stage, Side.A) as (engine, (rule,)):
            used_s = engine.cpu_s()
            (found,) = await measure(stage, [rule], rate, seconds=sizes.lag_s)
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


async def both_ways(stage: Stage) -> AsyncGenerator[Figure]:
    """Lag with writes on both sides at once, on trees of opposite owners."""
    rate = stage.sizes.both_ways_per_s
    async with copied(stage, Side.A, Side.B) as (engine, rules):
        found = await measure(stage, rules, rate, seconds=stage.sizes.lag_s)
        markers = [await marker_p99_ms(engine, Direction.leaving(r.owner)) for r in rules]
    for rule, one, marker in zip(rules, found, markers, strict=True):
        own = "none" if marker is None else f"{marker:.0f} ms"
        yield Figure(
            f"lag p99, {rate:,} writes/s each way at once, {rule.owner} to {rule.owner.other}",
            "ms",
            one.lags.p99_ms,
            target=P99_MAX_MS,
            note=f"p50 {one.lags.p50_ms:.0f} ms, {describe(one)}; engine's own p99 {own}",
        )


async def highest_rate(stage: Stage) -> AsyncGenerator[Figure]:
    """The highest rate of steps at which the lag stays low."""
    sizes = stage.sizes
    held, tried, first, attempts = 0.0, list[str](), 1, 0
    async with copied(stage, Side.A) as (_, (rule,)):
        steps = deque(sizes.steps_per_s)
        while steps:
            rate = steps[0]
            (found,) = await measure(stage, [rule], rate, seconds=sizes.step_s, first=first)
            first = found.load.next
            attempts += 1
            trouble = _limit(found, rate)
            tried.append(f"{rate:,}/s: {found.lags.p99_ms:.0f} ms{trouble}")
            if not trouble and found.lags.p99_ms < P99_MAX_MS:
                held, attempts = float(steps.popleft()), 0
            elif attempts >= _ATTEMPTS_MAX:
                break
    yield Figure(
        f"highest rate held with p99 < {P99_MAX_MS:.0f} ms",
        "writes/s",
        held,
        target=_HIGHEST_PER_S,
        sense=Sense.AT_LEAST,
        note=f"p99 at {'; '.join(tried)}",
    )


def _limit(found: Measured, rate_per_s: float) -> str:
    """What kept a rate from being reached, other than the engine; empty if nothing did."""
    load = found.load
    if load.asked_per_s < _REACHED_SHARE_MIN * rate_per_s:
        return f", the load itself made only {load.asked_per_s:,.0f}/s"
    if load.rate_per_s < _REACHED_SHARE_MIN * rate_per_s:
        return f", only {load.rate_per_s:,.0f}/s acknowledged"
    return f", {found.lags.unseen} never seen" if found.lags.unseen else ""


async def burst(stage: Stage) -> AsyncGenerator[Figure]:
    """Many changes at once."""
    writes = stage.sizes.burst
    async with copied(stage, Side.A) as (_, (rule,)), AsyncExitStack() as stack:
        job, observer = await traffic.observe(stack, stage, rule, writes)
        load = await stack.enter_async_context(
            started("load", asdict(traffic.load_job(stage, rule, None, writes)))
        )
        await load.go()
        await load.done(traffic.LATE_BOUND_S)
        result = LoadResult.parse(await load.stop())
        await stage.until_equal(rule.root, range(stage.sizes.watched))
        sights = ObserveResult.parse(await observer.stop())
    found = traffic.matched(job, result, sights)
    last_seen_at = max(write.seen_at or 0.0 for write in found)
    last_acked_at = max(at for _, at in result.acked)
    yield Figure(
        f"burst of {writes:,} changes: from the first request until all are there",
        "s",
        last_seen_at - result.began_at,
        target=_DRAINED_MAX_S,
        note=(
            f"acknowledged after {last_acked_at - result.began_at:.2f} s, "
            f"there {max(0.0, last_seen_at - last_acked_at):.2f} s after the last of them"
        ),
    )


async def marker_p99_ms(engine: EngineProcess, direction: Direction) -> float | None:
    """The p99 that the engine itself tells, over its last minute."""
    return (await engine.client.status()).directions[direction].lag.p99_ms


async def _measure_naive(stage: Stage, rate_per_s: float) -> Measured:
    """The same load on a tree that a loop copies for which kazoo alone is enough."""
    sizes = stage.sizes
    async with stage.tree(Side.A, sizes.watched) as rule:
        # It copies only what changes, so the copy begins equal.
        await stage.plant(Side.B, rule.root, sizes.watched)
        job = AnchorJob(stage.hosts(Side.A), stage.hosts(Side.B), rule.root, rule.root)
        async with started("anchors", asdict(job), "naive") as loop:
            (found,) = await measure(stage, [rule], rate_per_s, seconds=sizes.lag_s)
            await loop.stop()
        return found
