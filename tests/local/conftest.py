"""Fixtures of the one-machine rig: one real ZooKeeper server, a path of its own for every test."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.local.rig import Rig, make_rig
from tests.ports import free_port

_START_TIMEOUT_S = 30.0


@pytest.fixture(scope="session")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server started by our own launcher; its super user is super:secret."""
    folder = tmp_path_factory.mktemp("zookeeper")
    secret = folder / "super"
    secret.write_text("super:secret")
    secret.chmod(0o600)
    port, quorum, election = free_port(), free_port(), free_port()
    settings = {
        "myid": 1,
        "data_dir": str(folder / "data"),
        "client_port": port,
        "quorum_port": quorum,
        "election_port": election,
        "servers": [{"id": 1, "quorum_port": quorum, "election_port": election}],
        "super_digest_file": str(secret),
        "jars_dir": os.environ.get("MESOS_PLATFORM_TEST_ZOOKEEPER_JARS"),
    }
    config = folder / "zookeeper.json"
    config.write_text(json.dumps(settings))
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "stacks.local.zookeeper", "--config", str(config)],
        stdout=log,
        stderr=log,
    )
    try:
        _await_serving(server, port, folder / "log")
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
        log.close()


def _await_serving(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"srvr")
                if b"Mode:" in connection.recv(4096):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    pytest.fail(f"ZooKeeper does not serve: {log.read_text()[-2000:]}")


@pytest_asyncio.fixture
async def rig(zookeeper: str, tmp_path: Path) -> AsyncIterator[Rig]:
    """An empty cluster."""
    async with make_rig(zookeeper, tmp_path, f"/test-{uuid.uuid4().hex[:8]}") as made:
        yield made
