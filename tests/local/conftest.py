"""Fixtures of the one-machine rig: one real ZooKeeper server, a path of its own for every test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.local.rig import Rig, make_rig
from tests.local.served import Cluster, make_cluster
from tests.sync_engine.servers import Server, start_all


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server started by our own launcher; its super user is super:secret."""
    server = Server(tmp_path_factory.mktemp("zookeeper"))
    with start_all(server):
        yield server.hosts


@pytest_asyncio.fixture
async def rig(zookeeper: str, tmp_path: Path) -> AsyncIterator[Rig]:
    """An empty cluster."""
    async with make_rig(zookeeper, tmp_path, f"/test-{uuid.uuid4().hex[:8]}") as made:
        yield made


@pytest.fixture(scope="module")
def shared(zookeeper: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster as the recordings had it, for a module."""
    cluster = make_cluster(zookeeper, tmp_path_factory.mktemp("recorded"))
    try:
        cluster.run(cluster.start())
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def cluster(shared: Cluster) -> Iterator[Cluster]:
    """That cluster, put back after each test."""
    yield shared
    shared.reset()
