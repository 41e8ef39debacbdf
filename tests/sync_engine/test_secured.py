"""TLS and SASL to real servers, on the lanes and on the watch session alike."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sync_engine.client import EngineState, EnsembleAddress, facts
from sync_engine.errors import AuthFailedError, ConnectionLostError, RulesError
from sync_engine.lane import Lane
from sync_engine.sasl import DigestMd5
from sync_engine.settings import SideTls
from sync_engine.status import gather
from sync_engine.tls import make_context
from sync_engine.watch import WatchEvent, WatchSession
from sync_engine.znode import PERM_ALL, WORLD_ALL, Acl
from tests.sync_engine.rig import Rig, until, until_equal
from tests.sync_engine.servers import AUTH, Server, start_all
from tests.waiting import BOUND_S

_USER = b"bob:bobs-secret"


@dataclass(frozen=True)
class Certificates:
    """PEM files for one authority, the servers and the engine, and the servers' stores."""

    folder: Path

    @property
    def tls(self) -> SideTls:
        return SideTls(
            ca_file=self.folder / "ca.pem",
            cert_file=self.folder / "engine.pem",
            key_file=self.folder / "engine.key",
        )


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    new = ("req", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    _openssl(
        folder, *new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority"
    )
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for name in ("server", "engine"):
        _openssl(
            folder, *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"
        )
        _openssl(
            folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.pem",
        )  # fmt: skip
        (folder / f"{name}.key").chmod(0o600)
    # Java takes PEM as it is: the key and its certificate in one file.
    text = (folder / "server.key").read_text() + (folder / "server.pem").read_text()
    (folder / "server-store.pem").write_text(text)
    return Certificates(folder)


def _tls_options(certificates: Certificates) -> str:
    folder = certificates.folder
    return " ".join(
        f"-Dzookeeper.{name}={value}"
        for name, value in {
            "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
            # The launcher asks without TLS whether the server is up.
            "client.portUnification": "true",
            "ssl.keyStore.location": folder / "server-store.pem",
            "ssl.trustStore.location": folder / "ca.pem",
            "ssl.clientAuth": "need",
            # A server with a secure port alone would set this by itself.
            "authProvider.x509": "org.apache.zookeeper.server.auth.X509AuthenticationProvider",
            "ssl.hostnameVerification": "false",
        }.items()
    )


@pytest.fixture(scope="module")
def tls_pair(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server]]:
    """Two servers; over TLS they want a certificate of every client."""
    options = _tls_options(certificates)
    a, b = (Server(tmp_path_factory.mktemp(name), java_options=options) for name in ("a", "b"))
    with start_all(a, b):
        yield a, b


async def test_engine_copies_over_tls_with_its_own_certificate(
    tls_pair: tuple[Server, Server], certificates: Certificates, tmp_path: Path
) -> None:
    rig = Rig(tls_pair, tmp_path)
    tls = certificates.tls.model_dump(mode="json", exclude_none=True)
    for side in rig.document["sides"].values():
        side["tls"] = tls
    async with rig.lanes() as (a, b), rig.engine() as engine:
        await a.create(f"{rig.a}/x", b"1" * 100_000, WORLD_ALL)
        await until_equal(rig, a, b, BOUND_S)
        await a.set_data(f"{rig.a}/x", b"2", -1)
        await until_equal(rig, a, b, BOUND_S)
        await until(lambda: gather(engine).state is EngineState.LIVE, "a live state", BOUND_S)
        address = EnsembleAddress(tls_pair[0].hosts, tls=certificates.tls)
        assert (await facts(address)).has_quorum


