"""Servers of either kind, real or in memory, and sessions to them, for tests that hold both."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

import pytest

from sync_engine import wire
from sync_engine.errors import (
    ZkError,
)
from sync_engine.lane import Lane
from sync_engine.session import SavedSession
from sync_engine.watch import EventKind, WatchEvent, WatchSession
from sync_engine.wire import Create, OpCode
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.memory.ensemble import Ensemble
from tests.sync_engine.memory.loop import VirtualLoop
from tests.sync_engine.memory.network import Network
from tests.sync_engine.servers import AUTH, expire
from tests.waiting import until

CREATED, CHANGED, DELETED = EventKind.CREATED, EventKind.CHANGED, EventKind.DELETED
SEQUENTIAL = 2
T = TypeVar("T")


class Bench:
    """Servers of one kind, and sessions to them."""

    hosts: str

    def __init__(self) -> None:
        self.root = f"/contract-{uuid.uuid4().hex[:8]}"

    def run(self, scenario: Callable[[Bench, Lane], Awaitable[None]]) -> None:
        """Run a scenario with a super user's lane, and a root of its own that is there."""
        asyncio.run(self._run(scenario))

    async def _run(self, scenario: Callable[[Bench, Lane], Awaitable[None]]) -> None:
        async with self.lane() as lane:
            await lane.create(self.root, None, WORLD_ALL)
            await scenario(self, lane)

    @contextlib.asynccontextmanager
    async def lane(
        self, auth: Sequence[tuple[str, bytes]] = AUTH, saved: SavedSession | None = None
    ) -> AsyncGenerator[Lane]:
        """Another session."""
        lane = Lane(self.hosts, auth, session_timeout_s=5, saved=saved)
        await lane.start()
        try:
            yield lane
        finally:
            await lane.close()

    @contextlib.asynccontextmanager
    async def watch(
        self, path: str, auth: Sequence[tuple[str, bytes]] = AUTH
    ) -> AsyncGenerator[Watched]:
        """A watch session on a path."""
        watched = Watched(self.hosts, auth)
        await watched.session.start()
        try:
            await watched.session.add(path)
            yield watched
        finally:
            await watched.session.stop()

    async def expire(self, session: SavedSession) -> int:
        """End somebody else's session; returns how many disconnections they see at most."""
        return await expire(self.hosts, session)


class Watched:
    """A watch session and what it said."""

    def __init__(self, hosts: str, auth: Sequence[tuple[str, bytes]]) -> None:
        self.events: list[WatchEvent] = []
        self.gaps = 0
        self.session = WatchSession(
            hosts,
            auth,
            session_timeout_s=5,
            on_event=self.events.append,
            on_gap=self._on_gap,
        )

    def _on_gap(self) -> None:
        self.gaps += 1

    async def seen(self, count: int) -> list[tuple[EventKind, str]]:
        """The events, once there are so many."""
        await until(lambda: len(self.events) >= count, f"{count} events")
        return [(event.kind, event.path) for event in self.events]


class MemoryBench(Bench):
    """An ensemble in memory, in virtual time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop(1)
        self.ensemble = Ensemble("m", self.loop)
        Network(self.loop, [self.ensemble])
        self.hosts = ",".join(f"{server.name}.me" for server in self.ensemble.servers)

    def run(self, scenario: Callable[[Bench, Lane], Awaitable[None]]) -> None:
        self.loop.run(self._run(scenario))

    async def _run(self, scenario: Callable[[Bench, Lane], Awaitable[None]]) -> None:
        await super()._run(scenario)


class ServerBench(Bench):
    """A real server."""

    def __init__(self, hosts: str) -> None:
        super().__init__()
        self.hosts = hosts


async def refused(work: Awaitable[object]) -> type[ZkError]:
    """The kind of error that something ends in."""
    with pytest.raises(ZkError) as caught:
        await work
    return type(caught.value)


async def create_sequential(lane: Lane, path: str) -> str:
    """The path that a server gives a sequential znode."""
    body = wire.create_body(Create(path, b"", WORLD_ALL))[:-4] + struct.pack(">i", SEQUENTIAL)

    def read(raw: bytes, at: int, _end: int) -> str:
        return wire.read_string(raw, at)[0]

    return await lane.submit(OpCode.CREATE2, body, read, path)
