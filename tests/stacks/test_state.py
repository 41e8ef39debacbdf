"""What is read of a file backend."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stacks.errors import ConcurrentUpdateError, StackMissingError, StateUnreadableError
from stacks.state import FileState, digest
from stacks.steps import Op, Step
from stacks.topology import Color
from tests.waiting import block_until


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    folder = tmp_path / ".pulumi" / "locks" / "organization" / "mesos-platform" / "local"
    folder.mkdir(parents=True)
    return folder


def files_of(backend: Path) -> FileState:
    files = FileState.of(f"file://{backend}", "local")
    assert files is not None
    return files


@pytest.mark.parametrize("url", ["s3://bucket", "file://relative", "https://api.pulumi.com"])
def test_other_backends_are_asked_through_the_engine(url: str) -> None:
    assert FileState.of(url, "local") is None


def write_lock(folder: Path, pid: int, host: str | None = None) -> Path:
    path = folder / f"{pid}.json"
    content = {"pid": pid, "hostname": host or socket.gethostname(), "username": "someone"}
    path.write_text(json.dumps(content))
    return path


def await_name(pid: int, name: str) -> None:
    """A process gets its new name a moment after it is known to have been started."""
    comm = Path(f"/proc/{pid}/comm")
    block_until(lambda: comm.read_text().strip() == name, f"process {pid} named {name}")


def dead_pid() -> int:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    return child.pid


def test_the_lock_of_an_ended_process_is_removed(tmp_path: Path, locks: Path) -> None:
    path = write_lock(locks, dead_pid())

    assert files_of(tmp_path).clear_dead_locks(wait_s=0) == 1

    assert not path.exists()


def test_the_lock_of_a_live_engine_stays_and_is_named(tmp_path: Path, locks: Path) -> None:
    engine = tmp_path / "pulumi"
    shutil.copy("/bin/sleep", engine)
    with subprocess.Popen([engine, "60"]) as running:
        await_name(running.pid, "pulumi")
        path = write_lock(locks, running.pid)
        with pytest.raises(ConcurrentUpdateError, match=rf"process {running.pid} of someone"):
            files_of(tmp_path).clear_dead_locks(wait_s=0)
        running.kill()

    assert path.exists()


def test_the_lock_of_a_number_that_came_back_is_removed(tmp_path: Path, locks: Path) -> None:
    path = write_lock(locks, os.getpid())

    assert files_of(tmp_path).clear_dead_locks(wait_s=0) == 1

    assert not path.exists()


def test_the_lock_of_another_machine_is_never_taken_for_dead(tmp_path: Path, locks: Path) -> None:
    write_lock(locks, dead_pid(), host="elsewhere")

    with pytest.raises(ConcurrentUpdateError, match="on elsewhere"):
        files_of(tmp_path).clear_dead_locks(wait_s=0)


def test_a_stack_that_is_not_there_is_said_with_the_backend_that_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "https://me:secret@theirs.invalid/api?key=secret")

    with pytest.raises(StackMissingError, match="pulumi stack init local") as told:
        files_of(tmp_path).read()

    assert "none in the backend https://theirs.invalid/api of PULUMI_BACKEND_URL" in str(told.value)
    assert "`. .local/env`" in str(told.value)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("text", ["", '{"checkpoint": {"lat', "[]", '{"checkpoint": null}'])
def test_a_state_that_was_cut_off_is_said_with_the_cure(tmp_path: Path, text: str) -> None:
    folder = tmp_path / ".pulumi" / "stacks" / "mesos-platform"
    folder.mkdir(parents=True)
    (folder / "local.json").write_text(text)
    (folder / "local.json.bak").write_text('{"checkpoint": {}}')

    with pytest.raises(StateUnreadableError, match=r"Put local\.json\.bak .*make down"):
        files_of(tmp_path).read()


def deployment(**changes: Any) -> dict[str, Any]:
    resource = {"urn": "u", "id": "i", "inputs": {"a": 1}, "dependencies": ["x", "y"], **changes}
    return {"resources": [{"type": "t", **resource}]}


def test_equal_states_have_equal_digests_whenever_they_were_written() -> None:
    base = digest(deployment(modified="now"))

    assert digest(deployment(modified="later")) == base
    assert digest(deployment(dependencies=["y", "x"])) == base
    assert digest(deployment(inputs={"a": 2})) != base
    assert digest({**deployment(), "pending_operations": [{"type": "creating"}]}) != base


@pytest.mark.parametrize(
    ("name", "color", "part"),
    [
        ("green-zookeeper-0", Color.GREEN, "zookeeper"),
        ("blue-masters", Color.BLUE, "masters"),
        ("blue-zookeeper-ready", Color.BLUE, "zookeeper"),
        ("frameworks-sample-0", None, "frameworks"),
        ("frameworks-marathon-0", None, "frameworks"),
        # An app of Marathon is part of no tier, so no update of a migration may touch it.
        ("apps-shop-web", None, "apps-shop-web"),
        ("clients-traffic", None, "clients"),
        ("sync-engine-0", None, "engine"),
        ("gate", None, "gate"),
        ("secrets", None, "secrets"),
    ],
)
def test_a_step_says_what_it_belongs_to(name: str, color: Color | None, part: str) -> None:
    step = Step(Op.CREATE, "urn", "type", name)

    assert (step.color, step.part) == (color, part)


@pytest.mark.parametrize(
    ("word", "op"),
    [("same", Op.SAME), ("create-replacement", Op.REPLACE), ("refresh", Op.OTHER)],
)
def test_the_engine_s_finer_words_are_told_apart_as_contracts_need(word: str, op: Op) -> None:
    assert Op.of(word) is op
