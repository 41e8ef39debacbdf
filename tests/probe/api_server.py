"""An API server as thin as tests need it: list and watch, and every fault on demand.

Held to the real one by `tests/kubernetes`, which runs the same collector; this one says what a real
one says too seldom to wait for: that a version is gone, that it is too busy, nothing at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11

from tests.waiting import until

# Longer than any test that it keeps waiting.
_WAIT_S = 120.0
NAMESPACES = "/api/v1/namespaces"
_Objects = dict[str, dict[str, Any]]


@dataclass
class ApiServer:
    """Namespaces of a cluster, and whatever else it is given. `answers` are given instead of lists
    and watches, in order."""

    port: int = 0
    objects: _Objects = field(default_factory=_Objects)
    """Namespaces by name."""
    others: dict[str, _Objects] = field(default_factory=dict[str, _Objects])
    """Objects of other kinds, by the path of their list."""
    log: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    """Events of all kinds, each with the path of its list and the version that it made."""
    oldest: int = 0
    """Watches from an older version are refused."""
    answers: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    page: int = 2
    """Objects of a page, whatever is asked for."""
    lists: int = 0
    watches: int = 0
    tokens: list[str] = field(default_factory=list[str])
    is_silent: bool = False
    """Events are not told."""
    is_away: bool = False
    """Nothing is answered."""
    is_slow: bool = False
    """Lists are not answered."""
    lease: dict[str, Any] | None = None
    """The one that there is."""
    _is_over: bool = False
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    @property
    def version(self) -> int:
        return len(self.log) + 1

    def put(self, name: str, phase: str = "Active") -> None:
        kind = "MODIFIED" if name in self.objects else "ADDED"
        metadata = {"name": name, "uid": f"uid-{name}"}
        self.happen(kind, {"metadata": metadata, "status": {"phase": phase}})

    def remove(self, name: str) -> None:
        self.happen("DELETED", self.objects.pop(name))

    def bookmark(self) -> None:
        self.happen("BOOKMARK", {"kind": "Namespace", "metadata": {"creationTimestamp": None}})

    def forget(self) -> None:
        """Give up all versions before now, as a compaction does."""
        self.oldest = self.version

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def end(self) -> None:
        """Serve nobody any more."""
        self._is_over = True
        self._moved.set()
        self.cut()
        await until(lambda: not self._writers, "nobody is served")

    def happen(self, kind: str, found: dict[str, Any], path: str = NAMESPACES) -> None:
        """Something happens to an object of the list at a path."""
        version = str(self.version + 1)
        found = {**found, "metadata": {**found["metadata"], "resourceVersion": version}}
        if kind in {"ADDED", "MODIFIED"}:
            self._kept(path)[found["metadata"]["name"]] = found
        self.log.append((path, {"type": kind, "object": found}))
        self._moved.set()
        self._moved = asyncio.Event()

    def _kept(self, path: str) -> _Objects:
        return self.objects if path == NAMESPACES else self.others.setdefault(path, {})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        protocol = h11.Connection(h11.SERVER)
        with contextlib.suppress(OSError, h11.ProtocolError):
            while await self._one(protocol, reader, writer):
                protocol.start_next_cycle()
        self._writers.discard(writer)
        writer.close()

    def _waits(self, is_lease: bool) -> bool:
        return self.is_away or (self.is_slow and not is_lease)

    async def _read(
        self, protocol: h11.Connection, reader: asyncio.StreamReader
    ) -> tuple[str, str, bytes] | None:
        """Target, method and body of the next request; None when there is none."""
        target, method, told = "", "", b""
        while not isinstance(event := protocol.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                protocol.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                target, method = event.target.decode(), event.method.decode()
                token = dict(event.headers).get(b"authorization", b"")
                self.tokens.append(token.decode())
            elif isinstance(event, h11.Data):
                told += event.data
            elif isinstance(event, h11.ConnectionClosed):
                return None
        return target, method, told

    async def _one(
        self, protocol: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        request = await self._read(protocol, reader)
        if request is None:
            return False
        target, method, told = request

        async def send(*parts: h11.Event) -> None:
            for part in parts:
                writer.write(protocol.send(part) or b"")
            await writer.drain()

        asked = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        is_lease = "/leases" in target
        await until(lambda: self._is_over or not self._waits(is_lease), "it answers", _WAIT_S)
        if is_lease:
            status, body = self._elect(method, told)
        elif self.answers:
            status, body = self.answers.pop(0)
        elif "watch" in asked:
            self.watches += 1
            path = urlsplit(target).path
            await self._watch(path, int(asked["resourceVersion"]), send)
            return True
        else:
            status, body = 200, self._list(urlsplit(target).path, asked)
        headers = [("Content-Length", str(len(body)))]
        response = h11.Response(status_code=status, headers=headers)
        await send(response, h11.Data(data=body), h11.EndOfMessage())
        return True

    def _elect(self, method: str, told: bytes) -> tuple[int, bytes]:
        """Keep a lease, for who has read its last version."""
        if method == "GET":
            return (200 if self.lease else 404), json.dumps(self.lease or {}).encode()
        asked = json.loads(told)
        before = self.lease or {"metadata": {"resourceVersion": "0"}, "spec": {}}
        version = before["metadata"]["resourceVersion"]
        if asked["metadata"].get("resourceVersion", "0") != version:
            return 409, b"{}"
        metadata = {"name": "probe", "resourceVersion": str(int(version) + 1)}
        self.lease = {"metadata": metadata, "spec": {**before["spec"], **asked["spec"]}}
        return 200, json.dumps(self.lease).encode()

    def _list(self, path: str, asked: dict[str, str]) -> bytes:
        if path == "/version":
            return b'{"gitVersion": "v1.36.2"}'
        begin = int(asked.get("continue", "0"))
        self.lists += begin == 0
        kept = self._kept(path)
        found = list(kept.values())[begin : begin + self.page]
        metadata = {"resourceVersion": str(self.version)}
        if begin + self.page < len(kept):
            metadata["continue"] = str(begin + self.page)
        return json.dumps({"kind": "List", "metadata": metadata, "items": found}).encode()

    async def _watch(self, path: str, version: int, send: Any) -> None:
        await send(h11.Response(status_code=200, headers=[("Transfer-Encoding", "chunked")]))
        if version < self.oldest:
            told = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            await send(*_line({"type": "ERROR", "object": told}), h11.EndOfMessage())
            return
        at = version - 1
        while not self._is_over:
            moved = self._moved
            while at < len(self.log) and not self.is_silent:
                of, event = self.log[at]
                if of == path:
                    await send(*_line(event))
                at += 1
            await moved.wait()


def _line(event: dict[str, Any]) -> list[h11.Data]:
    """An event in two pieces, as networks cut them."""
    data = json.dumps(event).encode() + b"\n"
    return [h11.Data(data=data[:20]), h11.Data(data=data[20:])]


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncGenerator[ApiServer]:
    """A server on loopback; without TLS where no context is given."""
    server = ApiServer()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await server.end()
