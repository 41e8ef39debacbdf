"""A node that is not fit for its agent is refused, with every reason and what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controllers.node_check.decide import Facts, Wanted, reasons
from controllers.node_check.facts import look

MB = 1024 * 1024
WANTED = Wanted(cpus=2, mem_mb=1024, disk_mb=100, cgroups=2, docker_socket="/run/docker.sock")
FIT = Facts(cpus=2, memory_bytes=1024 * MB, disk_bytes=100 * MB, cgroups=2)


def test_a_fit_node_has_nothing_said_of_it() -> None:
    assert reasons(WANTED, FIT) == ()


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"cpus": 1}, "expected 2 processors to offer, saw 1"),
        ({"memory_bytes": 512 * MB}, "expected 1024 MB of memory to offer, saw 512"),
        ({"disk_bytes": 50 * MB}, "expected a file system of 100 MB for sandboxes, saw 50"),
        ({"cgroups": 1}, "expected control groups of version 2, saw version 1"),
        ({"cgroups": None}, "expected control groups of version 2, saw none, or both at once"),
        ({"docker": "[Errno 2] No such file"}, "expected a Docker engine behind /run/docker.sock"),
        ({"programs_missing": ("iptables",)}, "expected iptables in the agent's image"),
        ({"work_dir": "no folder /x"}, "expected a folder that an agent can use, saw no folder /x"),
    ],
)
def test_what_a_node_lacks_is_told(facts: dict[str, Any], expected: str) -> None:
    (reason,) = reasons(WANTED, replace(FIT, **facts))

    assert expected in reason


def test_control_groups_are_told_apart_by_what_is_mounted(tmp_path: Path) -> None:
    assert look(tmp_path, None, tmp_path).cgroups is None
    (tmp_path / "memory").mkdir()
    assert look(tmp_path, None, tmp_path).cgroups == 1
    (tmp_path / "unified").mkdir()
    assert look(tmp_path, None, tmp_path).cgroups is None
    (tmp_path / "cgroup.controllers").touch()
    assert look(tmp_path, None, tmp_path).cgroups == 2


def test_an_engine_answers_or_is_said_to_be_missing(tmp_path: Path) -> None:
    missing = tmp_path / "missing.sock"
    assert "No such file" in str(look(tmp_path, missing).docker)

    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")

        thread = threading.Thread(target=answer)
        thread.start()
        assert look(tmp_path, path).docker is None
        thread.join()


def test_the_program_ends_with_the_reasons_on_this_machine(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "controllers.node_check", "--work-dir", str(tmp_path)]
    small = ["--mem-mb", "1", "--disk-mb", "1"]

    def ended(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *small, *words], capture_output=True, text=True, check=False, timeout=60
        )

    assert ended("--cpus", "0.1").returncode == 0
    refused = ended("--cpus", str((os.cpu_count() or 1) + 1))
    assert refused.returncode == 1
    assert "this node is not fit for its agent: expected" in refused.stderr
    assert "Traceback" not in refused.stderr