@pytest.mark.long
async def test_server_of_another_authority_or_name_is_refused(
    tls_pair: tuple[Server, Server], certificates: Certificates
) -> None:
    tls = certificates.tls
    other = tls.model_copy(update={"ca_file": None})
    with pytest.raises(ConnectionLostError, match="certificate verify failed"):
        await _connect(tls_pair[0].hosts, other)
    await _connect(tls_pair[0].hosts, tls)
    await _connect(tls_pair[0].hosts.replace("127.0.0.1", "localhost"), tls)
    anonymous = SideTls(ca_file=tls.ca_file)
    with pytest.raises(ConnectionLostError):
        await _connect(tls_pair[0].hosts, anonymous)


async def _connect(hosts: str, tls: SideTls) -> None:
    lane = Lane(hosts, AUTH, session_timeout_s=5, tls=make_context(tls))
    await lane.start(bound_s=3)
    await lane.close()


def test_key_that_everybody_may_read_is_refused(certificates: Certificates, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes((certificates.folder / "engine.key").read_bytes())
    key.chmod(0o644)
    with pytest.raises(RulesError, match="chmod 600"):
        make_context(certificates.tls.model_copy(update={"key_file": key}))
    with pytest.raises(RulesError, match="PEM files"):
        make_context(SideTls(ca_file=tmp_path / "missing"))


@pytest.fixture(scope="module")
def sasl_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that knows a user by SASL."""
    folder = tmp_path_factory.mktemp("sasl")
    user, _, password = _USER.decode().partition(":")
    jaas = folder / "jaas.conf"
    jaas.write_text(
        "Server { org.apache.zookeeper.server.auth.DigestLoginModule required "
        f'user_{user}="{password}"; }};\n'
    )
    provider = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"
    options = (
        f"-Djava.security.auth.login.config={jaas} -Dzookeeper.authProvider.sasl={provider} "
        f"-Dzookeeper.superUser={user}"
    )
    server = Server(folder, java_options=options)
    with start_all(server):
        yield server


async def test_sasl_proves_who_the_engine_is(sasl_server: Server) -> None:
    events: list[WatchEvent] = []
    auth = [("sasl", _USER)]
    lane = Lane(sasl_server.hosts, auth, session_timeout_s=5)
    watch = WatchSession(
        sasl_server.hosts,
        auth,
        session_timeout_s=5,
        on_event=events.append,
        on_gap=lambda: None,
    )
    await lane.start()
    await watch.start()
    try:
        await lane.create("/mine", b"1", _only("bob"))
        acl, _ = await lane.get_acl("/mine")
        assert acl == _only("bob")
        await watch.add("/mine")
        await lane.set_data("/mine", b"2", -1)
        # A session without the user's rights would see no event of this znode.
        await until(lambda: events, "an event", BOUND_S)
    finally:
        await watch.stop()
        await lane.close()


async def test_wrong_password_is_refused_by_sasl(sasl_server: Server) -> None:
    auth = [("sasl", b"bob:wrong")]
    lane = Lane(sasl_server.hosts, auth, session_timeout_s=5)
    with pytest.raises(AuthFailedError):
        await lane.start(bound_s=5)
    watch = WatchSession(
        sasl_server.hosts,
        auth,
        session_timeout_s=5,
        on_event=lambda _: None,
        on_gap=lambda: None,
    )
    with pytest.raises((AuthFailedError, ConnectionLostError)):
        await watch.start(bound_s=5)


def test_digest_is_that_of_the_standard() -> None:
    """The example of RFC 2831, section 4, with ZooKeeper's digest-uri."""
    client = DigestMd5(b"chris:secret", cnonce="OA6MHXh6VqTrRk")
    challenge = (
        b'realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",'
        b"algorithm=md5-sess,charset=utf-8"
    )
    answer = client.answer(challenge)
    assert answer is not None
    assert b'username="chris"' in answer
    assert b'realm="elwood.innosoft.com"' in answer
    assert b"secret" not in answer
    with pytest.raises(AuthFailedError, match="another digest"):
        client.answer(b"rspauth=ea40f60335c427b5527b84dbabcdfffd")


def _only(user: str) -> tuple[Acl, ...]:
    return (Acl(PERM_ALL, "sasl", user),)
