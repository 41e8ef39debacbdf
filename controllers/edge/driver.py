"""Follows Marathon and keeps the proxy's configuration what its apps ask for.

While Marathon does not answer (it stands still during a migration, and ends with each new leader of
Mesos) the proxy serves on with what it has: instances that have gone meanwhile fail its own checks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from clients.marathon import MarathonError
from clients.marathon.errors import PermanentError
from controllers.edge.ports import unusable
from controllers.edge.render import Configuration, Layout, render
from controllers.edge.services import Found, Service, find, without_ports
from controllers.edge.settings import EdgeSettings
from controllers.errors import NotReloadedError, RefusedError
from controllers.following import SOON_S, Doubt, Follower, Source
from controllers.instances import Problem

_FAILURES = (MarathonError, RefusedError, NotReloadedError)
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
        source: Source,
        proxy: Proxy,
        settings: EdgeSettings,
        layout: Layout,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._proxy = proxy
        self._settings = settings
        self._layout = layout
        self._clock = clock
        self._doubt = Doubt(settings.confirm_empty_s, clock, self._tell_empty)
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
        await Follower(
            "edge",
            self._source,
            self._apply,
            failures=_FAILURES,
            settle_s=self._settings.settle_s,
            clock=self._clock,
            on_failure=self._tell_failed,
        ).run()

    async def look(self) -> bool:
        """Look at apps and tasks once, and give the proxy what they ask for, if that is another
        configuration; whether it was.

        Raises:
            MarathonError: Marathon did not answer.
            RefusedError: HAProxy refuses the configuration.
            NotReloadedError: it did not take it in time.
            ProxyEndedError: it has ended.
        """
        apps, tasks = await asyncio.gather(self._source.apps(), self._source.tasks())
        taken = frozenset({self._settings.http_port, self._settings.admin_port})
        served = () if self._found is None else self._found.services
        found = find(apps, tasks, group=self._settings.group, taken=taken, served=served)
        # Those that the proxy has already are its own.
        new = _ports(found.services) - _ports(served)
        found = without_ports(found, unusable(self._settings.bind, new))
        self._tell(found)
        had_some = bool(self._found is not None and self._found.services)
        if self._doubt.holds(doubtful=had_some and not found.services):
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

    def _tell_empty(self) -> None:
        _log.warning("edge.empty", confirm_s=self._settings.confirm_empty_s)

    def _tell(self, found: Found) -> None:
        problems = frozenset(found.problems)
        for problem in sorted(problems - self._told, key=str):
            _log.warning("edge.label", app=problem.app_id, label=problem.label, why=problem.why)
        self._told = problems

    def _tell_failed(self, error: Exception) -> None:
        permanent = isinstance(error, PermanentError)
        _log.warning("edge.failed", error=str(error), retryable=not permanent)

    async def _apply(self, heard_at: float | None) -> float:
        if await self.look():
            self._tell_applied(heard_at)
            await asyncio.sleep(self._settings.reload_interval_s)
        return SOON_S if self._doubt.is_open else self._settings.resync_s


def _ports(services: Iterable[Service]) -> frozenset[int]:
    return frozenset(one.port for one in services if one.port is not None)
