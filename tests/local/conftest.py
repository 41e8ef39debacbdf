"""Fixtures of the one-machine rig: one real ZooKeeper server, a path of its own for every test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.local.rig import Rig, make_rig
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
