"""Load on trees that an engine copies, and what an observer sees of it: what most rows are made of.

Each load and each observer is a process of its own (`child.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass

from sync_engine.client import Side
from tests.performance import leaves
from tests.performance.child import Child, started
from tests.performance.engine import EngineProcess, Rule, running
from tests.performance.lags import Lags, Write, join, summarise
from tests.performance.load import LoadJob, LoadResult
from tests.performance.observe import ObserveJob, ObserveResult
from tests.performance.stage import Stage

# Answers that are late by more than this are of a run that has failed anyway.
LATE_BOUND_S = 120.0


@dataclass(frozen=True)
class Measured:
    """One load as it was seen. `lags` leaves out the warm-up."""

    lags: Lags
    load: LoadResult


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


async def measure(
    stage: Stage, rules: Sequence[Rule], rate_per_s: float, *, seconds: float, first: int = 1
) -> list[Measured]:
    """Write to each tree at a rate, on its owner's side, and see what arrives on the other.

    `first` is the number of the first write; trees that were written before need a new one.
    """
    warm_s = stage.sizes.warm_s
    writes = round(rate_per_s * (seconds + warm_s))
    async with contextlib.AsyncExitStack() as stack:
        watching = [await observe(stack, stage, rule, rate_per_s) for rule in rules]
        jobs = [load_job(stage, rule, rate_per_s, writes, first=first) for rule in rules]
        loads = [await stack.enter_async_context(started("load", asdict(job))) for job in jobs]
        await asyncio.gather(*(child.go() for child in loads))
        await asyncio.gather(*(child.done(seconds + warm_s + LATE_BOUND_S) for child in loads))
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


def load_job(
    stage: Stage, rule: Rule, rate_per_s: float | None, writes: int | None, *, first: int = 1
) -> LoadJob:
    """A load on a tree."""
    hosts, count = stage.hosts(rule.owner), stage.sizes.watched
    return LoadJob(hosts, rule.root, count, rate_per_s, writes, first)


def matched(job: ObserveJob, result: LoadResult, sights: ObserveResult) -> list[Write]:
    """The writes to watched leaves, and when they were seen."""

    def leaf_of(number: int) -> int:
        return leaves.leaf_of(number, job.count)

    acked = [(number, at) for number, at in result.acked if leaf_of(number) in job.watched]
    return join(acked, sights.seen, leaf_of)
