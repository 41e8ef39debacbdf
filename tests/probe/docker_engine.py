"""A Docker engine of one's own: its API on a UNIX socket, containers that are whatever tests say.

Answers what a probe asks (version, list, inspect, images, events), in the shape that a real engine
of API 1.50 gives. Processes and cgroups behind the containers are the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11


def container(
    id_: str,
    *,
    pid: int = 0,
    name: str = "c",
    image: str = "nginx:1.27",
    labels: dict[str, str] | None = None,
    args: list[str] | None = None,
    env: list[str] | None = None,
    address: str = "",
    network: str = "bridge",
    health: str | None = None,
) -> dict[str, Any]:
    """A container as the engine inspects it."""
    state: dict[str, Any] = {
        "Status": "running" if pid else "exited",
        "Running": bool(pid),
        "Pid": pid,
        "ExitCode": 0,
        "StartedAt": "2026-01-22T11:35:53.901949748Z",
    }
    if health is not None:
        state["Health"] = {"Status": health, "Log": []}
    return {
        "Id": id_,
        "Name": f"/{name}",
        "Created": "2026-01-22T11:35:50.1Z",
        "Path": "/docker-entrypoint.sh",
        "Args": args or ["nginx", "-g", "daemon off;"],
        "Image": "sha256:" + "1" * 64,
        "RestartCount": 0,
        "State": state,
        "Config": {
            "Hostname": id_[:12],
            "Image": image,
            "Labels": labels or {},
            "Env": env or None,
        },
        "HostConfig": {"NetworkMode": network, "NanoCpus": 0, "Memory": 0},
        "NetworkSettings": {
            "Networks": {network: {"IPAddress": address, "GlobalIPv6Address": ""}},
            "Ports": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "443/tcp": None},
        },
    }


IMAGE = {"Id": "sha256:" + "1" * 64, "RepoTags": ["nginx:1.27"], "Size": 70_000_000}


@dataclass
class FakeEngine:
    """The engine. `hangs`: requests are never answered. `broken`: containers whose inspection is
    answered with a status, or, with none, never."""

    socket: Path
    containers: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    images: list[dict[str, Any]] = field(default_factory=lambda: [IMAGE])
    hangs: bool = False
    images_hang: bool = False
    broken: dict[str, int | None] = field(default_factory=dict[str, int | None])
    requests: int = 0
    _listeners: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])
    _server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"unix://{self.socket}"

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.socket))

    async def stop(self) -> None:
        """Go away, as a restarted engine does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._listeners):
            writer.close()
        self._listeners.clear()
        self.socket.unlink(missing_ok=True)

    def put(self, one: dict[str, Any], action: str = "start") -> None:
        """Add or change a container and tell of it."""
        self.containers[one["Id"]] = one
        self.tell(action, one["Id"])

    def remove(self, id_: str) -> None:
        """Take a container away and tell of it."""
        self.containers.pop(id_, None)
        self.tell("destroy", id_)

    def tell(self, action: str, id_: str, kind: str = "container", **attributes: str) -> None:
        """Send an event."""
        event: dict[str, Any] = {
            "Type": kind,
            "Action": action,
            "Actor": {"ID": id_, "Attributes": attributes},
        }
        line = json.dumps(event).encode() + b"\n"
        for writer in self._listeners:
            writer.write(b"%x\r\n%s\r\n" % (len(line), line))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = h11.Connection(h11.SERVER)
        with contextlib.suppress(OSError, h11.ProtocolError, asyncio.CancelledError):
            while await self._one(protocol, reader, writer):
                protocol.start_next_cycle()
        self._listeners.discard(writer)
        writer.close()

    async def _one(
        self, protocol: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        path = ""
        while True:
            event = protocol.next_event()
            if event is h11.NEED_DATA:
                protocol.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                path = event.target.decode()
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                return False
        self.requests += 1
        is_images = path.startswith("/images") and self.images_hang
        if self.hangs or is_images or self.broken.get(_id_in(path), 0) is None:
            await reader.read()
            return False
        if path.startswith("/events"):
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._listeners.add(writer)
            await reader.read()
            return False
        status, found = self._answer(path.partition("?")[0])
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        response = h11.Response(status_code=status, headers=[("Content-Length", str(len(body)))])
        for part in (response, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(protocol.send(part) or b"")
        await writer.drain()
        return True

    def _answer(self, path: str) -> tuple[int, Any]:
        if path == "/version":
            return 200, {"Version": "28.2.2", "ApiVersion": "1.50"}
        if path == "/images/json":
            return 200, self.images
        if path == "/containers/json":
            return 200, [_listed(one) for one in self.containers.values()]
        if path == "/_ping":
            return 200, b"OK"
        id_ = _id_in(path)
        if (status := self.broken.get(id_)) is not None:
            return status, {"message": "layer does not exist"}
        found = self.containers.get(id_)
        return (404, {"message": "no such container"}) if found is None else (200, found)


def _id_in(path: str) -> str:
    return path.removeprefix("/containers/").removesuffix("/json")


def _listed(one: dict[str, Any]) -> dict[str, Any]:
    image, state = one["Config"]["Image"], one["State"]["Status"]
    return {"Id": one["Id"], "Names": [one["Name"]], "Image": image, "State": state}


@contextlib.asynccontextmanager
async def serving(socket: Path) -> AsyncGenerator[FakeEngine]:
    """An engine that runs."""
    engine = FakeEngine(socket)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()
