"""A way to a server that can be cut: what is sent while it is cut waits, as in a partition.

Nobody is told: connections stay open and silent, new ones are taken and never answered, until the
way is healed or the other end gives up. Small on purpose: one cut, both directions, no jitter.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

from sync_engine.hosts import parse_hosts

_CHUNK_BYTES = 256 * 1024


class Partition:
    """Ways to all servers of an ensemble."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._under_way: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Let nothing through."""
        self._open.clear()

    def heal(self) -> None:
        """Let everything through again, what has waited first."""
        self._open.set()

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Listen for one server."""

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._under_way.add(task)
            try:
                await self._carry(reader, writer, host, port)
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
        await self._open.wait()
        try:
            there = await asyncio.open_connection(host, port)
        except OSError:
            return
        try:
            # The end of one direction is that of both: no client here closes one alone.
            ways = [
                asyncio.create_task(self._pump(reader, there[1])),
                asyncio.create_task(self._pump(there[0], writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            there[1].close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        await self._open.wait()


@contextlib.asynccontextmanager
async def between(hosts: str) -> AsyncGenerator[tuple[Partition, str]]:
    """A partition before some servers, and the addresses to use in place of theirs."""
    partition = Partition()
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
