"""The network between clients and servers: bytes take a moment, and arrive in order or not at all.

A host is called `<server>.<who>`: who connects is part of the name, so that everything that one
incarnation of an engine sends can be told from what others send, and can be made to end with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tests.sync_engine.memory.door import Door
from tests.sync_engine.memory.ensemble import Ensemble, Server
from tests.sync_engine.memory.loop import VirtualLoop

PORT = 2181
_STEP_S = 1e-6


class Network:
    """Connections of all clients to all servers."""

    def __init__(self, loop: VirtualLoop, ensembles: Sequence[Ensemble]) -> None:
        self.loop = loop
        self.servers = {server.name: server for e in ensembles for server in e.servers}
        self.ends: list[End] = []
        self.delay_max_s = 0.002
        self.dead: set[str] = set()
        self.paused: set[str] = set()
        self.on_send: Callable[[str], None] = lambda _: None
        """Told of who is about to send, before it does."""
        loop.network = self

    def delay_s(self) -> float:
        """How long something is under way."""
        return self.loop.chance.uniform(_STEP_S, self.delay_max_s)

    async def connect(self, protocol: asyncio.Protocol, host: str, port: int) -> tuple[Any, Any]:
        """A new connection.

        Raises:
            ConnectionRefusedError: nobody listens.
        """
        del port
        await asyncio.sleep(self.delay_s())
        name, _, who = host.partition(".")
        server = self.servers[name]
        if not server.is_up or who in self.dead | self.paused:
            msg = f"nobody listens at {host}"
            raise ConnectionRefusedError(msg)
        end = End(self, protocol, server, who)
        protocol.connection_made(end)
        return end, protocol

    def of(self, who: str) -> list[End]:
        """Somebody's open connections."""
        return [end for end in self.ends if end.who == who]

    def pause(self, who: str) -> None:
        """Hold back whatever somebody sends and is sent, as `kill -STOP` does."""
        self.paused.add(who)

    def resume(self, who: str) -> None:
        """Let what was held back go on, in its order."""
        self.paused.discard(who)
        for end in self.of(who):
            end.resume()

    def kill(self, who: str) -> None:
        """End a process as `kill -9` does: it sends nothing any more, and hears nothing."""
        self.dead.add(who)
        for end in self.of(who):
            end.kill()

    def cut(self, who: str, server: Server | None = None) -> None:
        """Break somebody's connections to one server, or to all."""
        for end in self.of(who):
            if server is None or end.door.server is server:
                end.door.cut()


class End(asyncio.Transport):
    """The client's end of a connection."""

    def __init__(
        self, network: Network, protocol: asyncio.Protocol, server: Server, who: str
    ) -> None:
        super().__init__()
        self.who = who
        self._network = network
        self._loop = network.loop
        self._protocol = protocol
        self._up_at = self._down_at = 0.0
        self._is_open = True
        self._is_killed = False
        self._held: list[Callable[[], None]] = []
        self.door = Door(server, self)
        network.ends.append(self)

    def delay_s(self) -> float:
        """How long something is under way."""
        return self._network.delay_s()

    # For the client

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._is_open or self._is_killed:
            return
        self._network.on_send(self.who)
        if self._is_killed:
            return
        if self.who in self._network.paused:
            self._held.append(lambda: self._send(bytes(data)))
        else:
            self._send(bytes(data))

    def _send(self, data: bytes) -> None:
        self._up_at = max(self._up_at + _STEP_S, self._loop.time() + self.delay_s())
        self._loop.call_at(self._up_at, self.door.feed, data)

    def abort(self) -> None:
        self._gone(None)
        self.door.close()

    def close(self) -> None:
        self.abort()

    def is_closing(self) -> bool:
        return not self._is_open

    # For the server

    def deliver(self, data: bytes, heard: Callable[[], None] | None = None) -> None:
        """Send to the client; `heard` is called once it has it."""
        self._down_at = max(self._down_at + _STEP_S, self._loop.time() + self.delay_s())
        self._loop.call_at(self._down_at, self._receive, data, heard)

    def break_off(self) -> None:
        """Let the client find the connection broken."""
        self._loop.call_later(self.delay_s(), self._gone, ConnectionResetError("cut"))

    def finish(self) -> None:
        """Close behind what is under way to the client."""
        self._down_at = max(self._down_at, self._loop.time()) + _STEP_S
        self._loop.call_at(self._down_at, self._gone, None)

    def kill(self) -> None:
        """The client's process is gone; its server hears of it a moment later."""
        self._is_killed = True
        self._loop.call_later(self.delay_s(), self.door.close)

    def resume(self) -> None:
        """Let go of what was held back."""
        held, self._held = self._held, []
        for act in held:
            act()

    def _receive(self, data: bytes, heard: Callable[[], None] | None) -> None:
        if self.who in self._network.paused:
            self._held.append(lambda: self._receive(data, heard))
        elif self._is_open and not self._is_killed:
            if heard is not None:
                heard()
            self._protocol.data_received(data)

    def _gone(self, error: Exception | None) -> None:
        if not self._is_open:
            return
        self._is_open = False
        if self in self._network.ends:
            self._network.ends.remove(self)
        self._loop.call_soon(self._protocol.connection_lost, error)
