"""Servers that the component's script starts with a certificate and users of SASL, tried with real
ones outside of a container: among themselves, to clients, and what a wrong secret is told."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from components.zookeeper_image import Server, Tls
from sync_engine.errors import AuthFailedError, ConnectionLostError
from sync_engine.lane import Lane
from sync_engine.settings import SideTls
from sync_engine.tls import make_context
from sync_engine.znode import PERM_ALL, Acl
from tests import ports
from tests.components.test_zookeeper_image import ensemble_of, prepared, serves, start
from tests.waiting import block_until

# Three virtual machines of Java start beside the tests of another worker.
_START_S_MAX = 90.0
_USER = b"ops:a-pass word%s"


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a pod has it mounted: one certificate for all servers, in PEM."""
    folder = tmp_path_factory.mktemp("certificates")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    ca = ("-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority")
    openssl(folder, "req", "-x509", *curve, *ca)
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    asked = ("-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=blue-zookeeper")
    openssl(folder, "req", "-new", *curve[:-2], *asked)
    signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    openssl(
        folder, "x509", "-req", "-in", "tls.csr", *signing, "-extfile", "names", "-out", "tls.crt"
    )
    return folder


def secured(folder: Path, certificates: Path) -> list[Server]:
    (folder / "ops").write_bytes(_USER)
    return [
        replace(
            one,
            tls=Tls(str(certificates), ports.free_port()),
            sasl_files=(str(folder / "ops"),),
        )
        for one in ensemble_of(folder, epoch=None)
    ]


@pytest.fixture
def running(tmp_path: Path, certificates: Path) -> Iterator[list[Server]]:
    servers = secured(tmp_path, certificates)
    with ExitStack() as started:
        for one in servers:
            start(started, tmp_path, one)
        block_until(lambda: all(map(serves, servers)), "serving servers", _START_S_MAX)
        yield servers


def tls_of(certificates: Path) -> SideTls:
    return SideTls(
        ca_file=certificates / "ca.crt",
        cert_file=certificates / "tls.crt",
        key_file=certificates / "tls.key",
    )


async def connected(
    port: int, tls: SideTls | None, auth: tuple[tuple[str, bytes], ...] = ()
) -> Lane:
    context = None if tls is None else make_context(tls)
    lane = Lane(f"127.0.0.1:{port}", auth, session_timeout_s=10, tls=context)
    await lane.start(bound_s=20)
    return lane


@pytest.mark.long
async def test_servers_encrypt_and_know_their_users(
    running: list[Server], certificates: Path
) -> None:
    tls = tls_of(certificates)
    assert running[0].tls is not None
    lane = await connected(running[0].tls.secure_port, tls, (("sasl", _USER),))
    # What somebody makes who is known by SASL is theirs, on every server.
    await lane.create("/mine", b"1", (Acl(PERM_ALL, "sasl", "ops"),))
    await lane.close()

    # Clients that know no TLS, such as Mesos', find the port of before.
    plain = await connected(running[1].client_port, None, (("sasl", _USER),))
    assert (await plain.get("/mine"))[0] == b"1"
    await plain.close()

    with pytest.raises(AuthFailedError):
        await connected(running[1].client_port, None, (("sasl", b"ops:wrong"),))
    with pytest.raises(ConnectionLostError):
        # Without a certificate of its own.
        await connected(running[0].tls.secure_port, SideTls(ca_file=certificates / "ca.crt"))
    assert_quorum_is_encrypted(running, certificates)


def assert_quorum_is_encrypted(servers: list[Server], certificates: Path) -> None:
    """The leader's port for followers answers a handshake, and shows the certificate."""
    context = ssl.create_default_context(cafile=certificates / "ca.crt")
    context.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")
    seen: list[str] = []
    for peer in servers[0].peers:
        port = int(peer.partition(";")[0].split(":")[2])
        pem = ssl.get_server_certificate(
            ("127.0.0.1", port), ca_certs=str(certificates / "ca.crt"), timeout=20
        )
        seen.append(pem.strip())
    own = ssl.PEM_cert_to_DER_cert((certificates / "tls.crt").read_text())
    assert {ssl.PEM_cert_to_DER_cert(pem) for pem in seen} == {own}


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("tls.crt", None, "expected tls.crt of this server's certificate"),
        ("tls.key", "-----BEGIN EC " + "PRIVATE KEY-----\n", "expected a key of PKCS 8"),
    ],
)
def test_a_certificate_that_java_cannot_read_is_refused(
    tmp_path: Path, certificates: Path, file: str, content: str | None, expected: str
) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (mounted / name).write_bytes((certificates / name).read_bytes())
    (mounted / file).unlink()
    if content is not None:
        (mounted / file).write_text(content)
    one = secured(tmp_path, mounted)[0]

    refused = prepared(tmp_path, one)

    assert refused.returncode == 1
    assert expected in refused.stderr


def test_a_password_that_would_break_the_list_of_users_is_refused_and_not_told(
    tmp_path: Path, certificates: Path
) -> None:
    one = secured(tmp_path, certificates)[0]
    (tmp_path / "ops").write_text('ops:"; evil')

    refused = prepared(tmp_path, one)

    assert refused.returncode == 1
    assert "expected user:<password>" in refused.stderr
    assert "evil" not in refused.stdout + refused.stderr
