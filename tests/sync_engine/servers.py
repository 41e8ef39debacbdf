"""Real ZooKeeper servers for tests, started by the rig's launcher; small, and all at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from stacks.local.settings import ZooKeeperSettings
from sync_engine.lane import Lane
from sync_engine.session import SavedSession
from tests.ports import free_port
from tests.waiting import BOUND_S, block_until

START_BOUND_S = 120.0
_JARS = "MESOS_PLATFORM_TEST_ZOOKEEPER_JARS"
PASSWORD = "super:secret"
AUTH = [("digest", PASSWORD.encode())]


async def expire(hosts: str, session: SavedSession) -> int:
    """End somebody else's session: take it over and close it, until it is no more.

    Who is robbed comes back at once, and may take the session back before it is closed: they then
    see more than one disconnection, or gap. Returns how many they see at most: two each time.
    """
    deadline = time.monotonic() + BOUND_S
    taken = 0
    while True:
        lane = Lane(hosts, AUTH, session_timeout_s=5, saved=session)
        await lane.start()
        gone = lane.session_id != session.id
        await lane.close()
        if gone:
            return 2 * taken
        assert time.monotonic() < deadline, "taken back each time before it was closed"
        taken += 1


class Server:
    """One server; `auth_file` holds the super user's `super:secret`."""

    def __init__(
        self,
        folder: Path,
        *,
        myid: int = 1,
        peers: list[dict[str, int]] | None = None,
        java_options: str = "",
        initial_epoch: int | None = None,
        heap_mb: int = 128,
        jars: Path | None = None,
    ) -> None:
        self.folder = folder
        self._java_options = java_options
        folder.mkdir(parents=True, exist_ok=True)
        self.auth_file = folder / "super"
        self.auth_file.write_text(PASSWORD)
        self.auth_file.chmod(0o600)
        self.port = free_port()
        peers = peers or [{"id": myid, "quorum_port": free_port(), "election_port": free_port()}]
        own = next(peer for peer in peers if peer["id"] == myid)
        self._config = folder / "zookeeper.json"
        document = {
            "myid": myid,
            "data_dir": str(folder / "data"),
            "client_port": self.port,
            "quorum_port": own["quorum_port"],
            "election_port": own["election_port"],
            "servers": peers,
            "super_digest_file": str(self.auth_file),
            "jars_dir": str(jars) if jars else os.environ.get(_JARS),
            "heap_mb": heap_mb,
            "tick_time_ms": 500,
            "initial_epoch": initial_epoch,
        }
        ZooKeeperSettings.model_validate(document)
        self._config.write_text(json.dumps(document))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def hosts(self) -> str:
        """Address for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """Folder with snapshots and log."""
        return self.folder / "data"

    def start(self) -> None:
        """Start the process; `await_serving` waits until it serves."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stacks.local.zookeeper", "--config", str(self._config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "JAVA_TOOL_OPTIONS": self._java_options},
            )

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def pause(self) -> None:
        """Stop it in its tracks (SIGSTOP): none of its threads runs when this returns."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def ask(self, word: str = "srvr") -> str:
        """Answer to a four-letter word; empty when there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(word.encode())
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        except OSError:
            return ""

    def await_serving(self) -> None:
        """Wait until clients are served."""
        try:
            block_until(self._serves, "serving", START_BOUND_S)
        except AssertionError:
            pytest.fail(f"ZooKeeper does not serve: {(self.folder / 'log').read_text()[-2000:]}")

    def _serves(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the server ended"
        return "Mode:" in self.ask()


class Ensemble:
    """Several servers that vote."""

    def __init__(self, folder: Path, size: int, *, heap_mb: int = 128) -> None:
        peers = [
            {"id": myid, "quorum_port": free_port(), "election_port": free_port()}
            for myid in range(1, size + 1)
        ]
        self.servers = [
            Server(folder / str(peer["id"]), myid=peer["id"], peers=peers, heap_mb=heap_mb)
            for peer in peers
        ]

    @property
    def hosts(self) -> str:
        """Addresses for clients."""
        return ",".join(server.hosts for server in self.servers)

    @property
    def auth_file(self) -> Path:
        """File with the super user's credentials."""
        return self.servers[0].auth_file

    @property
    def leader(self) -> Server:
        """The server that leads now."""
        return next(server for server in self.servers if "Mode: leader" in server.ask())


@contextlib.contextmanager
def start_all(*servers: Server) -> Generator[None]:
    """Start servers together, and end them also on failure."""
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.await_serving()
        yield
    finally:
        for server in servers:
            server.kill()
