"""How long faults are felt: a killed engine and killed leaders under writes.

Recovery counts from the kill until the lag that an observer sees is low again (`lags.recovered_s`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass

from sync_engine.client import Side
from tests.performance import traffic
from tests.performance.child import started
from tests.performance.engine import EngineProcess, Rule
from tests.performance.lags import Lags, Write, recovered_s, summarise
from tests.performance.load import LoadResult
from tests.performance.observe import ObserveResult
from tests.performance.rows.counts import beyond, versions
from tests.performance.stage import Stage, UnequalError
from tests.performance.table import Figure
from tests.performance.traffic import copied

_LAG_MAX_MS = 50.0
_RECOVERED_MAX_S = 3.0
# The first writes find cold servers.
_WARM_S = 0.5
# Writes acknowledged this shortly before a fault may be hit by it.
_NEAR_S = 0.3
Fault = Callable[[], Awaitable[float]]
"""Does something bad and returns when, by the monotonic clock."""


@dataclass(frozen=True)
class Recovery:
    """After one fault; `seconds` is None where the end was not seen in `recorded_s`."""

    seconds: float | None
    recorded_s: float

    @property
    def at_least_s(self) -> float:
        """The recovery, or how long there was none."""
        return self.recorded_s if self.seconds is None else self.seconds

    def __str__(self) -> str:
        if self.seconds is None:
            return f"not within {self.recorded_s:.1f} s"
        return f"{self.seconds:.2f} s"


@dataclass(frozen=True)
class Survived:
    """What became of writes during faults."""

    recoveries: list[Recovery]
    before: Lags
    """Until the first fault: what there is to come back to."""
    unseen: int
    differing: int
    doubled: int

    @property
    def worst_s(self) -> float:
        """The longest recovery."""
        return max(recovery.at_least_s for recovery in self.recoveries)

    @property
    def note(self) -> str:
        """Each recovery."""
        found = ", ".join(map(str, self.recoveries))
        return f"{found}; p99 before {self.before.p99_ms:.0f} ms"


async def kill(stage: Stage) -> AsyncGenerator[Figure]:
    """Kill the engine and start it at once, as a supervisor does."""
    async with copied(stage, Side.A) as (engine, (rule,)):

        async def fault() -> float:
            at = engine.kill()
            engine.start()
            await engine.await_live()
            return at

        found = await survive(stage, engine, rule, [fault] * stage.sizes.kills)
    rate = stage.sizes.fault_per_s
    what = f"kill -9 of the engine under {rate:,} writes/s"
    yield Figure(
        f"{what}: until lag < {_LAG_MAX_MS:.0f} ms",
        "s",
        found.worst_s,
        target=_RECOVERED_MAX_S,
        note=f"worst of: {found.note}",
    )
    lost = float(found.unseen + found.differing)
    yield Figure(
        f"{what}: writes lost",
        "",
        lost,
        target=0,
        note=f"{found.differing} znodes differ, {found.unseen} acknowledged writes never seen",
    )
    yield Figure(f"{what}: writes doubled, by versions", "", float(found.doubled), target=0)


async def leader(stage: Stage) -> AsyncGenerator[Figure]:
    """Kill the leader of each ensemble in turn."""
    for side, name in ((Side.A, "the owner's"), (Side.B, "the other")):
        server = stage.ensembles[side].leader
        async with copied(stage, Side.A) as (engine, (rule,)):

            async def fault(kill: Callable[[], None] = server.kill) -> float:
                at = time.monotonic()
                await asyncio.to_thread(kill)
                return at

            try:
                found = await survive(stage, engine, rule, [fault])
            finally:
                server.start()
                await asyncio.to_thread(server.await_serving)
        yield Figure(
            f"leader of {name} side killed: until lag < {_LAG_MAX_MS:.0f} ms",
            "s",
            found.worst_s,
            target=_RECOVERED_MAX_S,
            note=(
                f"{stage.sizes.fault_per_s:,} writes/s; {found.differing} znodes differ, "
                f"{found.unseen} never seen, {found.doubled} doubled; {found.note}"
            ),
        )


async def survive(
    stage: Stage, engine: EngineProcess, rule: Rule, faults: Sequence[Fault]
) -> Survived:
    """Write at the usual rate while faults happen one after the other."""
    sizes = stage.sizes
    async with AsyncExitStack() as stack:
        job, observer = await traffic.observe(stack, stage, rule, sizes.fault_per_s)
        load = await stack.enter_async_context(
            started("load", asdict(traffic.load_job(stage, rule, sizes.fault_per_s, None)))
        )
        await load.go()
        times: list[float] = []
        for fault in faults:
            await asyncio.sleep(sizes.before_s)
            times.append(await fault())
            await asyncio.sleep(max(0.0, times[-1] + sizes.after_s - time.monotonic()))
        ended_at = time.monotonic()
        result = LoadResult.parse(await load.stop())
        differing = await _differing(stage, rule)
        sights = ObserveResult.parse(await observer.stop())
    await engine.await_live()
    own, copy = await versions(stage, rule)
    writes = traffic.matched(job, result, sights)
    seen = [write for write in writes if write.seen_at is not None]
    warm_at = result.began_at + _WARM_S
    return Survived(
        recoveries=[
            _recovery(seen, at, end) for at, end in zip(times, [*times[1:], ended_at], strict=True)
        ],
        before=summarise([w for w in writes if warm_at < w.acked_at < times[0] - _NEAR_S]),
        unseen=len(writes) - len(seen),
        differing=differing,
        doubled=beyond(copy, own),
    )


def _recovery(writes: Sequence[Write], at: float, end: float) -> Recovery:
    felt = [write for write in writes if at - 1 <= write.acked_at < end]
    return Recovery(recovered_s(felt, at, bound_ms=_LAG_MAX_MS), end - at)


async def _differing(stage: Stage, rule: Rule) -> int:
    try:
        await stage.until_equal(rule.root, range(stage.sizes.watched))
    except UnequalError as error:
        return error.count
    return 0
