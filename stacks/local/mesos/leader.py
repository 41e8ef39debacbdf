"""What a master does while it leads: rounds of offers, pings, time-outs, heartbeats.

Made when a master is elected and has read the registry; it never stops leading other than by the
end of the process, so nothing here is undone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from stacks.local.mesos.access import Access
from stacks.local.mesos.allocator import Allocator
from stacks.local.mesos.cluster import Cluster
from stacks.local.mesos.core import Core, Store
from stacks.local.mesos.operator_api import OperatorApi
from stacks.local.mesos.scheduler_api import SchedulerApi
from stacks.local.mesos.values import Json
from stacks.local.settings import MasterSettings

# Offers made at once are not repeated in a tight loop when many things happen together.
_ALLOCATION_PAUSE_S = 0.005


class Leadership:
    """State and loops of a leading master."""

    def __init__(  # noqa: PLR0913 - by keyword, what a master lends its leadership
        self,
        settings: MasterSettings,
        *,
        master_id: str,
        document: Callable[[], Json],
        store: Store,
        describe: Callable[[], Json],
        flags: Callable[[], Json],
        metrics: Callable[[], dict[str, float]],
        access: Access,
    ) -> None:
        self._settings = settings
        self.elected_at = 0.0
        self.cluster = Cluster(master_id)
        self.core = Core(self.cluster, document, store)
        self.core.recover()
        self.allocator = Allocator(self.cluster)
        self.scheduler = SchedulerApi(self.core, self.allocator, access)
        self.operator = OperatorApi(
            self.core, flags=flags, metrics=metrics, master=describe, access=access
        )

    def loops(self) -> list[Awaitable[Any]]:
        """What has to run while this master leads; none of them returns, but the last."""
        return [self._allocate(), self._ping(), self._beat(), self._expire_recovered()]

    async def _allocate(self) -> None:
        candidates, interval_s = self.core.candidates, self._settings.allocation_interval_ms / 1000
        everyone_at = time.monotonic() + interval_s
        while True:
            try:
                async with asyncio.timeout(max(0.0, everyone_at - time.monotonic())):
                    await candidates.wake.wait()
                await asyncio.sleep(_ALLOCATION_PAUSE_S)
            except TimeoutError:
                pass
            if time.monotonic() >= everyone_at:
                candidates.add_all()
                everyone_at = time.monotonic() + interval_s
            self.allocator.run(self.core.document, candidates.take())
            # Rounds take half of the time at most: with many agents others want the processor too.
            await asyncio.sleep(min(interval_s, self.allocator.run_ms[-1] / 1000))

    async def _ping(self) -> None:
        pause_s = self._settings.agent_ping_timeout_s
        bound_s = pause_s * self._settings.max_agent_ping_timeouts
        while True:
            await asyncio.sleep(pause_s)
            now = time.monotonic()
            for agent in list(self.cluster.agents.values()):
                if now - agent.last_pong >= bound_s:
                    await self.core.mark_unreachable(agent.id)
                else:
                    agent.tell({"type": "PING"})

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_interval_s)
            self.cluster.subscribers.tell({"type": "HEARTBEAT"})
            for framework in self.cluster.frameworks.values():
                framework.tell({"type": "HEARTBEAT"})

    async def _expire_recovered(self) -> None:
        await asyncio.sleep(self._settings.agent_reregister_timeout_s)
        for agent_id in list(self.cluster.recovered):
            self.cluster.counters.recovery_removals += 1
            await self.core.mark_unreachable(agent_id)
