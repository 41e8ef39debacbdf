"""Frames reach every app in order, whatever apps do; collecting is never held up."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from probe.agent.errors import SettingsError
from probe.agent.http import Place, TlsFiles
from probe.agent.log import Log
from probe.agent.publisher import Outlet, Publisher, Ring, Sent, read_token
from probe.report.ledger import Ledger
from tests.ports import free_port
from tests.probe.receiver import Receiver, receiving
from tests.waiting import until


class Fast(random.Random):
    """No pause is long; which were asked for is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.asked.append((a, b))
        return 0.02


class World:
    """A ledger that is published."""

    def __init__(
        self,
        *ports: int,
        tls: TlsFiles | None = None,
        ring: Ring | None = None,
        token_file: Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.random = Fast()
        self.ledger = Ledger("probe", 1)
        self.outlets = [
            Outlet(
                Place(host, port, is_tls=tls is not None),
                token_file=token_file,
                tls=tls or TlsFiles(),
                log=Log(),
            )
            for port in ports
        ]
        self.publisher = Publisher(
            self.ledger,
            self.outlets,
            wall=time.time,
            lease_ms=30_000,
            ring=ring,
            random_=self.random,
        )

    def say(self, number: int) -> None:
        self.ledger["host"].put("h", cpus=number)
        self.publisher.publish()


@contextlib.asynccontextmanager
async def publishing(world: World) -> AsyncGenerator[World]:
    task = asyncio.create_task(world.publisher.run())
    try:
        yield world
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def holds(receiver: Receiver, number: int) -> None:
    await until(lambda: receiver.nodes("host").get("h") == {"cpus": number}, f"{number} is there")


async def is_well(world: World) -> None:
    """Wait: an app holds a frame a moment before its publisher has read the reply."""
    outlet = world.outlets[0]
    await until(lambda: outlet.problem is None, "it is well again")


async def test_an_app_gets_one_snapshot_and_then_what_changes() -> None:
    async with receiving() as app, publishing(World(app.port)) as world:
        for number in range(1, 5):
            world.say(number)
            await holds(app, number)

        assert app.snapshots == 1
        assert len(app.frames) == 4


async def test_an_app_that_was_away_goes_on_where_it_stopped() -> None:
    async with receiving() as app, publishing(World(app.port)) as world:
        world.say(1)
        await holds(app, 1)
        await app.stop()
        for number in range(2, 8):
            world.say(number)
        await until(lambda: world.outlets[0].failed, "the app is missed")
        await app.start()
        await holds(app, 7)

        assert app.snapshots == 1
        await is_well(world)


async def test_an_app_that_was_away_for_too_long_gets_a_snapshot() -> None:
    world = World(free_port(), ring=Ring(bytes_max=200))
    async with receiving(world.outlets[0].place.port) as app, publishing(world):
        world.say(1)
        await holds(app, 1)
        await app.stop()
        for number in range(2, 40):
            world.say(number)
        await app.start()
        await holds(app, 39)

        assert app.snapshots == 2
        assert world.publisher.ring.dropped > 20
        assert world.publisher.ring.size <= 200


async def test_an_app_that_missed_more_than_a_snapshot_costs_gets_one() -> None:
    async with receiving() as app, publishing(World(app.port)) as world:
        world.say(1)
        await holds(app, 1)
        await app.stop()
        for number in range(2, 200):
            world.say(number)
        await app.start()
        await holds(app, 199)

        assert app.snapshots == 2
        assert len(app.frames) < 10
        assert world.publisher.ring.dropped == 0


async def test_an_app_that_missed_less_than_a_snapshot_costs_goes_on() -> None:
    async with receiving() as app, publishing(World(app.port)) as world:
        chance = random.Random(1)  # noqa: S311 - what packs badly
        for _ in range(1_000):
            world.ledger["container"].put(f"{chance.getrandbits(256):064x}", state="running")
        world.say(1)
        await holds(app, 1)
        await app.stop()
        for number in range(2, 40):
            world.say(number)
        await app.start()
        await holds(app, 39)

        assert app.snapshots == 1


@pytest.mark.parametrize("answer", [500, 503, 404, 0])
async def test_an_app_that_refuses_is_asked_again(answer: int) -> None:
    async with receiving() as app, publishing(World(app.port)) as world:
        app.answers = [answer] * 3
        world.say(1)
        await holds(app, 1)


async def test_an_app_that_was_restarted_and_knows_nothing_asks_for_a_snapshot() -> None:
    async with receiving() as app, publishing(World(app.port)) as world:
        world.say(1)
        await holds(app, 1)
        app.mirrors.clear()
        world.say(2)
        await holds(app, 2)

        assert app.snapshots == 2


async def test_one_app_that_hangs_does_not_hold_up_another() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    hanging = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = hanging.sockets[0].getsockname()[1]
    async with hanging, receiving() as app, publishing(World(port, app.port)) as world:
        for number in range(1, 4):
            world.say(number)
            await holds(app, number)


async def test_two_apps_have_the_same_stream() -> None:
    async with (
        receiving() as one,
        receiving() as other,
        publishing(World(one.port, other.port)) as world,
    ):
        for number in range(1, 10):
            world.say(number)
            await asyncio.sleep(0)
        await holds(one, 9)
        await holds(other, 9)


async def test_a_token_is_read_anew_for_each_frame(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with receiving() as app, publishing(World(app.port, token_file=token)) as world:
        world.say(1)
        await holds(app, 1)
        token.write_text("second\n")
        world.say(2)
        await holds(app, 2)

        assert app.tokens == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("text", ["", "two\nlines", "umläut"])
def test_a_token_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(SettingsError, match="expected a token"):
        read_token(tmp_path / "token")


def test_a_ring_keeps_the_last_frame_however_large_it_is() -> None:
    ring = Ring(bytes_max=10)
    for seq in range(3):
        ring.add(Sent(1, seq, bytes(100)))

    assert ring.size == 100
    assert ring.after(1, 1) is not None
    assert ring.after(1, 0) is None


def test_a_ring_knows_what_follows_a_frame_over_epochs_and_losses() -> None:
    ring = Ring(bytes_max=1_000)
    for epoch, count in ((3, 8), (7, 5), (8, 6)):
        for seq in range(count):
            ring.add(Sent(epoch, seq, bytes(100)))

    assert ring.dropped == 9
    assert ring.after(3, 6) is None
    assert ring.after(7, -1) is None
    assert ring.missed(7, 1) == (9, 900)
    for epoch, seqs in ((7, range(1, 4)), (8, range(5))):
        for seq in seqs:
            found = ring.after(epoch, seq)
            assert found is not None
            assert (found.epoch, found.seq) == (epoch, seq + 1)
    # The last of an epoch is followed by a snapshot, whatever stands behind it.
    assert ring.after(7, 4) is None
    assert ring.after(8, 5) is None
    assert ring.missed(8, 5) == (0, 0)
