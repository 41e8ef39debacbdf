"""TLS with a real handshake: whom the client believes, and what it shows."""

from __future__ import annotations

import asyncio
import gc
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from clients.access import Tls
from clients.mesos import AuthenticationError, OperatorClient, UnreachableError

HEALTHY = b'{"type":"GET_HEALTH","get_health":{"healthy":true}}'


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=master -addext subjectAltName=IP:127.0.0.1"
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


@pytest_asyncio.fixture
async def master(certificate: tuple[Path, Path]) -> AsyncIterator[str]:
    """Address of a master that speaks TLS only, and wants a certificate of its clients."""
    cert, key = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cert)
    context.load_cert_chain(cert, key)
    context.verify_mode = ssl.CERT_REQUIRED

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            await reader.readexactly(length)
            size = str(len(HEALTHY)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + size + b"\r\n\r\n" + HEALTHY)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # The client did not like what it saw.
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_master_is_believed_by_its_authority(
    master: str, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    async with OperatorClient([master], tls=Tls(cert, cert, key)) as client:
        assert await client.health()


# A handshake that the deadline cuts off leaves its socket to the collector, in the library.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_master_of_an_unknown_authority_is_not_talked_to(master: str) -> None:
    async with OperatorClient([master], tls=Tls(), timeout_s=0.5) as client:
        with pytest.raises(UnreachableError):
            await client.health()
    gc.collect()  # Here, and not in a test that has nothing to do with it.


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError, match=r"ca\.pem"):
        OperatorClient(["127.0.0.1:1"], tls=Tls(tmp_path / "ca.pem"))
    with pytest.raises(ValueError, match="together"):
        Tls(cert_file=tmp_path / "cert.pem")
