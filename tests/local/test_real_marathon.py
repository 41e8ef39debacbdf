"""What the real Marathon is told: by the launcher where it is on PATH, and by the script that a
container of its image runs, which is the same one."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.errors import ArgumentsError
from components.marathon import flags, real
from stacks.local.marathon.__main__ import instance
from stacks.local.marathon.settings import MarathonSettings

OWN, IDENTITY = "marathon:word-of-its-own", "super:word-of-keepers"
SECRETS = ("word-of-its-own", "word-of-keepers")
# Reads arguments as Scallop 3.3 does, of which a first `@FILE` is all there is; notes what it got.
STUB = """\
#!{python}
import json, os, pathlib, sys
given = sys.argv[1:]
if given and given[0].startswith("@"):
    lines = pathlib.Path(given[0][1:]).read_text().splitlines()
    read = [word for line in lines for word in line.split(" ") if word]
else:
    read = given
files = {{word: pathlib.Path(word).read_text() for word in [*given, *read] if word.startswith("/")}}
seen = {{"argv": sys.argv, "read": read, "environment": dict(os.environ), "files": files}}
pathlib.Path({log!r}).write_text(json.dumps(seen))
"""


class World:
    """A machine with Marathon and masters on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "seen.json"
        for name, text in (("own", OWN), ("identity", IDENTITY)):
            (folder / name).write_text(f"{text}\n")
        (folder / "bin").mkdir()
        stub = STUB.format(python=sys.executable, log=str(self.log))
        self.put("marathon", stub)
        self.put("mesos-master", "#!/bin/sh\n")

    def put(self, program: str, text: str) -> None:
        (self.folder / "bin" / program).write_text(text)
        (self.folder / "bin" / program).chmod(0o755)

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "listen": "127.0.0.1:8080",
            "hostname": "marathon-0",
            "master": "zk://h1:1,h2:2/mesos",
            "zk": "zk://h1:1,h2:2/marathon",
            "private_dir": str(self.folder / "private"),
            "credential_file": str(self.folder / "own"),
            "http_credentials_file": str(self.folder / "own"),
            "mesos_user": "web",
            "enable_features": "task_killing",
            **more,
        }

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command,
            env={**os.environ, "PATH": path, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def launch(self, settings: dict[str, Any], **variables: str) -> dict[str, Any]:
        """Start the launcher; returns what Marathon has seen."""
        config = self.folder / "config.json"
        config.write_text(json.dumps(settings))
        module = (sys.executable, "-m", "stacks.local.marathon", "--config", str(config))
        ended = self.run(*module, **variables)
        assert ended.returncode == 0, ended.stderr
        return json.loads(self.log.read_text())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def read_flags(words: list[str]) -> dict[str, str | bool]:
    """As Marathon reads them: a name that it does not know, or that comes twice, ends it."""
    found: dict[str, str | bool] = {}
    rest = list(words)
    while rest:
        given = rest.pop(0).removeprefix("--")
        name = given.removeprefix("disable_") if given not in flags.FLAGS else given
        assert name in flags.FLAGS, given
        assert name not in found, given
        is_boolean = name in flags.TOGGLES | flags.SWITCHES | {"ha", "mesos_authentication"}
        found[name] = name == given if is_boolean else rest.pop(0)
    return found


@pytest.mark.parametrize("with_identity", [False, True])
def test_a_marathon_on_path_is_told_the_same_and_shows_no_secret(
    world: World, with_identity: bool
) -> None:
    more: dict[str, Any] = {"flags": {"failover_timeout": 7200, "zk_compression": False}}
    if with_identity:
        more["zk_auth_file"] = str(world.folder / "identity")

    # As a Service of the name `marathon` leaves it in pods beside it.
    seen = world.launch(world.settings(**more), MARATHON_PORT="tcp://10.0.0.1:8080")

    assert read_flags(seen["read"]) == {
        "master": "zk://h1:1,h2:2/mesos",
        "zk": f"zk://{IDENTITY}@h1:1,h2:2/marathon" if with_identity else "zk://h1:1,h2:2/marathon",
        "ha": True,
        "hostname": "marathon-0",
        "http_address": "127.0.0.1",
        "http_port": "8080",
        "framework_name": "marathon",
        "mesos_user": "web",
        "enable_features": "task_killing",
        "mesos_authentication": True,
        "mesos_authentication_principal": "marathon",
        "mesos_authentication_secret_file": str(world.folder / "private" / "mesos-secret"),
        "failover_timeout": "7200",
        "zk_compression": False,
    }
    assert not any(secret in word for word in seen["argv"] for secret in SECRETS)
    # What it would make flags of, and write into its log.
    assert [name for name in seen["environment"] if name.startswith("MARATHON_")] == []
    holders = {n for n, text in seen["environment"].items() if any(s in text for s in SECRETS)}
    assert holders == {"MESOSPHERE_HTTP_CREDENTIALS"}
    assert seen["environment"]["MESOSPHERE_HTTP_CREDENTIALS"] == OWN
    assert seen["environment"]["LIBPROCESS_IP"] == "127.0.0.1"
    assert seen["files"][str(world.folder / "private" / "mesos-secret")] == "word-of-its-own"
    private = [*(world.folder / "private").iterdir()]
    assert {path.name for path in private} == {"mesos-secret"} | (
        {"arguments"} if with_identity else set()
    )
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_the_command_line_is_what_marathon_knows_whatever_flags_are_given(world: World) -> None:
    given = dict.fromkeys(flags.TOGGLES, False) | dict.fromkeys(flags.SWITCHES, True)
    texts = dict.fromkeys(flags.TEXTS, "any") | {"enable_features": "vips"}
    texts |= {"gpu_scheduling_behavior": "restricted", "new_group_enforce_role": "top"}
    more = {**given, **dict.fromkeys(flags.NUMBERS, 7), **texts}
    flags.check(more)
    settings = MarathonSettings.model_validate(
        world.settings(flags=more | {"local_port_min": 7, "zk_session_timeout": 7000})
    )

    command = real.real_command(instance("marathon", settings))

    read = read_flags(list(command[1:]))
    expected = flags.FLAGS - {"disable_http", "https_address", "https_port", "ssl_keystore_path"}
    assert set(read) == expected
    assert read["enable_features"] == "task_killing,vips"
    assert not any(secret in word for word in command for secret in SECRETS)


@pytest.mark.parametrize("absent", ["marathon", "mesos-master"])
def test_without_masters_that_know_libmesos_the_stand_in_runs(world: World, absent: str) -> None:
    (world.folder / "bin" / absent).unlink()
    config = world.folder / "config.json"
    # It ends at once: nobody may listen there.
    config.write_text(json.dumps(world.settings(listen="192.0.2.1:1")))

    ended = world.run(sys.executable, "-m", "stacks.local.marathon", "--config", str(config))

    assert "stand-in for Marathon, not Marathon" in ended.stdout
    assert not world.log.exists()


def in_container(world: World, **more: Any) -> real.Instance:
    settings = MarathonSettings.model_validate(world.settings(**more))
    return replace(
        instance("marathon", settings),
        binary=None,
        listen_host="0.0.0.0",  # noqa: S104 - nothing is bound
        libprocess_port=9097,
        heap_mb=1024,
    )


def test_a_container_tells_masters_where_to_call_back(world: World) -> None:
    ended = world.run("sh", "-c", real.script(in_container(world)), POD_IP="10.1.2.3")

    assert ended.returncode == 0, ended.stderr
    seen = json.loads(world.log.read_text())["environment"]
    assert (seen["LIBPROCESS_IP"], seen["LIBPROCESS_PORT"]) == ("10.1.2.3", "9097")
    assert seen["JAVA_OPTS"] == "-Xmx1024m"


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("own", "marathon:short", "expected marathon:<secret of 8 characters or more>"),
        ("own", "operator:word-of-another", "expected marathon:<secret"),
        ("own", None, "expected a secret in"),
        ("identity", "no-colon", "expected user:password without blanks"),
        ("identity", "user:with blank", "expected user:password without blanks"),
        ("identity", "user:with@sign", "expected user:password without blanks"),
        ("identity", "user:with\\backslash", "expected user:password without blanks"),
        ("identity", "user:with'quote", "expected user:password without blanks"),
    ],
)
def test_a_secret_that_marathon_could_not_use_is_refused_before_it_starts(
    world: World, file: str, text: str | None, told: str
) -> None:
    (world.folder / file).unlink()
    if text is not None:
        (world.folder / file).write_text(text)
    one = in_container(world, zk_auth_file=str(world.folder / "identity"))

    ended = world.run("sh", "-c", real.script(one), POD_IP="10.1.2.3")

    assert ended.returncode == 1
    assert told in ended.stderr
    assert text is None or text.partition(":")[2] not in ended.stderr or ":" not in text
    assert not world.log.exists()


