"""Runs collectors: each on its own time, timed, restarted when it hangs, never in another's way.

A look that takes longer than it may is cancelled, or interrupted by the watchdog where it blocks,
and the collector is made anew. Between failures it waits longer and longer. What every collector
can do, costs and misses stands in the report.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from probe.agent.collector import Capability, Collector, Miss, State
from probe.agent.errors import AbsentError
from probe.agent.log import Log
from probe.agent.metering import metered
from probe.agent.site import Site
from probe.agent.text import TEXT_CHARS_MAX, clean
from probe.agent.watchdog import STUCK_S_MAX, Watchdog

LOOK_S_MAX = 20.0
# The first look learns everything: a thousand containers are inspected one by one.
_FIRST_FACTOR = 6
_CLOSE_S_MAX = 2.0
_RETRY_S = (1.0, 2.0, 5.0, 10.0, 30.0)
# Somebody may install what is absent now.
_ABSENT_RETRY_S = 60.0
_COST_WINDOW_S = 30.0


@dataclass
class Work:
    """A collector at work, and what is known of it."""

    name: str
    interval_s: float
    watchdog: Watchdog
    factor: float = 1.0
    cpu_s: float = 0.0
    looks: int = 0
    failures: int = 0
    restarts: int = 0
    problem: str | None = None
    capability: Capability = field(default_factory=lambda: Capability(State.PARTIAL, "starting"))
    costs: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def cost_ms_per_s(self, now: float) -> float:
        """Processor time over the last while."""
        self.costs.append((now, self.cpu_s))
        while now - self.costs[0][0] > _COST_WINDOW_S and len(self.costs) > 2:  # noqa: PLR2004 - a difference takes two
            self.costs.pop(0)
        begun, used = self.costs[0]
        return 1000 * (self.cpu_s - used) / (now - begun) if now > begun else 0.0


Factory = Callable[[Site], Collector]


class Runner:
    """Keeps collectors at work."""

    def __init__(
        self,
        site: Site,
        factories: Mapping[str, Factory],
        log: Log,
        *,
        look_s_max: float = LOOK_S_MAX,
        stuck_s_max: float = STUCK_S_MAX,
    ) -> None:
        self._site = site
        self._factories = factories
        self._log = log
        self._look_s_max = look_s_max
        self.work: dict[str, Work] = {}
        self.watchdog = Watchdog(stuck_s_max)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, factory in self._factories.items():
                group.create_task(self._keep(name, factory))

    @contextlib.asynccontextmanager
    async def once(self, again_after_s: float | None = None) -> AsyncGenerator[None]:
        """Let every collector look once, in their order, or a second time for what moves.

        All stay until the end of the context: each goes by what those before it know, and what
        they saw is taken back when they are closed.
        """
        at_work: list[tuple[Collector, Work]] = []
        try:
            for name, factory in self._factories.items():
                work = self._work_of(name)
                collector = self._made(work, factory)
                if collector is None:
                    continue
                at_work.append((collector, work))
                await self._look(collector, work, is_first=True)
            if again_after_s is not None:
                await asyncio.sleep(again_after_s)
                for collector, work in at_work:
                    if work.capability.state not in {State.ABSENT, State.FAILED}:
                        await self._look(collector, work, is_first=False)
            self.tell()
            yield
        finally:
            for collector, work in at_work:
                await self._close(collector, work)

    def tell(self) -> None:
        """Write what is known of the collectors into the report."""
        now = self._site.clock()
        for work in self.work.values():
            self._site.ledger["collector"].put(
                f"{self._site.host};{work.name}",
                host=self._site.host,
                state=work.capability.state.value,
                mode=work.capability.mode,
                misses=[str(miss) for miss in work.capability.misses],
                problem=work.problem,
                interval_s=work.interval_s * work.factor,
                cpu_ms_per_s=round(work.cost_ms_per_s(now), 1),
                failures=work.failures,
                restarts=work.restarts,
            )

    def slow_down(self, factors: Mapping[str, float]) -> None:
        """Change how often collectors look."""
        for work in self.work.values():
            work.factor = factors.get(work.name, 1.0)

    def _work_of(self, name: str) -> Work:
        return self.work.setdefault(name, Work(name, 0.0, self.watchdog))

    def _made(self, work: Work, factory: Factory) -> Collector | None:
        """Make a collector; None where that fails, as with an address that nobody can read."""
        try:
            collector = self.watchdog.step(work.name, factory, self._site)
        except AbsentError as error:
            work.capability = _absent(error)
            return None
        except Exception as error:  # noqa: BLE001 - the boundary of a collector: others go on
            self._failed(work, f"collector {work.name}", clean(_told(error), TEXT_CHARS_MAX))
            return None
        work.interval_s = collector.interval_s
        return collector

    async def _keep(self, name: str, factory: Factory) -> None:
        work = self._work_of(name)
        failed = 0
        while True:
            collector = self._made(work, factory)
            is_first = True
            try:
                while collector and await self._look(collector, work, is_first=is_first):
                    is_first, failed = False, 0
                    await asyncio.sleep(collector.interval_s * work.factor)
            finally:
                if collector:
                    await self._close(collector, work)
            if work.capability.state is State.ABSENT and not work.looks:
                await asyncio.sleep(_ABSENT_RETRY_S)
                continue
            # What was here before is more likely to come back than what never was.
            work.restarts += 1
            await asyncio.sleep(_RETRY_S[min(failed, len(_RETRY_S) - 1)])
            failed += 1

    async def _look(self, collector: Collector, work: Work, *, is_first: bool) -> bool:
        """Look once; False when the collector has to be made anew."""
        what = f"collector {collector.name}"
        try:
            async with asyncio.timeout(self._look_s_max * (_FIRST_FACTOR if is_first else 1)):
                if is_first:
                    await metered(collector.start(), work)
                await metered(collector.collect(), work)
            capability = self.watchdog.step(work.name, collector.capability)
        except AbsentError as error:
            work.capability = _absent(error)
            return False
        except TimeoutError:
            problem = "a look did not end in time: it was given up"
            return self._failed(work, what, problem)
        except Exception as error:  # noqa: BLE001 - the boundary of a collector: others go on
            return self._failed(work, what, clean(_told(error), TEXT_CHARS_MAX))
        work.looks += 1
        work.problem = None
        work.capability = capability
        self._log.well(what)
        return True

    def _failed(self, work: Work, what: str, problem: str) -> bool:
        work.failures += 1
        work.problem = problem
        work.capability = Capability(State.FAILED, work.capability.mode, work.capability.misses)
        self._log.trouble(what, problem)
        return False

    async def _close(self, collector: Collector, work: Work) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S_MAX):
                await metered(collector.close(), work)
        except Exception as error:  # noqa: BLE001 - the boundary of a collector: it is given up
            self._log.trouble(f"end of collector {work.name}", clean(_told(error)))


def _absent(error: AbsentError) -> Capability:
    return Capability(State.ABSENT, "none", (Miss(str(error), error.grant),))


def _told(error: Exception) -> str:
    if isinstance(error, ExceptionGroup):
        # Of several that failed at once the first says more than that there are some.
        failures = cast("ExceptionGroup[Exception]", error).exceptions
        others = len(failures) - 1
        return f"{_told(failures[0])} (and {others} more)" if others else _told(failures[0])
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
