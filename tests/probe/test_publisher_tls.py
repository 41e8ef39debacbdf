"""Certificates and tokens: shown, checked, and taken up anew while frames go out."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from probe.agent.http import TlsFiles
from tests.probe.receiver import receiving
from tests.probe.test_publisher import World, holds, is_well, publishing
from tests.waiting import until


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
        for number in (1, 2):
            world.say(number)
            await holds(app, number)
        take("second")
        for number in (3, 4):
            world.say(number)
            await holds(app, number)

        assert app.clients == ["first", "second"]
        assert world.outlets[0].failed == 0
        assert app.snapshots == 1


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


def serving(cert: Path, key: Path, *, clients: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
    context.load_cert_chain(cert, key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_a_certificate_whose_key_comes_a_moment_later_is_taken_up_then(
    tmp_path: Path,
) -> None:
    certificates = Certificates(tmp_path)
    app_cert, app_key = certificates.make("app")
    mine, mine_key = certificates.make("mine")
    context = serving(app_cert, app_key, clients=mine)
    tls = TlsFiles(app_cert, mine, mine_key)
    async with receiving(context=context) as app, publishing(World(app.port, tls=tls)) as world:
        world.say(1)
        await holds(app, 1)
        old_key = mine_key.read_bytes()
        certificates.make("mine")
        context.load_verify_locations(mine)
        new_key = mine_key.read_bytes()
        mine_key.write_bytes(old_key)
        world.say(2)
        problem = await until(lambda: world.outlets[0].problem, "half of a pair is noted")
        assert "expected PEM files" in problem
        mine_key.write_bytes(new_key)
        await holds(app, 2)

        await is_well(world)
        assert app.snapshots == 1


async def test_another_authority_is_believed_once_its_file_is_there(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    app_cert, app_key = certificates.make("app")
    context = serving(app_cert, app_key)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(app_cert.read_bytes())
    async with (
        receiving(context=context) as app,
        publishing(World(app.port, tls=TlsFiles(trusted))) as world,
    ):
        world.say(1)
        await holds(app, 1)
        await app.stop()
        app.context = serving(*certificates.make("other"))
        world.say(2)
        await app.start()
        await until(lambda: "certificate" in (world.outlets[0].problem or ""), "it is not believed")
        trusted.write_bytes((tmp_path / "other.pem").read_bytes())
        await holds(app, 2)


async def test_an_app_that_wants_a_certificate_takes_nothing_without_one(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    app_cert, app_key = certificates.make("app")
    client, _ = certificates.make("client")
    context = serving(app_cert, app_key, clients=client)
    async with (
        receiving(context=context) as app,
        publishing(World(app.port, tls=TlsFiles(app_cert))) as world,
    ):
        world.say(1)
        await until(lambda: world.outlets[0].problem, "it is refused")
        assert app.frames == []


async def test_a_token_goes_with_tls_and_one_that_is_missing_is_a_trouble_of_that_app_alone(
    tmp_path: Path,
) -> None:
    app_cert, app_key = Certificates(tmp_path).make("app")
    token = tmp_path / "token"
    world = World(0, tls=TlsFiles(app_cert), token_file=token)
    async with receiving(context=serving(app_cert, app_key)) as app:
        world = World(app.port, tls=TlsFiles(app_cert), token_file=token)
        async with publishing(world):
            world.say(1)
            problem = await until(lambda: world.outlets[0].problem, "it is missed")
            assert "expected a token in" in problem
            token.write_text("s3cr3t")
            await holds(app, 1)
            assert app.tokens == ["Bearer s3cr3t"]