def test_an_image_without_marathon_is_told_as_such(world: World) -> None:
    (world.folder / "bin" / "marathon").unlink()

    ended = world.run("sh", "-c", real.script(in_container(world)), POD_IP="10.1.2.3")

    assert ended.returncode == 1
    assert "give an image that has Marathon in images.marathon" in ended.stderr


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"recon_interval": 1}, "did you mean 'reconciliation_interval'"),
        ({"decline_offer_duration_ms": 1}, "did you mean 'decline_offer_duration'"),
        ({"task_lost_expunge_gc": 1}, "expected a flag that the program knows"),
        ({"zk": "zk://elsewhere:1/marathon"}, "'zk' follows from what is declared"),
        ({"http_credentials": "a:b"}, "expected no secret among flags, saw 'http_credentials'"),
        ({"backup_location": "s3://b/k?secret_key=x"}, "without credentials"),
        ({"logstash": "tcp://user:word@host:1"}, "without credentials"),
        ({"launch_tokens": "many"}, "to be a whole number, saw 'many'"),
        ({"launch_tokens": True}, "to be a whole number, saw True"),
        ({"zk_compression": 1}, "to be true or false, saw 1"),
        ({"enable_features": "vips,secrets"}, "some of external_volumes, gpu_resources"),
        ({"new_group_enforce_role": "all"}, "one of off, top"),
        ({"access_control_allow_origin": "http://a, http://b"}, "a text without blanks"),
    ],
)
def test_flags_that_marathon_would_end_for_are_refused(given: flags.Flags, told: str) -> None:
    with pytest.raises(ArgumentsError, match=re.escape(told)):
        flags.check(given)


class _Guarded(BaseHTTPRequestHandler):
    """Answers as Marathon does with credentials of its HTTP interface: all paths want them."""

    def do_GET(self) -> None:
        wanted = f"Basic {base64.b64encode(OWN.encode()).decode()}"
        is_known = self.headers["Authorization"] == wanted
        self.send_response(200 if is_known and self.path == "/ping" else 401)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        del format, args


@pytest.fixture
def guarded() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Guarded) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_container_is_ready_when_ping_answers_who_has_the_credential(
    world: World, guarded: int
) -> None:
    own = world.folder / "own"
    command = real.ready_command(guarded, str(own))
    assert not any(secret in word for word in command for secret in SECRETS)

    assert world.run(*command).returncode == 0
    own.write_text("marathon:word-of-another")
    assert world.run(*command).returncode != 0
    # Nobody listens at the port that no user may have.
    assert world.run(*real.ready_command(1, str(own))).returncode != 0
