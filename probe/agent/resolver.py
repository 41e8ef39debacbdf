"""Asks a DNS server for the names of addresses, many at a time, without ever blocking.

The C library's resolver would hold a thread for each question, for as long as the server likes, and
tell no TTL. One socket is made for each batch: its port and the numbers of questions are random, so
that nobody can answer who has not seen them.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from probe.agent import dns
from probe.agent.dns import Answer
from probe.agent.errors import AnswerError, UnreachableError
from probe.agent.files import read_or_empty

PORT = 53
_SERVERS_MAX = 3
_HOSTS_BYTES_MAX = 1024 * 1024


@dataclass
class _Asked(asyncio.DatagramProtocol):
    """Questions that wait for their answers, by their numbers."""

    waiting: dict[int, tuple[str, str]]
    nothing_ttl_s: int
    all_answered: asyncio.Event = field(default_factory=asyncio.Event)
    found: dict[str, Answer] = field(default_factory=dict[str, Answer])
    failures: int = 0

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Take an answer; one that is none is passed over: another may still come."""
        del addr
        number = dns.number(data)
        if number is None or number not in self.waiting:
            return
        address, name = self.waiting[number]
        try:
            self.found[address] = dns.answer(data, name, nothing_ttl_s=self.nothing_ttl_s)
        except AnswerError:
            self.failures += 1
            return
        del self.waiting[number]
        if not self.waiting:
            self.all_answered.set()

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there: no answer will come."""
        del exc
        self.all_answered.set()


async def ask(
    server: str,
    addresses: Sequence[str],
    *,
    timeout_s: float,
    nothing_ttl_s: int,
    port: int = PORT,
) -> Mapping[str, Answer]:
    """Names of addresses, of those that were answered for in time.

    Raises:
        UnreachableError: the server cannot be asked.
    """
    waiting: dict[int, tuple[str, str]] = {}
    for address in addresses:
        number = secrets.randbelow(1 << 16)
        while number in waiting:
            number = secrets.randbelow(1 << 16)
        waiting[number] = (address, dns.reverse(address))
    asked = _Asked(waiting, nothing_ttl_s)
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: asked, remote_addr=(server, port)
        )
    except OSError as error:
        msg = f"expected to reach the DNS server {server}, saw: {error.strerror or error}"
        raise UnreachableError(msg) from None
    try:
        for number, (_, name) in list(waiting.items()):
            transport.sendto(dns.question(number, name))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asked.all_answered.wait()
    finally:
        transport.close()
    return asked.found


def servers(etc: str) -> list[str]:
    """The DNS servers that `resolv.conf` names."""
    lines = read_or_empty(f"{etc}/resolv.conf").decode("utf-8", "replace").splitlines()
    words = [line.split() for line in lines if line.lstrip().startswith("nameserver")]
    return [found[1] for found in words if len(found) > 1][:_SERVERS_MAX]


class Hosts:
    """Names of `hosts`, read again when it has changed."""

    def __init__(self, etc: str) -> None:
        self._path = Path(etc) / "hosts"
        self._version: tuple[int, int] | None = None
        self.names: dict[str, str] = {}

    def look(self) -> None:
        """Read what has changed."""
        try:
            about = self._path.stat()
        except OSError:
            self._version, self.names = None, {}
            return
        version = (about.st_mtime_ns, about.st_size)
        if version == self._version:
            return
        self._version = version
        text = read_or_empty(str(self._path), _HOSTS_BYTES_MAX).decode("utf-8", "replace")
        found: dict[str, str] = {}
        for line in text.splitlines():
            words = line.partition("#")[0].split()
            if len(words) > 1:
                found.setdefault(words[0], words[1])
        self.names = found
