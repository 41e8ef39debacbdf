"""An app as thin as tests need it: takes frames over HTTP and keeps a mirror of each probe."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import h11
import msgspec

from probe.report import wire
from probe.report.errors import GapError
from probe.report.mirror import Mirror
from probe.report.wire import Frame, Kind


def all_told(mirrors: Iterable[Mirror]) -> str:
    """All that a report holds, for who looks for a text that must not be there."""
    told = [dict(mirror.nodes(one)) for mirror in mirrors for one in mirror.topologies()]
    return json.dumps(told, default=str, ensure_ascii=False)


@dataclass
class Receiver:
    """What came in. `answers` are given instead of the true ones, in order; 0 hangs up."""

    port: int = 0
    mirrors: dict[str, Mirror] = field(default_factory=dict[str, Mirror])
    frames: list[Frame] = field(default_factory=list[Frame])
    sizes: list[int] = field(default_factory=list[int])
    times: list[float] = field(default_factory=list[float])
    tokens: list[str | None] = field(default_factory=list[str | None])
    answers: list[int] = field(default_factory=list[int])
    context: ssl.SSLContext | None = None
    """TLS, and whom it asks for a certificate; None: plain HTTP."""
    clients: list[str] = field(default_factory=list[str])
    """Names in the certificates that were shown."""
    address: str = "127.0.0.1"
    retry_after_s: int | None = None
    """Said with every answer."""
    reply: bytes | None = None
    """Said instead of how far it has come."""
    listening: socket.socket | None = None
    """Taken for a socket, which may be of another network namespace, instead of one of its own."""
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        scheme = "http" if self.context is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def snapshots(self) -> int:
        return sum(frame.kind is Kind.SNAPSHOT for frame in self.frames)

    def nodes(self, topology: str) -> Mapping[str, Mapping[str, Any]]:
        """Nodes of the only probe."""
        mirror = next(iter(self.mirrors.values()), None)
        return {} if mirror is None else mirror.nodes(topology)

    async def start(self) -> None:
        place: dict[str, Any] = {"sock": self.listening}
        if self.listening is None:
            place = {"host": self.address, "port": self.port}
        self._server = await asyncio.start_server(self._serve, ssl=self.context, **place)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Go away; what was received stays."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown: dict[str, Any] | None = writer.get_extra_info("peercert")
        if shown:
            self.clients.append(dict(pair for (pair,) in shown["subject"])["commonName"])
        protocol = h11.Connection(h11.SERVER)
        with contextlib.suppress(OSError, h11.ProtocolError, asyncio.CancelledError):
            while self._server is not None and await self._one(protocol, reader, writer):
                protocol.start_next_cycle()
        writer.close()

    async def _one(
        self, protocol: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        body = b""
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                protocol.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                headers = dict(event.headers)
                token = headers.get(b"authorization")
                self.tokens.append(token.decode() if token else None)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        if self._server is None:
            return False
        status, answer = self._take(body)
        if not status:
            return False
        headers = [("Content-Length", str(len(answer)))]
        if self.retry_after_s is not None:
            headers.append(("Retry-After", str(self.retry_after_s)))
        response = h11.Response(status_code=status, headers=headers)
        for part in (response, h11.Data(data=answer), h11.EndOfMessage()):
            writer.write(protocol.send(part) or b"")
        await writer.drain()
        return True

    def _take(self, body: bytes) -> tuple[int, bytes]:
        if self.answers and (answer := self.answers.pop(0)) != 200:
            return answer, b"not now"
        frame = wire.decode(body)
        self.frames.append(frame)
        self.sizes.append(len(body))
        self.times.append(asyncio.get_running_loop().time())
        mirror = self.mirrors.setdefault(frame.probe, Mirror())
        try:
            mirror.apply(frame)
        except GapError:
            return 409, b""
        if self.reply is not None:
            return 200, self.reply
        return 200, msgspec.json.encode({"epoch": mirror.epoch, "seq": mirror.seq})


@contextlib.asynccontextmanager
async def receiving(
    port: int = 0,
    context: ssl.SSLContext | None = None,
    address: str = "127.0.0.1",
    listening: socket.socket | None = None,
) -> AsyncGenerator[Receiver]:
    """A receiver that runs."""
    receiver = Receiver(port, context=context, address=address, listening=listening)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
