"""A master that leads because a test says so, and agents that follow it: HTTP, but no ZooKeeper.

For what happens between a leader, its agents and its callers; elections have the rig.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from stacks.local import credential as credentials
from stacks.local.mesos.election import Leader
from stacks.local.mesos.follower import Follower
from stacks.local.mesos.leader import Leadership
from stacks.local.mesos.master import Master
from stacks.local.mesos.outbox import Outbox
from stacks.local.settings import MasterSettings
from tests.ports import free_port
from tests.waiting import until


class Alone:
    """The master, and how long a busy machine may take for anything."""

    def __init__(self, master: Master, leader: Leader) -> None:
        self.master = master
        self.leader = leader

    @property
    def address(self) -> str:
        return self.leader.address

    @property
    def leadership(self) -> Leadership:
        found = self.master.leadership
        assert found is not None
        return found

    @asynccontextmanager
    async def followed_by(
        self, agents: Sequence[Follower[Any]], *, credential: str | None = None
    ) -> AsyncGenerator[None]:
        """Agents that know of this leader; they share their connections."""
        headers = {} if credential is None else {"Authorization": credentials.header(credential)}
        limits = httpx.Limits(max_connections=None)
        timeout = httpx.Timeout(60, read=None)
        client = httpx.AsyncClient(timeout=timeout, limits=limits, headers=headers)
        outbox = Outbox(httpx.AsyncClient(timeout=60, headers=headers))
        for agent in agents:
            agent.connect(client, outbox)
            agent.note_leader(self.leader)
        work = [asyncio.ensure_future(agent.follow()) for agent in agents]
        try:
            yield
        finally:
            for future in work:
                future.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await outbox.close()
            await client.aclose()


@asynccontextmanager
async def leading_alone(folder: Path, **given: Any) -> AsyncGenerator[Alone]:
    """Start one; it may not end by itself."""
    port = free_port()
    own = f"127.0.0.1:{port}"
    settings = {
        "port": port,
        "zk": "zk://127.0.0.1:1/alone",
        "work_dir": folder / "master",
        "peers": [own],
        "allocation_interval_ms": 50,
        **given,
    }
    failures: list[str] = []
    master = Master(MasterSettings.model_validate(settings), fail=failures.append)
    await master.serve()
    try:
        leader = Leader(1, master.id, "127.0.0.1", port, master.pid)
        master.note_leader(leader)
        await until(lambda: master.leadership, "it has read its registry", 60)
        yield Alone(master, leader)
        assert failures == []
    finally:
        await master.stop(close_session=False)
