"""Follows Marathon and keeps the proxy's configuration what its apps ask for.

Events only say that it is time to look; what is done follows from apps and tasks as Marathon has
them then, so that a lost event costs time and nothing else. While Marathon does not answer (it
stands still during a migration, and ends with each new leader of Mesos) the proxy serves on with
what it has: instances that have gone meanwhile fail its own checks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

import structlog

from clients.marathon import MarathonClient, MarathonError
from clients.marathon.errors import PermanentError
from controllers.edge.render import Configuration, Layout, render
from controllers.edge.services import Found, Problem, find
from controllers.edge.settings import EdgeSettings
from controllers.errors import NotReloadedError, RefusedError

EVENTS = (
    "status_update_event",
    "instance_health_changed_event",
    "deployment_info",
    "deployment_step_success",
    "deployment_success",
    "deployment_failed",
)
_AGAIN_S = 0.5
_AGAIN_S_MAX = 15.0
_log = structlog.get_logger()


class Proxy(Protocol):
    """Serves with a configuration."""

    async def apply(self, configuration: Configuration) -> None:
        """See controllers.edge.haproxy."""
        ...


class Edge:
    """One edge. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        client: MarathonClient,
        proxy: Proxy,
        settings: EdgeSettings,
        layout: Layout,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._proxy = proxy
        self._settings = settings
        self._layout = layout
        self._clock = clock
        self._dirty = asyncio.Event()
        self._heard_at: float | None = None
        self._empty_since: float | None = None
        self._told: frozenset[Problem] = frozenset()
        self._found: Found | None = None
        self.current: Configuration | None = None
        """What the proxy was given last."""
        self.reloads = 0
        """How often it was given another one since the first."""

    async def run(self) -> None:
        """Follow, until cancelled.

        Raises:
            ProxyEndedError: the proxy has ended.
        """
        parts = {asyncio.create_task(self._follow()), asyncio.create_task(self._work())}
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in parts:
                one.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def look(self) -> bool:
        """Look at apps and tasks once, and give the proxy what they ask for, if that is another
        configuration; whether it was.

        Raises:
            MarathonError: Marathon did not answer.
            RefusedError: HAProxy refuses the configuration.
            NotReloadedError: it did not take it in time.
            ProxyEndedError: it has ended.
        """
        apps, tasks = await asyncio.gather(self._client.apps(), self._client.tasks())
        taken = frozenset({self._settings.http_port, self._settings.admin_port})
        found = find(apps, tasks, group=self._settings.group, taken=taken)
        self._tell(found)
        if self._is_doubtful(found):
            return False
        configuration = render(found.services, self._layout)
        if self.current is not None and configuration.digest == self.current.digest:
            return False
        await self._proxy.apply(configuration)
        self.reloads += self.current is not None
        self.current, self._found = configuration, found
        return True

    def _tell_applied(self, heard_at: float | None) -> None:
        """`behind_s` is the time since the first event of it: for so long at least an instance that
        was asked to end must go on answering."""
        if self.current is None or self._found is None:
            return
        servers = [server for service in self._found.services for server in service.servers]
        _log.info(
            "edge.applied",
            digest=self.current.digest,
            services=len(self._found.services),
            servers=len(servers),
            ending=sum(server.is_ending for server in servers),
            behind_s=None if heard_at is None else round(self._clock() - heard_at, 3),
        )

    def _is_doubtful(self, found: Found) -> bool:
        """Whether to wait before believing that nothing is asked for any more."""
        had_some = self._found is not None and self._found.services
        if found.services or not had_some:
            self._empty_since = None
            return False
        now = self._clock()
        if self._empty_since is None:
            self._empty_since = now
            _log.warning("edge.empty", confirm_s=self._settings.confirm_empty_s)
        return now - self._empty_since < self._settings.confirm_empty_s

    def _tell(self, found: Found) -> None:
        problems = frozenset(found.problems)
        for problem in sorted(problems - self._told, key=str):
            _log.warning("edge.label", app=problem.app_id, label=problem.label, why=problem.why)
        self._told = problems

    async def _follow(self) -> None:
        """Hear of changes; the first event of a stream is itself one, for what was missed."""
        pause_s = _AGAIN_S
        while True:
            try:
                async for _ in self._client.events(EVENTS):
                    pause_s = _AGAIN_S
                    self._dirty.set()
                    if self._heard_at is None:
                        self._heard_at = self._clock()
            except MarathonError as error:
                _log.info("edge.stream", error=str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _AGAIN_S_MAX)

    async def _work(self) -> None:
        while True:
            self._dirty.clear()
            heard_at, self._heard_at = self._heard_at, None
            try:
                changed = await self.look()
            except (MarathonError, RefusedError, NotReloadedError) as error:
                permanent = isinstance(error, PermanentError)
                _log.warning("edge.failed", error=str(error), retryable=not permanent)
                self._dirty.set()
                # What was heard first is still to be learned.
                self._heard_at = self._heard_at if heard_at is None else heard_at
                await asyncio.sleep(_AGAIN_S)
                continue
            if changed:
                self._tell_applied(heard_at)
                await asyncio.sleep(self._settings.reload_interval_s)
            wait_s = self._settings.resync_s if self._empty_since is None else _AGAIN_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._dirty.wait()
                await asyncio.sleep(self._settings.settle_s)
