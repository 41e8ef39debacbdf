"""Real servers, started as their containers are, become five and three again while somebody writes.

Nothing that was acknowledged is lost, whoever leads; what a server was told of its members outlives
its process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError

from clients.zookeeper import EnsembleClient, ZooKeeperError
from components.zookeeper_image import Server
from controllers.caretaker.membership import Join, Leave
from controllers.caretaker.rolling import Done
from controllers.caretaker.settings import EnsembleSettings, MemberSettings
from controllers.caretaker.voting import Voting
from tests.components import test_zookeeper_image as image
from tests.waiting import until

_BOUND_S = 300.0
_SMALL, _LARGE = 3, 5


@dataclass
class Servers:
    """All that may run; `running` by id."""

    folder: Path
    all: list[Server]
    started: ExitStack
    running: dict[int, ExitStack] = field(default_factory=dict[int, ExitStack])

    async def start(self, *numbers: int, voters: int) -> None:
        for number in numbers:
            own = self.started.enter_context(ExitStack())
            image.start(own, self.folder, replace(self.all[number - 1], voters=voters))
            self.running[number] = own

        async with self.client(voters) as client:

            async def serve() -> bool:
                asked = (client.ask(address(self.all[number - 1])) for number in numbers)
                return None not in await asyncio.gather(*asked)

            await until(serve, f"servers {numbers} serve", _BOUND_S)

    def kill(self, *numbers: int) -> None:
        for number in numbers:
            self.running.pop(number).close()

    def settings(self, voters: int) -> EnsembleSettings:
        return EnsembleSettings(
            servers=tuple(
                MemberSettings(id=one.myid, address=address(one), description=one.peers[index])
                for index, one in enumerate(self.all)
            ),
            voters=voters,
            credential_file=Path(self.all[0].super_file),
        )

    def client(self, voters: int) -> EnsembleClient:
        hosts = [address(one) for one in self.all[:voters]]
        return EnsembleClient(hosts, Path(self.all[0].super_file), timeout_s=10)

    async def resize(self, voters: int) -> list[Join | Leave]:
        """Take steps until so many vote; returns those that are known to have changed something."""
        taken: list[Join | Leave] = []
        async with self.client(voters) as client:
            voting = Voting(self.settings(voters), client)

            async def is_done() -> bool:
                try:
                    step = await voting.step()
                except ZooKeeperError:
                    return False  # An election, or the change before it, is under way.
                if isinstance(step, Join | Leave):
                    taken.append(step)
                return isinstance(step, Done)

            await until(is_done, f"{voters} voters", _BOUND_S)
            return taken

    async def voters(self) -> frozenset[int]:
        async with self.client(_SMALL) as client:
            return (await client.ensemble()).voters


def address(one: Server) -> str:
    return f"127.0.0.1:{one.client_port}"


@dataclass
class Writer:
    """Creates one znode after the other, and notes what was acknowledged."""

    acknowledged: list[str] = field(default_factory=list[str])
    stopping: bool = False

    def run(self, hosts: str) -> None:
        client = KazooClient(hosts, timeout=10)
        client.start(timeout=60)
        try:
            number = 0
            while not self.stopping:
                try:
                    client.create(f"/w/{number:06}", makepath=True)
                except NodeExistsError:
                    pass  # Of the attempt whose answer was lost.
                except KazooException:
                    continue  # An election: the same one again.
                self.acknowledged.append(f"{number:06}")
                number += 1
        finally:
            client.stop()
            client.close()


@asynccontextmanager
async def writing(hosts: str) -> AsyncGenerator[Writer]:
    writer = Writer()
    task = asyncio.create_task(asyncio.to_thread(writer.run, hosts))
    try:
        await until(lambda: len(writer.acknowledged) > 20, "writes", _BOUND_S)
        yield writer
    finally:
        writer.stopping = True
        await task


def children(one: Server) -> list[str]:
    """What a server holds, itself."""
    client = KazooClient(address(one), timeout=10)
    client.start(timeout=60)
    try:
        client.sync("/w")
        return sorted(client.get_children("/w"))
    finally:
        client.stop()
        client.close()


# 70 s of a processor; five minutes where others wanted both processors ten times over.
@pytest.mark.long
@pytest.mark.timeout(900)
async def test_three_servers_become_five_and_three_again_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    (tmp_path / "super").write_text("super:a-password\n")
    peers = image.peers_of(_LARGE)
    made = [
        # A session lasts 20 ticks at most, also on a machine that does something else.
        replace(image.server(tmp_path, number, peers, 7), tick_time_ms=1000)
        for number in range(1, _LARGE + 1)
    ]
    with ExitStack() as started:
        servers = Servers(tmp_path, made, started)
        await servers.start(1, 2, 3, voters=_SMALL)
        async with writing(",".join(map(address, made[:_SMALL]))) as writer:
            # They follow, and have no vote.
            await servers.start(4, 5, voters=_SMALL)
            assert await servers.voters() == {1, 2, 3}
            # One that starts anew before it got its vote is no stranger to what it knows.
            servers.kill(5)
            await servers.start(5, voters=_SMALL)
            assert await servers.voters() == {1, 2, 3}

            grown = await servers.resize(_LARGE)
            # One whose answer was lost was made all the same.
            assert {(type(step), step.server) for step in grown} <= {(Join, 4), (Join, 5)}
            assert await servers.voters() == {1, 2, 3, 4, 5}

            # The larger one bears the loss of two, whatever their files say.
            servers.kill(1, 2)
            so_far = len(writer.acknowledged)
            await until(lambda: len(writer.acknowledged) > so_far + 20, "writes go on", _BOUND_S)
            await servers.start(1, 2, voters=_LARGE)

            shrunk = await servers.resize(_SMALL)
            assert {(type(step), step.server) for step in shrunk} <= {(Leave, 4), (Leave, 5)}
            servers.kill(4, 5)
            so_far = len(writer.acknowledged)
            await until(lambda: len(writer.acknowledged) > so_far + 20, "writes go on", _BOUND_S)

        # What was agreed is what they start with, and not what their files say.
        servers.kill(1, 2, 3)
        await servers.start(1, 2, 3, voters=_LARGE)
        assert await servers.voters() == {1, 2, 3}
        # Who left may come back, and follows.
        await servers.start(4, voters=_LARGE)
        for one in made[:4]:
            held = await asyncio.to_thread(children, one)
            assert set(writer.acknowledged) <= set(held)
