"""Fixtures of the sync engine: real ZooKeeper servers, once a session."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from sync_engine.lane import Lane
from sync_engine.znode import WORLD_ALL
from tests.sync_engine.bench import Bench, MemoryBench, ServerBench
from tests.sync_engine.memory.stage import Stage
from tests.sync_engine.memory.world import World
from tests.sync_engine.servers import AUTH, Ensemble, Server, start_all


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two ensembles in memory, and no engine yet."""
    made = World(1, tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def stage(world: World) -> Stage:
    """The same with a client on each side."""
    return Stage(world)


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Hosts string of one standalone server."""
    server = Server(tmp_path_factory.mktemp("zookeeper"))
    with start_all(server):
        yield server.hosts


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two standalone servers, side a and side b."""
    a, b = (Server(tmp_path_factory.mktemp(name)) for name in ("side-a", "side-b"))
    with start_all(a, b):
        yield a, b


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """One ensemble of three servers; half as dear as two."""
    made = Ensemble(tmp_path_factory.mktemp("ensemble-a"), 3)
    with start_all(*made.servers):
        yield made


@pytest.fixture(scope="session")
def ensembles(
    ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ensemble, Ensemble]]:
    """Two ensembles of three servers, side a and side b."""
    b = Ensemble(tmp_path_factory.mktemp("ensemble-b"), 3)
    with start_all(*b.servers):
        yield ensemble, b


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A standalone server of this test alone, which may kill it."""
    server = Server(tmp_path)
    with start_all(server):
        yield server


@pytest.fixture(params=["memory", "zookeeper"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "zookeeper":
        yield ServerBench(request.getfixturevalue("zookeeper"))
        return
    made = MemoryBench()
    try:
        yield made
    finally:
        made.loop.discard()


@pytest_asyncio.fixture
async def lane(zookeeper: str) -> AsyncIterator[Lane]:
    """A super user's lane to `zookeeper`."""
    made = Lane(zookeeper, AUTH, session_timeout_s=5)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


@pytest_asyncio.fixture
async def root(lane: Lane) -> str:
    """A path of this test alone, which is there."""
    path = f"/test-{uuid.uuid4().hex[:8]}"
    await lane.create(path, None, WORLD_ALL)
    return path


@pytest_asyncio.fixture(autouse=True)
async def _no_task_is_left() -> AsyncIterator[None]:
    yield
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, f"a test left tasks behind: {left}"
