"""Processes of this machine under a real supervisord."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from components.errors import NotReadyError, PortInUseError, ProcessExitedError
from components.targets import orphans, process, run_folder
from components.targets.process import ProcessSpec
from components.targets.readiness import Check
from components.targets.supervisor import State, Supervisor
from components.workload import Probe
from tests.ports import free_port
from tests.waiting import block_until, block_until_written

SERVER = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(open(sys.argv[1]).read())))
time.sleep(600)
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def spec(tmp_path: Path, port: int) -> Iterator[ProcessSpec]:
    """A process that listens; everything of the run folder is ended afterwards."""
    run_dir = tmp_path / "run dir with 100% odd \"names'"
    config = run_dir / "web-0" / "web-0.txt"
    yield ProcessSpec(
        name="web-0",
        run_dir=str(run_dir),
        argv=(sys.executable, "-c", SERVER, str(config)),
        config_file="web-0.txt",
        config=str(port),
        ports=(port,),
        volumes=("data",),
        check=Check(Probe.TCP, "127.0.0.1", port, timeout_s=20),
        stop_timeout_s=2,
    )
    Supervisor(run_dir).remove_all()


def pid_of(spec: ProcessSpec) -> int:
    return spec.supervisor.status(spec.name).pid


def test_a_created_process_is_ready_and_outlives_its_maker(spec: ProcessSpec) -> None:
    process.realise(spec, create=True)

    socket.create_connection(("127.0.0.1", spec.ports[0])).close()
    assert os.getppid() != pid_of(spec)
    assert process.observe(spec) == process.RUNNING
    assert (Path(spec.run_dir) / "web-0" / "web-0.txt").stat().st_mode & 0o777 == 0o600


def test_creating_again_takes_over_what_runs(spec: ProcessSpec) -> None:
    process.realise(spec, create=True)
    before = pid_of(spec)

    process.realise(spec, create=True)

    assert pid_of(spec) == before


def test_a_changed_file_restarts_the_process_and_a_changed_bound_does_not(
    spec: ProcessSpec,
) -> None:
    process.realise(spec, create=True)
    before = pid_of(spec)
    assert spec.check is not None

    process.realise(replace(spec, check=replace(spec.check, timeout_s=9)), create=False)
    assert pid_of(spec) == before
    process.realise(replace(spec, config=f"{spec.config}\n"), create=False)

    assert pid_of(spec) != before


def test_stopping_removes_the_program_and_starting_brings_it_back(spec: ProcessSpec) -> None:
    process.realise(spec, create=True)
    stopped = replace(spec, running=False)

    process.realise(stopped, create=False)

    assert process.observe(stopped) == process.ABSENT
    process.realise(spec, create=False)
    assert process.observe(spec) == process.RUNNING


def test_the_last_program_takes_supervisord_with_it_and_keeps_volumes(spec: ProcessSpec) -> None:
    process.realise(spec, create=True)
    volume = Path(spec.run_dir) / "web-0" / "data" / "kept"
    volume.write_text("kept")

    process.withdraw(spec)

    assert not spec.supervisor.is_running()
    assert volume.read_text() == "kept"
    process.withdraw(spec)


def test_a_fresh_process_finds_empty_volumes_only_when_it_is_created(spec: ProcessSpec) -> None:
    run_folder.claim(Path(spec.run_dir))
    volume = Path(spec.run_dir) / "web-0" / "data" / "old"
    volume.parent.mkdir(parents=True)
    volume.write_text("old")

    process.realise(spec, create=True)
    assert volume.exists()
    process.withdraw(spec)
    process.realise(replace(spec, fresh=True), create=True)

    assert not volume.exists()


def test_a_taken_port_names_its_owner_and_leaves_nothing(spec: ProcessSpec) -> None:
    owner = rf"port {spec.ports[0]} .* process {os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", spec.ports[0])),
        pytest.raises(PortInUseError, match=owner),
    ):
        process.realise(spec, create=True)

    assert not spec.supervisor.is_running()


def test_a_process_that_ends_again_and_again_is_given_up_with_its_last_words(
    spec: ProcessSpec,
) -> None:
    failing = replace(spec, argv=("/bin/sh", "-c", "echo no such thing; exit 3"))

    with pytest.raises(ProcessExitedError, match="no such thing"):
        process.realise(failing, create=True)

    assert not spec.supervisor.is_running()


def test_a_process_that_never_answers_is_given_up_after_its_bound(spec: ProcessSpec) -> None:
    check = Check(Probe.TCP, "127.0.0.1", spec.ports[0], timeout_s=1)
    silent = replace(spec, argv=("/bin/sleep", "600"), check=check)

    with pytest.raises(NotReadyError, match="to accept connections within 1 s"):
        process.realise(silent, create=True)


def test_what_is_stopped_or_changed_or_removed_by_hand_is_seen(spec: ProcessSpec) -> None:
    process.realise(spec, create=True)

    spec.supervisor.stop(spec.name)
    assert process.observe(spec) == "stopped"
    process.realise(spec, create=False)
    assert process.observe(spec) == process.RUNNING
    (Path(spec.run_dir) / "web-0" / "web-0.txt").write_text("other")
    assert process.observe(spec) == process.CHANGED
    spec.supervisor.remove(spec.name)
    assert process.observe(spec) is None


def test_a_killed_process_comes_back_by_itself(spec: ProcessSpec) -> None:
    process.realise(spec, create=True)
    before = pid_of(spec)
    block_until(lambda: spec.supervisor.status(spec.name).state is State.RUNNING, "a start")

    os.kill(before, signal.SIGKILL)

    block_until(lambda: pid_of(spec) not in {0, before}, "another start")


def test_what_a_killed_supervisor_left_is_found_and_started_anew(spec: ProcessSpec) -> None:
    process.realise(spec, create=True)
    before = pid_of(spec)
    daemon = Path(spec.run_dir) / "supervisor" / "supervisord.pid"
    os.kill(int(daemon.read_text()), signal.SIGKILL)
    block_until(lambda: not spec.supervisor.is_running(), "the supervisor's end")

    assert process.observe(spec) == "missing"
    process.realise(spec, create=False)

    assert not orphans.is_alive(before)
    assert process.observe(spec) == process.RUNNING


def test_children_outlive_a_stop_and_end_with_the_removal(
    spec: ProcessSpec, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    script = f"setsid sleep 600 & echo $! > {child}; exec sleep 600"
    agent = replace(
        spec, argv=("/bin/sh", "-c", script), ports=(), check=None, leaves_children=True
    )
    process.realise(agent, create=True)
    pid = int(block_until_written(child))

    agent.supervisor.stop(agent.name)
    assert orphans.is_alive(pid)
    process.withdraw(agent)

    assert not orphans.is_alive(pid)


def test_processes_inherit_nothing_of_the_update(
    spec: ProcessSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "must not be inherited")

    process.realise(spec, create=True)

    environment = Path(f"/proc/{pid_of(spec)}/environ").read_bytes()
    assert b"PULUMI" not in environment
    assert b"MESOS_PLATFORM_PROCESS=" in environment


def test_a_removed_run_folder_is_begun_anew_and_nothing_of_before_runs_on(
    spec: ProcessSpec,
) -> None:
    process.realise(spec, create=True)
    before = orphans.marked(spec.supervisor.mark(""))
    shutil.rmtree(spec.run_dir)

    process.realise(spec, create=True)

    assert process.observe(spec) == process.RUNNING
    assert not any(orphans.is_alive(pid) for pid in before)


def test_removing_everything_also_finds_what_a_killed_supervisor_left(
    spec: ProcessSpec, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    script = f"setsid sleep 600 & echo $! > {child}; exec sleep 600"
    agent = replace(spec, argv=("/bin/sh", "-c", script), ports=(), check=None)
    process.realise(agent, create=True)
    pids = {pid_of(agent), int(block_until_written(child))}
    daemon = Path(spec.run_dir) / "supervisor" / "supervisord.pid"
    os.kill(int(daemon.read_text()), signal.SIGKILL)

    spec.supervisor.remove_all()

    assert not any(orphans.is_alive(pid) for pid in pids)
    assert spec.supervisor.programs() == []
