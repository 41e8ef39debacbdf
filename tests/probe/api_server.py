"""An API server as thin as tests need it: one kind, list and watch, and every fault on demand.

Held to the real one by `tests/kubernetes`, which runs the same collector; this one says what a real
one says too seldom to wait for: that a version is gone, that it is too busy, nothing at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11


@dataclass
class ApiServer:
    """Namespaces of a cluster. `answers` are given instead of lists and watches, in order."""

    port: int = 0
    objects: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    log: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Events, each with the version that it made."""
    oldest: int = 0
    """Watches from an older version are refused."""
    answers: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    page: int = 2
    lists: int = 0
    watches: int = 0
    tokens: list[str] = field(default_factory=list[str])
    is_silent: bool = False
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    @property
    def version(self) -> int:
        return len(self.log) + 1

    def put(self, name: str, phase: str = "Active") -> None:
        kind = "MODIFIED" if name in self.objects else "ADDED"
        metadata = {"name": name, "uid": f"uid-{name}"}
        self._happen(kind, {"metadata": metadata, "status": {"phase": phase}})

    def remove(self, name: str) -> None:
        self._happen("DELETED", self.objects.pop(name))

    def bookmark(self) -> None:
        self._happen("BOOKMARK", {"kind": "Namespace", "metadata": {"creationTimestamp": None}})

    def forget(self) -> None:
        """Give up all versions before now, as a compaction does."""
        self.oldest = self.version

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _happen(self, kind: str, found: dict[str, Any]) -> None:
        version = str(self.version + 1)
        found = {**found, "metadata": {**found["metadata"], "resourceVersion": version}}
        if kind in {"ADDED", "MODIFIED"}:
            self.objects[found["metadata"]["name"]] = found
        self.log.append({"type": kind, "object": found})
        self._moved.set()
        self._moved = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        protocol = h11.Connection(h11.SERVER)
        with contextlib.suppress(OSError, h11.ProtocolError):
            while await self._one(protocol, reader, writer):
                protocol.start_next_cycle()
        self._writers.discard(writer)
        writer.close()

    async def _one(
        self, protocol: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        target = ""
        while not isinstance(event := protocol.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                protocol.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                target = event.target.decode()
                token = dict(event.headers).get(b"authorization", b"")
                self.tokens.append(token.decode())
            elif isinstance(event, h11.ConnectionClosed):
                return False

        async def send(*parts: h11.Event) -> None:
            for part in parts:
                writer.write(protocol.send(part) or b"")
            await writer.drain()

        asked = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        if self.answers:
            status, body = self.answers.pop(0)
        elif "watch" in asked:
            self.watches += 1
            await self._watch(int(asked["resourceVersion"]), send)
            return True
        else:
            status, body = 200, self._list(urlsplit(target).path, asked)
        headers = [("Content-Length", str(len(body)))]
        response = h11.Response(status_code=status, headers=headers)
        await send(response, h11.Data(data=body), h11.EndOfMessage())
        return True

    def _list(self, path: str, asked: dict[str, str]) -> bytes:
        if path == "/version":
            return b'{"gitVersion": "v1.36.2"}'
        begin = int(asked.get("continue", "0"))
        self.lists += begin == 0
        found = list(self.objects.values())[begin : begin + self.page]
        metadata = {"resourceVersion": str(self.version)}
        if begin + self.page < len(self.objects):
            metadata["continue"] = str(begin + self.page)
        return json.dumps({"kind": "List", "metadata": metadata, "items": found}).encode()

    async def _watch(self, version: int, send: Any) -> None:
        await send(h11.Response(status_code=200, headers=[("Transfer-Encoding", "chunked")]))
        if version < self.oldest:
            told = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            await send(*_line({"type": "ERROR", "object": told}), h11.EndOfMessage())
            return
        at = version - 1
        while True:
            moved = self._moved
            while at < len(self.log) and not self.is_silent:
                await send(*_line(self.log[at]))
                at += 1
            await moved.wait()


def _line(event: dict[str, Any]) -> list[h11.Data]:
    """An event in two pieces, as networks cut them."""
    data = json.dumps(event).encode() + b"\n"
    return [h11.Data(data=data[:20]), h11.Data(data=data[20:])]


@contextlib.asynccontextmanager
async def serving() -> AsyncGenerator[ApiServer]:
    """A server on loopback, without TLS."""
    server = ApiServer()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        server.cut()
