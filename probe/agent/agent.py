"""The agent as a whole: collectors, publisher, budget and status, and how they meet."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from probe.agent import budget
from probe.agent.budget import Budget, Memory, Meter, Use
from probe.agent.collector import Collector
from probe.agent.errors import AbsentError
from probe.agent.files import OpenFiles
from probe.agent.grants import Grants
from probe.agent.http import TlsFiles, parse_place
from probe.agent.log import Log
from probe.agent.publisher import Outlet, Publisher, Ring
from probe.agent.runner import Runner
from probe.agent.settings import Settings
from probe.agent.site import Site
from probe.agent.status import CollectorStatus, OutletStatus, Status, StatusServer
from probe.report.ledger import Ledger

# Events that come together go out together.
_URGENT_S = 0.02
_GOVERN_S = 5.0
_START_S = 15.0


class Agent:
    """One agent. Nothing is looked at before `run` or `once`."""

    def __init__(self, settings: Settings, log: Log | None = None) -> None:
        self.settings = settings
        self._log = log or Log()
        self._news = asyncio.Event()
        host = settings.host_name
        self.ledger = Ledger(host, epoch=int(time.time() * 1000))
        self.site = Site(
            host,
            self.ledger,
            OpenFiles(),
            proc=settings.proc,
            cgroups=settings.cgroups,
            urgent=self._news.set,
            redact=settings.redact,
        )
        self.runner = Runner(
            self.site, {n: _factory(n, settings) for n in settings.collectors}, self._log
        )
        self.publisher = Publisher(
            self.ledger,
            _outlets(settings, self._log),
            wall=self.site.wall,
            lease_ms=round(settings.lease_s * 1000),
            ring=Ring(int(settings.buffer_mb_max * 1e6)),
        )
        self.grants = Grants(settings.controls, read_only=settings.read_only)
        self._budget = Budget(settings.cpu_percent_max, settings.rss_mb_max)
        self._meter = Meter()
        self._memory = Memory(budget.give_back, time.monotonic, self._bound)
        self._level = 0
        self._use = Use(0.0, 0.0)
        self._began = time.monotonic()

    @contextlib.asynccontextmanager
    async def once(self, again_after_s: float | None = None) -> AsyncGenerator[None]:
        """Let every collector look once, or twice; inside, the ledger holds what there is."""
        with self.runner.watchdog.watching():
            async with self.runner.once(again_after_s):
                self._tell()
                yield

    async def run(self) -> None:
        """Work until cancelled."""
        apps = [str(outlet.place) for outlet in self.publisher.outlets]
        self._log.event("agent.began", host=self.site.host, apps=apps)
        with self.runner.watchdog.watching():
            await self._work()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.runner.run())
            group.create_task(self.publisher.run())
            group.create_task(self._publish())
            group.create_task(self._govern())
            if self.settings.status_socket:
                server = StatusServer(
                    self.settings.status_socket, self.status, self.grants, self._log
                )
                group.create_task(server.run())

    def _tell(self) -> None:
        """Write what is known of the agent itself into the report."""
        self.runner.tell()
        grants = self.grants
        self.ledger["host"].put(
            self.site.host, read_only=grants.read_only, controls=list(grants.effective)
        )

    async def _publish(self) -> None:
        """Make a frame each interval, and soon after something that somebody waits for."""
        interval_s = self.settings.publish_interval_s
        due = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - time.monotonic())):
                    await self._news.wait()
                await asyncio.sleep(_URGENT_S)
            if time.monotonic() >= due:
                due = time.monotonic() + interval_s
                self._tell()
            self._news.clear()
            self.publisher.publish()

    async def _govern(self) -> None:
        # The start costs more than any later moment, and says nothing of them.
        await asyncio.sleep(_START_S)
        self._meter.begin_anew()
        while True:
            await asyncio.sleep(_GOVERN_S)
            try:
                self._use = self._meter.sample()
            except OSError as error:  # Too many open files, where only this one is opened anew.
                self._log.trouble("budget", f"expected to measure this process, saw {error}")
                continue
            self._log.well("budget")
            self._memory.judge(self._use, self._budget)
            level = budget.decide(self._level, self._use, self._budget)
            if level != self._level:
                self._log.event("budget.changed", level=level, cpu_percent=self._use.cpu_percent)
                self._level = level
                self.runner.slow_down(budget.factors(level))

    def _bound(self, share: float) -> None:
        """Let what grows with what happens use this share of its bound."""
        self._log.event("memory.bounded", share=share, rss_mb=round(self._use.rss_mb, 1))
        self.site.memory_share = share
        self.publisher.ring.bound(share)

    def status(self) -> Status:
        """What is known of the agent itself."""
        use = self._meter.sample()
        now = self.site.clock()
        publisher = self.publisher
        return Status(
            host=self.site.host,
            uptime_s=round(time.monotonic() - self._began, 1),
            cpu_percent=round(use.cpu_percent, 2),
            cpu_percent_max=self._budget.cpu_percent,
            rss_mb=round(use.rss_mb, 1),
            rss_mb_max=self._budget.rss_mb,
            degraded=[
                *(step.meaning for step in budget.STEPS[: self._level]),
                *([Memory.MEANING] if self._memory.is_short else []),
            ],
            read_only=self.grants.read_only,
            granted=self.grants.effective,
            refused=self.grants.refused,
            nodes={name: len(table) for name, table in self.ledger.tables.items() if len(table)},
            frame=self.ledger.seq,
            frame_bytes=publisher.frame_bytes,
            buffered_bytes=publisher.ring.size,
            dropped_frames=publisher.ring.dropped,
            unfit_values=sum(table.unfit for table in self.ledger.tables.values()),
            open_files=self.site.files.used,
            collectors=[
                CollectorStatus(
                    name=work.name,
                    state=work.capability.state.value,
                    mode=work.capability.mode,
                    misses=[str(miss) for miss in work.capability.misses],
                    problem=work.problem,
                    interval_s=work.interval_s * work.factor,
                    cpu_ms_per_s=round(work.cost_ms_per_s(now), 2),
                    looks=work.looks,
                    failures=work.failures,
                    restarts=work.restarts,
                )
                for work in self.runner.work.values()
            ],
            apps=[
                OutletStatus(
                    app=str(outlet.place),
                    acknowledged=outlet.acknowledged[1] if outlet.acknowledged else None,
                    frames=outlet.sent_frames,
                    bytes=outlet.sent_bytes,
                    snapshots=outlet.snapshots,
                    failures=outlet.failed,
                    problem=outlet.problem,
                )
                for outlet in publisher.outlets
            ],
        )


def _outlets(settings: Settings, log: Log) -> list[Outlet]:
    def path(name: str | None) -> Path | None:
        return None if name is None else Path(name)

    tls = TlsFiles(path(settings.ca_file), path(settings.cert_file), path(settings.key_file))
    token_file = path(settings.token_file)
    return [
        Outlet(parse_place(app), token_file=token_file, tls=tls, log=log) for app in settings.apps
    ]


# name → module and class. Loaded on first use: what is switched off costs no memory.
_COLLECTORS = {
    "host": ("probe.agent.collectors.host", "HostCollector"),
    "container": ("probe.agent.collectors.container", "ContainerCollector"),
    "cri": ("probe.agent.collectors.cri", "CriCollector"),
    "mesos_container": ("probe.agent.collectors.mesos_container", "MesosContainerCollector"),
    "process": ("probe.agent.collectors.process", "ProcessCollector"),
    "connections": ("probe.agent.collectors.connections", "ConnectionsCollector"),
    "names": ("probe.agent.collectors.names", "NamesCollector"),
    "mesos": ("probe.agent.collectors.mesos", "MesosCollector"),
    "plugins": ("probe.agent.collectors.plugins", "PluginsCollector"),
    "kubernetes": ("probe.agent.collectors.kubernetes", "KubernetesCollector"),
}


def _no_clusters(_: Site) -> Collector:
    """In place of the collector that asks clusters, whose clients cost 20 MB."""
    msg = "no cluster is named"
    raise AbsentError(msg, grant="name masters and ZooKeeper servers in `mesos`")


def _factory(name: str, settings: Settings) -> Callable[[Site], Collector]:
    module, class_name = _COLLECTORS[name]
    options: dict[str, Any] = {}
    if name == "container":
        options["address"] = settings.docker_host
    elif name == "names":
        options |= {"etc": settings.etc, "lookups_per_s": settings.dns_lookups_per_s}
    elif name == "cri":
        options["path"] = settings.cri_socket
    elif name == "mesos" and not (settings.mesos or settings.sync_engines):
        return _no_clusters
    elif name == "mesos":
        options["clusters"] = settings.mesos
        options["engines"] = settings.sync_engines
    elif name == "mesos_container":
        options["agents"] = settings.mesos_agents
    elif name == "plugins":
        options["folder"] = settings.plugins
    elif name == "kubernetes":
        options["settings"] = settings.kubernetes

    def make(site: Site) -> Collector:
        return getattr(import_module(module), class_name)(site, **options)

    return make
