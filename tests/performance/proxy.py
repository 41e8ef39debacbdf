"""A way to a server that can be cut or slowed down: what is sent while it is cut waits, as in a
partition.

Nobody is told: connections stay open and silent, new ones are taken and never answered, until the
way is healed or the other end gives up. One direction can be cut alone. A delay holds up all that
has come meanwhile, so it is a round trip's latency and no bound on what gets through.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Collection, Sequence
from enum import StrEnum

from sync_engine.hosts import parse_hosts

_CHUNK_BYTES = 256 * 1024


class Flow(StrEnum):
    """A direction: to the servers, or from them."""

    REQUESTS = "requests"
    ANSWERS = "answers"


class Partition:
    """Ways to all servers of an ensemble."""

    def __init__(self, chance: random.Random | None = None) -> None:
        """`chance` decides how long each delay is; only ways that are delayed need it."""
        self._open = {flow: asyncio.Event() for flow in Flow}
        self._under_way: set[asyncio.Task[None]] = set()
        self._chance = chance or random.Random(0)  # noqa: S311 - repeatable, not secret
        self._delays_s = (0.0, 0.0)
        self.heal()

    def cut(self, flows: Collection[Flow] = tuple(Flow)) -> None:
        """Let nothing through, in these directions."""
        for flow in flows:
            self._open[flow].clear()

    def delay(self, min_s: float, max_s: float) -> None:
        """Hold up everything, in each direction, by a time between two bounds."""
        self._delays_s = (min_s, max_s)

    def heal(self) -> None:
        """Let everything through again at once, what has waited first."""
        self._delays_s = (0.0, 0.0)
        for event in self._open.values():
            event.set()

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Listen for one server."""

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._under_way.add(task)
            try:
                await self._carry(reader, writer, host, port)
            except asyncio.CancelledError:
                # By `end` alone; the server that called this would report it as a failure.
                pass
            finally:
                self._under_way.discard(task)
                writer.close()

        return await asyncio.start_server(take, "127.0.0.1", 0)

    async def end(self) -> None:
        """Close what is under way."""
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        await self._open[Flow.REQUESTS].wait()
        try:
            there = await asyncio.open_connection(host, port)
        except OSError:
            return
        try:
            # The end of one direction is that of both: no client here closes one alone.
            ways = [
                asyncio.create_task(self._pump(Flow.REQUESTS, reader, there[1])),
                asyncio.create_task(self._pump(Flow.ANSWERS, there[0], writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            there[1].close()

    async def _pump(
        self, flow: Flow, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                await self._pass(flow)
                writer.write(data)
                await writer.drain()
        await self._pass(flow)

    async def _pass(self, flow: Flow) -> None:
        if self._delays_s[1]:
            await asyncio.sleep(self._chance.uniform(*self._delays_s))
        await self._open[flow].wait()


@contextlib.asynccontextmanager
async def between(
    hosts: str, chance: random.Random | None = None
) -> AsyncGenerator[tuple[Partition, str]]:
    """A partition before some servers, and the addresses to use in place of theirs."""
    partition = Partition(chance)
    servers: list[asyncio.Server] = []
    try:
        for host, port in parse_hosts(hosts):
            servers.append(await partition.serve(host, port))
        yield partition, ",".join(f"127.0.0.1:{_port(server)}" for server in servers)
    finally:
        for server in servers:
            server.close()
        await partition.end()


def _port(server: asyncio.Server) -> int:
    name: Sequence[object] = server.sockets[0].getsockname()
    return int(str(name[1]))
