"""Names of the machines that this one talks to: beside the addresses of its connections.

An address of no process and no container here is another machine's. Its name comes from the hosts
file, or by a reverse lookup: so many a second at most, in a batch that is waited for in this
collector alone, and kept as long as the answer says, within bounds. An address without a name is
asked for again after a while; a server that does not answer at all is left alone for a minute.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

from probe.agent import resolver
from probe.agent.collector import Capability, Miss, State
from probe.agent.dns import Answer
from probe.agent.errors import HttpError
from probe.agent.site import Site
from probe.agent.text import clean

ADDRESSES_MAX = 10_000
_TIMEOUT_S = 2.0
_TTL_S_MIN, _TTL_S_MAX = 60, 3_600
_NOTHING_TTL_S = 600
_UNANSWERED_TTL_S = 120
_SILENCE_S = 60.0


@dataclass(slots=True)
class _Known:
    """What is known of an address, and until when."""

    name: str | None
    until: float


class NamesCollector:
    """Finds names."""

    name: ClassVar[str] = "names"
    interval_s: ClassVar[float] = 5.0

    def __init__(
        self,
        site: Site,
        *,
        etc: str = "/etc",
        lookups_per_s: float = 5.0,
        port: int = resolver.PORT,
    ) -> None:
        self._site = site
        self._table = site.ledger["connection"]
        self._etc = etc
        self._port = port
        self._batch_max = ceil(lookups_per_s * self.interval_s)
        self._lookups_per_s = lookups_per_s
        self._hosts = resolver.Hosts(etc)
        self._known: dict[str, _Known] = {}
        self._server = 0
        self._silent_until = 0.0
        self._problem: str | None = None
        self._over = 0

    async def start(self) -> None:
        """Nothing to find out."""

    async def collect(self) -> None:
        """Look once."""
        now = self._site.clock()
        self._hosts.look()
        wanted = dict(self._remote())
        self._forget(set(wanted.values()), now)
        due = self._due(set(wanted.values()), now)
        if due and now >= self._silent_until:
            await self._ask(due, now)
        for (id_, column), address in wanted.items():
            if id_ in self._table:
                self._table.set(self._table.row(id_), column, self._name(address))

    def capability(self) -> Capability:
        """How names are found, and of how many addresses there are none yet."""
        servers = resolver.servers(self._etc)
        ways = ["hosts file"]
        if self._batch_max and servers:
            ways.append(f"DNS of {servers[self._server % len(servers)]}")
            ways.append(f"{self._lookups_per_s:g} lookups a second at most")
        named = sum(1 for one in self._known.values() if one.name)
        ways.append(f"{named} of {len(self._known)} addresses named")
        misses: list[Miss] = []
        if self._problem:
            misses.append(Miss(f"names ({self._problem})", "a DNS server that answers"))
        if self._over:
            what = f"names of {self._over} addresses beyond {ADDRESSES_MAX}"
            misses.append(Miss(what, "nothing: names are kept inside a bound"))
        mode = ", ".join(ways)
        return Capability(State.PARTIAL if misses else State.FULL, mode, tuple(misses))

    async def close(self) -> None:
        """Names go with the connections that they are of."""

    def _remote(self) -> Iterator[tuple[tuple[str, str], str]]:
        """Ends of connections that nobody here owns: where the name belongs, and the address."""
        table, own = self._table, self._own()
        for id_ in table.ids():
            for end in ("client", "server"):
                if table.get(id_, end) is None and table.get(id_, f"{end}_container") is None:
                    address = table.get(id_, f"{end}_address")
                    if isinstance(address, str) and address not in own:
                        yield (id_, f"{end}_name"), address

    def _own(self) -> set[str]:
        """Addresses of this machine and its containers: their owners may be hidden from us."""
        told = self._site.ledger["host"].get(self._site.host, "addresses")
        interfaces = told if isinstance(told, list) else []
        own = {one.partition(" ")[2].partition("/")[0] for one in interfaces}
        return own.union(*(one.addresses for one in self._site.containers.values()))

    def _name(self, address: str) -> str | None:
        if (found := self._hosts.names.get(address)) is not None:
            return clean(found)
        known = self._known.get(address)
        return None if known is None else known.name

    def _forget(self, wanted: set[str], now: float) -> None:
        """Keep what is talked to now, and of the rest what is still believed."""
        for address in [a for a in self._known if a not in wanted]:
            if self._known[address].until <= now:
                del self._known[address]

    def _due(self, wanted: set[str], now: float) -> list[str]:
        """Addresses to ask for: new ones first, then those whose time is over, oldest first."""
        due: list[tuple[float, str]] = []
        self._over = 0
        for address in wanted - self._hosts.names.keys():
            known = self._known.get(address)
            if known is None and _has_name(address):
                if len(self._known) + len(due) >= ADDRESSES_MAX:
                    self._over += 1
                    continue
                due.append((0.0, address))
            elif known is not None and known.until <= now:
                due.append((known.until, address))
        return [address for _, address in sorted(due)[: self._batch_max]]

    async def _ask(self, due: list[str], now: float) -> None:
        servers = resolver.servers(self._etc)
        if not servers:
            self._problem = f"{self._etc}/resolv.conf names no server"
            return
        server = servers[self._server % len(servers)]
        found: Mapping[str, Answer] = {}
        try:
            found = await resolver.ask(
                server, due, timeout_s=_TIMEOUT_S, nothing_ttl_s=_NOTHING_TTL_S, port=self._port
            )
            self._problem = None if found else f"no answer of {server}"
        except HttpError as error:
            self._problem = str(error)
        if not found:
            self._server += 1
            if self._server % len(servers) == 0:
                self._silent_until = now + _SILENCE_S
            return
        for address in due:
            answer = found.get(address)
            if answer is None:
                known = self._known.get(address)
                name, ttl_s = (known.name if known else None), _UNANSWERED_TTL_S
            else:
                name = clean(answer.name) if answer.name else None
                ttl_s = min(max(answer.ttl_s, _TTL_S_MIN), _TTL_S_MAX)
            self._known[address] = _Known(name, now + ttl_s)


def _has_name(address: str) -> bool:
    """Whether an address can be of one other machine."""
    try:
        one = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (one.is_loopback or one.is_multicast or one.is_unspecified or one.is_link_local)
