"""Rows whose result is a count or a share: echo writes, and what the engine uses while idle."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict

from sync_engine.client import Direction, Side
from sync_engine.znode import Znode
from tests.performance import leaves, traffic
from tests.performance.child import started
from tests.performance.engine import Rule
from tests.performance.load import LoadResult
from tests.performance.stage import Stage
from tests.performance.table import Figure
from tests.performance.traffic import copied

_IDLE_MAX_PERCENT = 2.0
_AUDIT_BOUND_S = 120.0


async def echo(stage: Stage) -> AsyncGenerator[Figure]:
    """Many changes each way at once: no copy may come back, and none may be made twice."""
    sizes = stage.sizes
    writes, rate = sizes.echo_writes, sizes.echo_per_s
    async with copied(stage, Side.A, Side.B) as (engine, rules):
        async with AsyncExitStack() as stack:
            jobs = [traffic.load_job(stage, rule, rate, writes) for rule in rules]
            loads = [await stack.enter_async_context(started("load", asdict(j))) for j in jobs]
            await asyncio.gather(*(load.go() for load in loads))
            bound_s = writes / rate + traffic.LATE_BOUND_S
            await asyncio.gather(*(load.done(bound_s) for load in loads))
            results = [LoadResult.parse(await load.stop()) for load in loads]
        for rule in rules:
            await stage.until_equal(rule.root, range(sizes.watched))
        # An echo of the last write would still be under way; an audit takes longer than it.
        await engine.client.audit(timeout_s=_AUDIT_BOUND_S)
        status = await engine.client.status()
        back, twice = 0, 0
        for rule, result in zip(rules, results, strict=True):
            own, copy = await versions(stage, rule)
            back += beyond(own, expected(rule.root, result, sizes.watched))
            twice += beyond(copy, own)
    applied = sum(way.applied for way in status.directions.values())
    seen = [f"{way} {status.directions[way].echoes:,}" for way in Direction]
    yield Figure(
        f"echo writes in {writes:,} changes each way, by versions",
        "",
        float(back + twice),
        target=0,
        note=(
            f"{back} on the owners' sides, {twice} on the others beyond their originals; "
            f"{applied:,} applied; events that the engine found to be no news: {', '.join(seen)}; "
            f"{status.conflicts} conflicts"
        ),
    )


async def idle(stage: Stage) -> AsyncGenerator[Figure]:
    """What a live engine uses while nobody writes."""
    seconds = stage.sizes.idle_s
    async with copied(stage, Side.A) as (engine, _):
        await engine.client.audit(timeout_s=_AUDIT_BOUND_S)
        began_at, used_s = time.monotonic(), engine.cpu_s()
        await asyncio.sleep(seconds)
        used_s = engine.cpu_s() - used_s
        share = used_s / (time.monotonic() - began_at)
        memory_mb = engine.memory_peak_mb()
    yield Figure(
        f"idle, {stage.sizes.watched:,} znodes: processor, of one core",
        "%",
        100 * share,
        target=_IDLE_MAX_PERCENT,
        note=f"over {seconds:g} s; RSS at most {memory_mb:.0f} MB",
    )


async def versions(stage: Stage, rule: Rule) -> tuple[dict[str, int], dict[str, int]]:
    """Versions of all znodes, which count their writes: on the owner's side and on the other."""
    own = await stage.contents(rule.owner, rule.root)
    copy = await stage.contents(rule.owner.other, rule.root)
    return _counted(own), _counted(copy)


def _counted(tree: Mapping[str, Znode]) -> dict[str, int]:
    return {path: znode.stat.version for path, znode in tree.items()}


def expected(root: str, result: LoadResult, count: int) -> dict[str, int]:
    """How often each leaf was written, as acknowledged."""
    written = Counter(leaves.leaf_of(number, count) for number, _ in result.acked)
    return {leaves.leaf_path(root, leaf): times for leaf, times in written.items()}


def beyond(found: Mapping[str, int], allowed: Mapping[str, int]) -> int:
    """By how many writes znodes exceed what they are allowed."""
    return sum(max(0, times - allowed.get(path, 0)) for path, times in found.items())
