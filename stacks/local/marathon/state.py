"""What a leading Marathon holds in memory, and wakes others with when it changes.

Instances are written down by the methods here and nowhere else, so that memory and ZooKeeper
differ only while a write is under way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from stacks.local.marathon.events import EventBus
from stacks.local.marathon.groups import Tree
from stacks.local.marathon.instances import Instance, timestamp
from stacks.local.marathon.queue import LaunchQueue
from stacks.local.marathon.settings import MarathonSettings
from stacks.local.marathon.store import Loaded, Store
from stacks.local.mesos.values import Json


class State:
    """Apps, instances, queue and events."""

    def __init__(self, settings: MarathonSettings, store: Store, bus: EventBus) -> None:
        self.settings = settings
        self.store = store
        self.bus = bus
        self.queue = LaunchQueue(
            tokens=settings.launch_tokens,
            refresh_s=settings.launch_token_refresh_interval_ms / 1000,
        )
        self.framework_id: str | None = None
        self.tree = Tree(timestamp())
        self.instances: dict[str, Instance] = {}
        self.failures: dict[str, Json] = {}
        self._by_app: dict[str, dict[str, Instance]] = {}
        self._changed = asyncio.Event()

    def take(self, loaded: Loaded) -> None:
        """Begin with what an earlier process left."""
        self.framework_id = loaded.framework_id
        self.tree = loaded.tree or self.tree
        self.failures = dict(loaded.failures)
        for instance in loaded.instances:
            self._enter(instance)

    def _enter(self, instance: Instance) -> None:
        self.instances[instance.id] = instance
        self._by_app.setdefault(instance.app_id, {})[instance.id] = instance

    def touch(self) -> None:
        """Wake whoever waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, bound_s: float) -> None:
        """Wait for the next change, with a bound."""
        changed = self._changed
        try:
            async with asyncio.timeout(bound_s):
                await changed.wait()
        except TimeoutError:
            pass  # Time alone may have changed what is due.

    def of_app(self, app_id: str) -> list[Instance]:
        """Instances of an app, the oldest first."""
        return list(self._by_app.get(app_id, {}).values())

    def app_ids(self) -> Iterable[str]:
        """Apps that have instances."""
        return [app_id for app_id, there in self._by_app.items() if there]

    async def add(self, instance: Instance) -> None:
        """Enter an instance, before its task is launched."""
        self._enter(instance)
        await self.store.keep_instance(instance)

    async def keep(self, instance: Instance) -> None:
        """Write a change down."""
        await self.store.keep_instance(instance)
        self.touch()

    async def expunge(self, instance: Instance) -> None:
        """Forget an instance."""
        self.instances.pop(instance.id, None)
        self._by_app.get(instance.app_id, {}).pop(instance.id, None)
        await self.store.drop_instance(instance)
        self.touch()

    def counts(self, app_id: str) -> Json:
        """The numbers that stand beside an app."""
        there = self.of_app(app_id)
        staged = [i for i in there if i.state in {"TASK_STAGING", "TASK_STARTING"}]
        running = [i for i in there if i.is_running]
        return {
            "tasksStaged": len(staged),
            "tasksRunning": len(running),
            "tasksHealthy": sum(1 for i in running if i.healthy is True),
            "tasksUnhealthy": sum(1 for i in running if i.healthy is False),
        }

    def overdue_s(self, instance: Instance) -> float | None:
        """For how long a task has been unreachable; None: it is not."""
        since = instance.unreachable_since
        return None if since is None else time.time() - since
