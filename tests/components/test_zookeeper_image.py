"""The script of a container becomes a real server, tried with real ones outside of a container."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError

import pytest
from kazoo.client import KazooClient

from components.monitoring.alerts import ZOOKEEPER_METRICS
from components.monitoring.log_lines import JAVA, LEVELS
from components.zookeeper_image import Server, ready_command, script
from tests import ports
from tests.components.monitoring.log_events import by_python, joined
from tests.waiting import block_until
from tools import locate

# Three virtual machines of Java start beside the tests of another worker.
_START_S_MAX = 60.0
_ASK_S_MAX = 30.0
_IDENTITY = "super:a-password"


def server(folder: Path, myid: int, peers: tuple[str, ...], epoch: int | None) -> Server:
    library = locate.folder("zookeeper-3.9.4") / "lib"
    return Server(
        myid=myid,
        data_dir=str(folder / f"data-{myid}"),
        temporary_dir=str(folder / f"tmp-{myid}"),
        listen_host="127.0.0.1",
        admin_port=ports.free_port(),
        metrics_port=ports.free_port(),
        peers=peers,
        tick_time_ms=200,
        heap_mb=64,
        initial_epoch=epoch,
        super_file=str(folder / "super"),
        library=str(library),
    )


def write(folder: Path, one: Server) -> Path:
    path = folder / f"server-{one.myid}.sh"
    path.write_text(script(one))
    return path


def ensemble_of(folder: Path, epoch: int | None) -> list[Server]:
    (folder / "super").write_text(f"{_IDENTITY}\n")
    peers = peers_of(3)
    return [server(folder, myid, peers, epoch) for myid in (1, 2, 3)]


def peers_of(count: int) -> tuple[str, ...]:
    """Descriptions of servers on ports that are free."""
    free = ports.free_port
    return tuple(f"127.0.0.1:{free()}:{free()};127.0.0.1:{free()}" for _ in range(count))


def start(started: ExitStack, folder: Path, one: Server) -> None:
    log = started.enter_context((folder / f"server-{one.myid}.log").open("a"))
    process = subprocess.Popen(["bash", str(write(folder, one))], stdout=log, stderr=log)
    started.callback(process.wait, 30)
    started.callback(process.kill)


def status_of(one: Server, command: str) -> tuple[int, str]:
    try:
        url = f"http://127.0.0.1:{one.admin_port}/commands/{command}"
        with urllib.request.urlopen(url, timeout=_ASK_S_MAX) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


def serves(one: Server) -> bool:
    command = ready_command(one.client_port)
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[list[Server], ExitStack, Path]]:
    servers = ensemble_of(tmp_path, epoch=7)
    with ExitStack() as started:
        yield servers, started, tmp_path


@pytest.mark.long
def test_servers_serve_only_together_above_their_epoch_and_tell_their_metrics(
    running: tuple[list[Server], ExitStack, Path],
) -> None:
    servers, started, folder = running
    start(started, folder, servers[0])
    # It lives and does not serve: that is what a probe of readiness must tell apart.
    block_until(lambda: status_of(servers[0], "srvr")[0] == 200, "a live server", _START_S_MAX)
    assert not serves(servers[0])

    for one in servers[1:]:
        start(started, folder, one)
    block_until(lambda: all(map(serves, servers)), "serving servers", _START_S_MAX)

    assert json.loads(status_of(servers[0], "srvr")[1])["error"] is None
    told: set[str] = set()
    for one in servers:
        url = f"http://127.0.0.1:{one.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=_ASK_S_MAX) as answer:
            told |= set(re.findall(r"^(\w+)[ {]", answer.read().decode(), re.MULTILINE))
    assert set(ZOOKEEPER_METRICS) <= told

    # The super user is who the secret says, and no argument or variable told it.
    client = KazooClient(f"127.0.0.1:{servers[0].client_port}", auth_data=[("digest", _IDENTITY)])
    client.start(timeout=20)
    try:
        client.create("/a")
        _, stat = client.get("/a")
        assert stat.czxid >> 32 == 8  # Of the epoch after the one that it begins with.
        client.set_acls("/zookeeper/quota", client.get_acls("/zookeeper/quota")[0])
    finally:
        client.stop()
        client.close()
    for one in servers:
        arguments = b"".join(
            path.read_bytes()
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if path.exists() and f"tmp-{one.myid}".encode() in path.read_bytes()
        )
        assert b"QuorumPeerMain" in arguments
        assert b"a-password" not in arguments
        assert b"superDigest" not in arguments
    assert_logs_are_taken_apart(servers, folder)


def assert_logs_are_taken_apart(servers: list[Server], folder: Path) -> None:
    """What Filebeat reads of such servers is what the pipeline for lines of Java is written for."""
    levels: set[str] = set()
    traced = False
    for one in servers:
        # The last one may be half written.
        *events, _ = joined(JAVA, (folder / f"server-{one.myid}.log").read_text().splitlines())
        for event in events:
            fields = by_python(JAVA, event)
            assert fields is not None, event
            levels.add(LEVELS[fields["log.level"]])
            traced |= "\n\tat " in fields.get("error.stack_trace", "")
    assert {"info", "warning"} <= levels
    # Of connections to servers that were not there yet.
    assert traced


def sha1(text: str) -> bytes:
    return hashlib.sha1(text.encode(), usedforsecurity=False).digest()


def prepared(folder: Path, one: Server) -> subprocess.CompletedProcess[str]:
    """Run all of a script but the server itself, which a stub called `java` stands for."""
    stub = folder / "bin" / "java"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text("#!/bin/sh\nexit 0\n")
    stub.chmod(0o755)
    path = f"{stub.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(write(folder, one))],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_data_of_a_former_life_is_put_aside_and_own_data_are_kept(tmp_path: Path) -> None:
    one = ensemble_of(tmp_path, epoch=7)[0]
    version = Path(one.data_dir) / "version-2"
    version.mkdir(parents=True)
    (version / "currentEpoch").write_text("3")
    (version / "snapshot.300000001").write_text("old")

    assert prepared(tmp_path, one).returncode == 0

    assert sorted(path.name for path in version.iterdir()) == ["acceptedEpoch", "currentEpoch"]
    (former,) = Path(one.data_dir).glob("former-3-*")
    assert (former / "snapshot.300000001").read_text() == "old"

    (version / "currentEpoch").write_text("9")
    (version / "snapshot.900000001").write_text("own")
    assert prepared(tmp_path, one).returncode == 0
    assert (version / "currentEpoch").read_text() == "9"
    assert (version / "snapshot.900000001").read_text() == "own"


def test_another_members_volume_and_a_wrong_secret_are_refused(tmp_path: Path) -> None:
    one, other, _ = ensemble_of(tmp_path, epoch=None)
    (Path(one.data_dir)).mkdir()
    (Path(one.data_dir) / "myid").write_text("2")
    refused = prepared(tmp_path, one)
    assert refused.returncode == 1
    assert "expected the data of server 1" in refused.stderr

    (tmp_path / "super").write_text("a-password")
    refused = prepared(tmp_path, other)
    assert refused.returncode == 1
    assert "expected super:<password>" in refused.stderr
    assert "a-password" not in refused.stdout + refused.stderr


@pytest.mark.parametrize("number", range(12))
def test_the_digest_is_zookeepers_whatever_its_bytes(tmp_path: Path, number: int) -> None:
    one = ensemble_of(tmp_path, epoch=None)[0]
    # Bytes that a shell would take for something: none, per cent, backslash, end of line.
    wanted = (b"\x00", b"%", b"\\", b"\n")[number % 4]
    identity = next(
        text for salt in range(10_000) if wanted in sha1(text := f"super:{number}-{salt}")
    )
    (tmp_path / "super").write_text(identity)

    assert prepared(tmp_path, one).returncode == 0

    expected = base64.b64encode(sha1(identity)).decode()
    given = (Path(one.temporary_dir) / "zookeeper" / "java.args").read_text()
    option = "-Dzookeeper.DigestAuthenticationProvider.superDigest"
    assert given == f"{option}=super:{expected}\n"


def members_of(one: Server) -> dict[int, str]:
    """Whom the server is told to begin with, by ids."""
    lines = (Path(one.data_dir) / "zoo.cfg").read_text().splitlines()
    (file,) = (line.partition("=")[2] for line in lines if line.startswith("dynamicConfigFile="))
    known = (line.partition("=") for line in Path(file).read_text().splitlines())
    return {int(name.removeprefix("server.")): description for name, _, description in known}


def test_a_server_begins_with_those_that_vote_and_goes_on_with_what_was_agreed(
    tmp_path: Path,
) -> None:
    (tmp_path / "super").write_text(_IDENTITY)
    peers = peers_of(5)
    fourth = replace(server(tmp_path, 4, peers, None), voters=3)
    assert prepared(tmp_path, fourth).returncode == 0
    # Never a majority of servers without data.
    assert members_of(fourth) == {n: peers[n - 1] for n in (1, 2, 3, 4)}

    data = Path(fourth.data_dir)
    agreed = "".join(f"server.{n}={peers[n - 1]}\n" for n in (1, 2, 3))
    for version, text in (("9", "server.9=x"), ("10", agreed), ("next", "server.9=x")):
        (data / f"zoo.cfg.dynamic.{version}").write_text(text)
    assert prepared(tmp_path, fourth).returncode == 0
    # Without a vote it follows those who have.
    assert members_of(fourth) == {n: peers[n - 1] for n in (1, 2, 3, 4)}
    assert [path.name for path in data.glob("zoo.cfg.dynamic*")] == ["zoo.cfg.dynamic"]

    (data / "zoo.cfg.dynamic.1f").write_text(f"server.4={peers[3]}\nserver.5={peers[4]}\n")
    assert prepared(tmp_path, fourth).returncode == 0
    assert members_of(fourth) == {4: peers[3], 5: peers[4]}


def test_what_was_agreed_in_a_former_life_is_forgotten(tmp_path: Path) -> None:
    one = ensemble_of(tmp_path, epoch=7)[0]
    version = Path(one.data_dir) / "version-2"
    version.mkdir(parents=True)
    (version / "currentEpoch").write_text("3")
    (Path(one.data_dir) / "zoo.cfg.dynamic.300000001").write_text(f"server.1={one.peers[0]}\n")

    assert prepared(tmp_path, one).returncode == 0

    assert members_of(one) == dict(enumerate(one.peers, 1))
