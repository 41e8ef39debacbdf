"""Frames reach every app in order, whatever apps do; collecting is never held up."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import subprocess
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


class _Fast(random.Random):
    def uniform(self, a: float, b: float) -> float:
        del a, b
        return 0.02


class World:
    """A ledger that is published."""

    def __init__(
        self,
        *ports: int,
        tls: TlsFiles | None = None,
        ring: Ring | None = None,
        token_file: Path | None = None,
    ) -> None:
        self.ledger = Ledger("probe", 1)
        self.outlets = [
            Outlet(
                Place("127.0.0.1", port, is_tls=tls is not None),
                token_file=token_file,
                tls=tls or TlsFiles(),
                log=Log(),
            )
            for port in ports
        ]
        self.publisher = Publisher(
            self.ledger, self.outlets, wall=time.time, lease_ms=30_000, ring=ring, random_=_Fast()
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
        assert world.outlets[0].problem is None


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


class Certificates:
    """An authority of one's own: each certificate signs itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, name: str) -> tuple[Path, Path]:
        """A certificate and its key; made again they are others under the same names."""
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
            f"-subj /CN={name} -addext subjectAltName=IP:127.0.0.1"
        )
        try:
            subprocess.run(
                [*command.split(), "-keyout", str(key), "-out", str(cert)],
                check=True,
                capture_output=True,
            )
        except FileNotFoundError:
            pytest.skip("needs the program openssl to make a certificate")
        return cert, key


async def test_certificates_are_shown_checked_and_read_anew(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    app_cert, app_key = certificates.make("app")
    first, _ = certificates.make("first")
    second, _ = certificates.make("second")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=first)
    context.load_verify_locations(second)
    context.load_cert_chain(app_cert, app_key)
    context.verify_mode = ssl.CERT_REQUIRED
    mine, mine_key = tmp_path / "mine.pem", tmp_path / "mine.key"

    def take(name: str) -> None:
        mine.write_bytes((tmp_path / f"{name}.pem").read_bytes())
        mine_key.write_bytes((tmp_path / f"{name}.key").read_bytes())

    take("first")
    tls = TlsFiles(app_cert, mine, mine_key)
    async with receiving(context=context) as app, publishing(World(app.port, tls=tls)) as world:
        world.say(1)
        await holds(app, 1)
        await app.stop()
        take("second")
        world.say(2)
        await until(lambda: world.outlets[0].failed, "the app is missed")
        await app.start()
        await holds(app, 2)

        assert app.clients == ["first", "second"]


async def test_an_app_that_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    app_cert, app_key = certificates.make("app")
    other, _ = certificates.make("other")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(app_cert, app_key)
    async with (
        receiving(context=context) as app,
        publishing(World(app.port, tls=TlsFiles(other))) as world,
    ):
        world.say(1)
        problem = await until(lambda: world.outlets[0].problem, "it is refused")

        assert "certificate" in problem
        assert app.frames == []
