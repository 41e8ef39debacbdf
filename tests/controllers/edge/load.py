"""Clients that keep their connections and count every request: whole, or broken and how.

A connection is used until its answer says that it ends, as RFC 9112 has it. A request counts as
broken when it gets another answer than 200, half of one, or none. None is repeated: a client that
tried again would hide what is looked for.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

_ANSWER_S_MAX = 30.0
# One in so many is a request that nobody may make twice.
_POST_EVERY = 10


@dataclass
class Count:
    """What came of all requests."""

    whole: int = 0
    by_instance: Counter[str] = field(default_factory=Counter[str])
    broken: list[str] = field(default_factory=list[str])
    connections: int = 0
    seconds: float = 0.0

    @property
    def sent(self) -> int:
        return self.whole + len(self.broken)


class Load:
    """Requests to `host` at a port of this machine, by several clients, until `stop`."""

    def __init__(self, port: int, host: str, *, clients: int = 16) -> None:
        self.count = Count()
        self._port = port
        self._host = host
        self._clients = clients
        self._stopping = False

    async def run(self, *, at_least: int) -> Count:
        """Send until `stop` was called and so many were sent."""
        started = time.monotonic()
        await asyncio.gather(*(self._client(at_least) for _ in range(self._clients)))
        self.count.seconds = time.monotonic() - started
        return self.count

    def stop(self) -> None:
        """Send no more than is owed."""
        self._stopping = True

    async def _client(self, at_least: int) -> None:
        streams = None
        while not (self._stopping and self.count.sent >= at_least):
            try:
                if streams is None:
                    streams = await asyncio.open_connection("127.0.0.1", self._port)
                    self.count.connections += 1
                async with asyncio.timeout(_ANSWER_S_MAX):
                    keeps = await self._request(*streams)
            except (OSError, EOFError, ValueError, TimeoutError) as error:
                self.count.broken.append(repr(error))
                keeps = False
            if not keeps and streams is not None:
                streams[1].close()
                streams = None
        if streams is not None:
            streams[1].close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Make a request; whether the connection may be used for another."""
        method = "POST" if self.count.sent % _POST_EVERY == 0 else "GET"
        writer.write(
            f"{method} / HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        status, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers["content-length"]))
        if status.split()[1] != "200":
            self.count.broken.append(f"{method}: {status}")
        else:
            self.count.whole += 1
            self.count.by_instance[body.decode()] += 1
        return headers.get("connection") != "close"
