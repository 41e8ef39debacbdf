"""Follows Marathon and makes Consul's catalog equal to what runs of its apps.

While Marathon does not answer (it stands still during a migration, and ends with each new leader of
Mesos), or an agent's name has no address, Consul keeps what it has. What goes wrong with Consul, a
server that restarts say, is told and the look taken again: nothing is remembered that a new process
would not find out. Several of these come to the same catalog; one is enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar, cast

import structlog

from clients.consul import (
    ConsulClient,
    ConsulError,
    ForbiddenError,
    RequestRefusedError,
    Status,
    UnreachableError,
)
from clients.dns import look_up
from clients.errors import DnsError
from clients.marathon import MarathonError
from controllers.following import SOON_S, Doubt, Follower, Source
from controllers.instances import Problem
from controllers.registrator.entries import Entry, find
from controllers.registrator.metrics import Counts
from controllers.registrator.plan import (
    MARK,
    Deregister,
    Held,
    Plan,
    Register,
    after,
    is_ours,
    node_name,
    plan,
)
from controllers.registrator.settings import RegistratorSettings
from controllers.status import Status as Told

_log = structlog.get_logger()
_T = TypeVar("_T")
_FAILURES = (MarathonError, ConsulError)


class Registrator:
    """One registrator. `clock` is monotonic, `wall` is what metrics tell; both in seconds."""

    def __init__(  # noqa: PLR0913 - what it talks to, and the time
        self,
        source: Source,
        consul: ConsulClient,
        settings: RegistratorSettings,
        told: Told,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._source = source
        self._consul = consul
        self._settings = settings
        self._status = told
        self._clock = clock
        self._wall = wall
        self._doubt = Doubt(settings.confirm_s, clock, self._tell_loss)
        self._held: tuple[Held, ...] | None = None
        self._held_at = 0.0
        self._addresses: dict[str, str] = {}
        self._problems: frozenset[Problem] = frozenset()
        self.counts = Counts()
        """What it has done and seen."""

    async def run(self) -> None:
        """Follow, until cancelled."""
        await Follower(
            "registrator",
            self._source,
            self._look_at,
            failures=_FAILURES,
            settle_s=self._settings.settle_s,
            clock=self._clock,
            on_failure=self._tell_failed,
        ).run()

    async def look(self) -> bool:
        """Look once at what runs and at what Consul has, and make it equal; whether it is.

        Raises:
            MarathonError: Marathon did not answer.
            ConsulError: Consul did not answer, or refuses; a part may have been done.
        """
        apps, tasks = await asyncio.gather(self._source.apps(), self._source.tasks())
        found = find(apps, tasks)
        held = await self._catalog()
        wanted, homeless = await self._with_addresses(found.entries, held)
        made = plan(wanted, held, self._settings.cluster)
        self._tell((*found.problems, *homeless, *made.problems))
        loss = made.is_loss(self._settings.loss_share, self._settings.loss_entries)
        waits = self._doubt.holds(doubtful=loss)
        self.counts.held_back = made.removed if waits else 0
        calls = (*made.registers, *(() if waits else made.deregisters))
        await self._make(made, () if waits else made.deregisters)
        self._held = after(held, calls)
        self._count()
        return not waits

    async def _catalog(self) -> tuple[Held, ...]:
        """What Consul has: read again when what is known of it is old, or may be wrong."""
        now = self._clock()
        if self._held is None or now - self._held_at >= self._settings.resync_s:
            self._held, self._held_at = None, now
            self._addresses.clear()
            self._held = await self._read()
        return self._held

    async def _read(self) -> tuple[Held, ...]:
        cluster = self._settings.cluster
        nodes, checks = await asyncio.gather(
            self._consul.nodes(), self._consul.checks({MARK: cluster})
        )
        statuses: dict[str, dict[str, str]] = {}
        for check in checks:
            statuses.setdefault(check.node, {})[check.id] = check.status
        ours = [node.name for node in nodes if is_ours(node.meta, cluster)]
        services = dict(
            zip(ours, await self._each(self._consul.services(name) for name in ours), strict=True)
        )
        return tuple(
            Held(node, services.get(node.name, ()), statuses.get(node.name, {})) for node in nodes
        )

    async def _with_addresses(
        self, entries: Sequence[Entry], held: Sequence[Held]
    ) -> tuple[list[tuple[Entry, str]], list[Problem]]:
        """Addresses of hosts: DNS gives nobody the address behind a name of another zone. Where a
        name cannot be looked up now, the address stays that Consul has."""
        hosts = sorted({entry.host for entry in entries} - self._addresses.keys())
        last = {one.node.name: one.node.address for one in held}
        for host, address in zip(hosts, await self._each(map(_address, hosts)), strict=True):
            if address is not None:
                self._addresses[host] = address
        wanted: list[tuple[Entry, str]] = []
        problems: dict[Problem, None] = {}
        for entry in entries:
            kept = last.get(node_name(self._settings.cluster, entry.host))
            address = self._addresses.get(entry.host, kept)
            if address is None:
                problems[Problem(entry.app_id, "host", f"{entry.host} has no address here")] = None
            else:
                wanted.append((entry, address))
        return wanted, list(problems)

    async def _make(self, made: Plan, deregisters: Sequence[Deregister]) -> None:
        if not made.registers and not deregisters:
            return
        # Until all is done nobody knows what Consul has.
        self._held = None
        refused: ForbiddenError | RequestRefusedError | None = None
        try:
            await self._each(self._register(call) for call in made.registers)
        except (ForbiddenError, RequestRefusedError) as error:
            # Whatever is refused, what has ended is named no more.
            refused = error
        await self._each(self._deregister(call) for call in deregisters)
        if refused is not None:
            raise refused
        _log.info(
            "registrator.applied",
            registered=len(made.registers),
            deregistered=sum(call.services for call in deregisters),
            entries=made.wanted,
        )

    async def _register(self, call: Register) -> None:
        await self._consul.register(
            call.node, call.service, call.status, check=call.check, output=call.output
        )
        self.counts.registered += 1

    async def _deregister(self, call: Deregister) -> None:
        await self._consul.deregister(call.node, call.service_id)
        self.counts.deregistered += call.services

    async def _each(self, calls: Iterable[Awaitable[_T]]) -> list[_T]:
        """Their results, in order, no more at once than settings allow. One that is refused keeps
        no other from being made; when no server answers, the rest is left.

        Raises:
            ConsulError: the first that there was.
        """
        room, unreachable = asyncio.Semaphore(self._settings.calls_at_once), list[Exception]()

        async def one(call: Awaitable[_T]) -> _T:
            async with room:
                if unreachable:
                    asyncio.ensure_future(call).cancel()
                    raise unreachable[0]
                try:
                    return await call
                except UnreachableError as error:
                    unreachable.append(error)
                    raise

        results = await asyncio.gather(*map(one, calls), return_exceptions=True)
        for each in results:
            if isinstance(each, BaseException):
                raise each
        return cast("list[_T]", results)

    async def _look_at(self, _: float | None) -> float:
        is_done = await self.look()
        self.counts.looked_at = self._wall()
        self._status.trouble = None
        if not is_done:
            return SOON_S
        return max(SOON_S, self._held_at + self._settings.resync_s - self._clock())

    def _count(self) -> None:
        cluster = self._settings.cluster
        ours = [one for one in self._held or () if is_ours(one.node.meta, cluster)]
        statuses = [
            status
            for one in ours
            for check, status in one.statuses.items()
            if check.startswith(f"{MARK}:")
        ]
        self.counts.entries = {str(one): statuses.count(one) for one in Status}
        self.counts.problems = len(self._problems)

    def _tell(self, found: Iterable[Problem]) -> None:
        problems = frozenset(found)
        for problem in sorted(problems - self._problems, key=str):
            _log.warning("registrator.left_out", app=problem.app_id, why=str(problem))
        self._problems = problems

    def _tell_loss(self) -> None:
        _log.warning("registrator.loss", confirm_s=self._settings.confirm_s)

    def _tell_failed(self, error: Exception) -> None:
        peer = "marathon" if isinstance(error, MarathonError) else "consul"
        self.counts.failures[peer] += 1
        if self._status.trouble != str(error):
            _log.warning("registrator.failed", peer=peer, error=str(error))
        self._status.trouble = str(error)


async def _address(host: str) -> str | None:
    try:
        return (await look_up(host))[0]
    except DnsError:
        return None
