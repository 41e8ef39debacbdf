"""A master that answers at once and does nothing: what is left is the scheduler client's own time.

It offers what was asked for, says of every task that it runs, and accepts every call; it keeps
nothing. A process of its own, so that its time is not the client's.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

_ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
_STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nMesos-Stream-Id: s\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_OFFERS_AT_ONCE = 50
Json = dict[str, Any]


def _record(event: Json) -> bytes:
    body = json.dumps(event, separators=(",", ":")).encode()
    return b"%d\n%s" % (len(body), body)


def _offer(number: int, cpus: float) -> Json:
    amounts = {"cpus": cpus, "mem": 1024.0 * cpus}
    return {
        "id": {"value": f"o{number}"},
        "framework_id": {"value": "f"},
        "agent_id": {"value": f"S{number}"},
        "hostname": f"h{number}",
        "allocation_info": {"role": "*"},
        "resources": [
            {"name": name, "type": "SCALAR", "scalar": {"value": value}, "role": "*"}
            for name, value in amounts.items()
        ],
    }


class _Instant(asyncio.Protocol):
    """One connection of the client; the stream is shared by all."""

    stream: asyncio.Transport | None = None
    port = 0
    offers = 0
    cpus = 0.0

    def __init__(self) -> None:
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._data[:end]).lower()
            length = head.partition(b"content-length:")[2].split()
            size = int(length[0]) if length else 0
            if len(self._data) < end + 4 + size:
                return
            body = bytes(self._data[end + 4 : end + 4 + size])
            del self._data[: end + 4 + size]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        kind = type(self)
        if head.startswith(b"get "):
            where = b"Location: //127.0.0.1:%d\r\n" % kind.port
            self._transport.write(
                b"HTTP/1.1 307 Temporary Redirect\r\n" + where + b"Content-Length: 0\r\n\r\n"
            )
        elif b'"SUBSCRIBE"' in body:
            self._transport.write(_STREAM)
            kind.stream = self._transport
            told = {"framework_id": {"value": "f"}, "heartbeat_interval_seconds": 60.0}
            records = [_record({"type": "SUBSCRIBED", "subscribed": told})]
            for start in range(0, kind.offers, _OFFERS_AT_ONCE):
                last = min(start + _OFFERS_AT_ONCE, kind.offers)
                offers = [_offer(number, kind.cpus) for number in range(start, last)]
                records.append(_record({"type": "OFFERS", "offers": {"offers": offers}}))
            self._send(records)
        else:
            self._transport.write(_ACCEPTED)
            if body.startswith(b'{"type":"ACCEPT"'):
                self._run(json.loads(body)["accept"])

    def _run(self, accept: Json) -> None:
        infos: list[Json] = accept["operations"][0]["launch"]["task_infos"]
        self._send(
            [
                _record(
                    {
                        "type": "UPDATE",
                        "update": {
                            "status": {
                                "task_id": info["task_id"],
                                "agent_id": info["agent_id"],
                                "state": "TASK_RUNNING",
                                "source": "SOURCE_EXECUTOR",
                                "uuid": "AAAAAAAAAAAAAAAAAAAAAA==",
                                "timestamp": 1.0,
                            }
                        },
                    }
                )
                for info in infos
            ]
        )

    def _send(self, records: list[bytes]) -> None:
        stream = type(self).stream
        if stream is not None:
            whole = b"".join(records)
            stream.write(b"%x\r\n%s\r\n" % (len(whole), whole))


def _serve(offers: int, cpus: float, told: Connection) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Instant, "127.0.0.1", 0)
        _Instant.port = server.sockets[0].getsockname()[1]
        _Instant.offers, _Instant.cpus = offers, cpus
        told.send(_Instant.port)
        await server.serve_forever()

    asyncio.run(work())


@contextmanager
def instant_master(*, offers: int, cpus: float) -> Generator[str]:
    """Start one that makes so many offers; gives its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(offers, cpus, theirs), daemon=True)
    process.start()
    try:
        yield f"127.0.0.1:{int(ours.recv())}"
    finally:
        process.terminate()
        process.join()
