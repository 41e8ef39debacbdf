"""The servers of a run: groups of one or three on each side, with what some faults need of them."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

from sync_engine.direction import Side
from tests.sync_engine.servers import Ensemble, Server, start_all
from tests.waiting import block_until

# Loaded before ZooKeeper's own class, because its loader asks the one of the platform first.
_TIME = """package org.apache.zookeeper.common;

public class Time {
    private static final long AHEAD_MS = Long.getLong("test.aheadMs", 0L);

    public static long currentElapsedTime() {
        return System.nanoTime() / 1000000;
    }

    public static long currentWallTime() {
        return System.currentTimeMillis() + AHEAD_MS;
    }

    public static java.util.Date elapsedTimeToDate(long elapsedTime) {
        return new java.util.Date(currentWallTime() + elapsedTime - currentElapsedTime());
    }
}
"""
ENFORCE_QUOTA = "-Dzookeeper.enforceQuota=true"
SMALL_REQUESTS = "-Djute.maxbuffer=300000"
_LEADER_S = 60.0


class Group:
    """The servers of one side. `options` are Java's."""

    def __init__(self, servers: list[Server]) -> None:
        self.servers = servers

    @classmethod
    def of_one(cls, folder: Path, options: str = "") -> Group:
        """One server, which needs no other."""
        return cls([Server(folder, java_options=options)])

    @classmethod
    def of_three(cls, folder: Path) -> Group:
        """Three that vote."""
        return cls(Ensemble(folder, 3).servers)

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
        """The server that leads, or the only one."""
        return block_until(self._leader, "a leader", _LEADER_S)

    def _leader(self) -> Server | None:
        modes = ("Mode: leader", "Mode: standalone")
        return next((s for s in self.servers if any(m in s.ask() for m in modes)), None)

    @property
    def follower(self) -> Server:
        """A server that does not lead."""
        leader = self.leader
        return next(server for server in self.servers if server is not leader)

    def start(self) -> None:
        """Start those that do not run, all at once, and wait until every one serves."""
        for server in self.servers:
            if server.process is None or server.process.poll() is not None:
                server.start()
        for server in self.servers:
            server.await_serving()

    def kill(self) -> None:
        """End all of them as a power cut would."""
        for server in self.servers:
            server.kill()

    def pause(self) -> None:
        """Stop all of them in their tracks."""
        for server in self.servers:
            server.pause()

    def resume(self) -> None:
        """Let all of them go on, and wait until they serve."""
        for server in self.servers:
            server.resume()
        for server in self.servers:
            server.await_serving()


Groups = dict[Side, Group]


@contextlib.contextmanager
def started(groups: Groups) -> Generator[Groups]:
    """Start all servers, and end them."""
    with start_all(*(server for group in groups.values() for server in group.servers)):
        yield groups


def snapshot(server: Server, folder: Path) -> None:
    """Copy a server's data as it is now; it is away for a moment."""
    server.kill()
    shutil.copytree(server.data, folder)
    server.start()
    server.await_serving()


def restart_with(server: Server, data: Path | None) -> None:
    """Start a server with other data; None is an empty folder."""
    server.kill()
    shutil.rmtree(server.data)
    if data is not None:
        shutil.copytree(data, server.data)
    server.start()
    server.await_serving()


def clock_ahead(folder: Path, ms: int) -> str:
    """Java's options for a server whose clock is ahead."""
    folder.mkdir(parents=True)
    source = folder / "Time.java"
    source.write_text(_TIME)
    command = ["javac", "-d", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return f"-Xbootclasspath/a:{folder} -Dtest.aheadMs={ms}"
