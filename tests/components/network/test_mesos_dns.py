"""What Mesos-DNS is told: a script puts it together where it starts, with its secret."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.network.discovery import DiscoveryArgs, ServiceDiscovery, mesos_dns_config
from components.network.mesos_dns import Instance, script
from components.targets.pods import PRIVATE_DIR, SECRETS_DIR, SECRETS_OBJECT
from tests.components.conftest import Run, run
from tests.components.network.test_discovery import PROGRAM, placing

__all__ = ["run"]

SECRET = "s3cr:et with $HOME, `blanks` and 'quotes' %s"
CONFIG = mesos_dns_config(
    zookeeper="zk://z:2181/mesos",
    listener="127.0.0.1",
    port=8053,
    http_port=8123,
    args=DiscoveryArgs(PROGRAM),
)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """In place of Mesos-DNS: it tells its arguments and variables, one a line."""
    program = tmp_path / "mesos dns"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nenv\n')
    program.chmod(0o755)
    return program


def start(folder: Path, program: str, credential: str | None) -> subprocess.CompletedProcess[str]:
    secret_file, rendered = folder / "its secret", folder / "rendered.sh"
    if credential is not None:
        secret_file.write_text(credential)
    instance = Instance(CONFIG, str(secret_file), str(folder / "private dir"), program)
    rendered.write_text(script(instance))
    return subprocess.run(
        ["sh", str(rendered)], capture_output=True, check=False, text=True, timeout=60
    )


def test_it_reads_its_secret_from_a_file_that_nobody_else_may_read(
    tmp_path: Path, program: Path
) -> None:
    told = start(tmp_path, str(program), f"mesos-dns:{SECRET}\n")

    assert told.returncode == 0, told.stderr
    file = tmp_path / "private dir" / "mesos-dns.json"
    assert told.stdout.splitlines()[:3] == ["-config", str(file), "-logtostderr"]
    assert json.loads(file.read_text()) == {
        **CONFIG,
        "mesosAuthentication": "basic",
        "mesosCredentials": {"principal": "mesos-dns", "secret": SECRET},
    }
    assert file.stat().st_mode & 0o777 == 0o600
    # Neither as an argument nor as a variable, and not in what is rendered.
    assert SECRET not in told.stdout + told.stderr + (tmp_path / "rendered.sh").read_text()


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        (None, "saw none that can be read: fill it"),
        ("", "saw another form"),
        ("mesos-dns:", "saw another form"),
        ("operator:secret", "expected mesos-dns:<secret"),
        ('mesos-dns:a"b', "saw another form"),
        ("mesos-dns:a\\b", "saw another form"),
        ("mesos-dns:a\nb", "saw another form"),
    ],
)
def test_a_secret_that_cannot_be_its_own_is_refused_and_not_told(
    tmp_path: Path, program: Path, credential: str | None, expected: str
) -> None:
    told = start(tmp_path, str(program), credential)

    assert (told.returncode, told.stdout) == (1, "")
    assert expected in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert not (tmp_path / "private dir" / "mesos-dns.json").exists()


def test_an_image_without_it_is_told(tmp_path: Path) -> None:
    told = start(tmp_path, "no-such-mesos-dns", "mesos-dns:x")

    assert told.returncode == 1
    assert "expected no-such-mesos-dns on PATH or as /mesos-dns, saw neither" in told.stderr


def test_pods_of_it_have_its_secret_and_no_other_and_write_what_is_made_of_it_to_memory(
    run: Run,
) -> None:
    args = DiscoveryArgs(PROGRAM, zookeeper_hosts="z:2181")

    recorder = run(lambda: ServiceDiscovery(args, placing()))

    pod: dict[str, Any] = recorder.named("frameworks-mesos-dns", "StatefulSet").inputs["spec"]
    spec = pod["template"]["spec"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    own = "principal-mesos-dns"
    secret = volumes["secrets"]["secret"]
    assert secret["secretName"] == SECRETS_OBJECT
    assert secret["items"] == [{"key": own, "path": own}]
    assert volumes["private"]["emptyDir"]["medium"] == "Memory"
    (container,) = spec["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert (mounts["secrets"], mounts["private"]) == (SECRETS_DIR, PRIVATE_DIR)
    assert container["command"] == ["sh", "/etc/mesos-platform/$(MEMBER).sh"]
    assert container["image"] == PROGRAM.image
    files = recorder.named("frameworks-mesos-dns", "ConfigMap").inputs["data"]
    for index in range(2):
        text = files[f"frameworks-mesos-dns-{index}.sh"]
        assert f"{SECRETS_DIR}/{own}" in text
        assert f"private={PRIVATE_DIR}" in text
        assert "command -v mesos-dns" in text
