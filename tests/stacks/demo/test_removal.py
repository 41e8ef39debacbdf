"""What the demo and `down` remove of an earlier run, and what they leave alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from components.targets import orphans
from components.targets.supervisor import Definition, Supervisor
from stacks import environment
from stacks.demo import local_stack, removal
from stacks.demo.__main__ import main
from stacks.errors import ConfigError
from stacks.migration.journal import Journal
from stacks.migration.service import folder_of
from stacks.state import FileState
from tests.stacks.demo.conftest import prepare
from tests.waiting import block_until_written

DEAD_PID = 2**22 + 1


def leave_something(checkout: Path) -> tuple[Supervisor, int]:
    """What a killed run leaves: programs, a task whose agent is gone, a state with a dead lock."""
    supervisor = Supervisor(checkout / ".local" / "local")
    supervisor.run_dir.mkdir(parents=True)
    script = "sleep 600 & echo $! > task; wait"
    supervisor.put(Definition("blue-agents-0", ("/bin/sh", "-c", script)))
    task = supervisor.directory("blue-agents-0") / "task"
    pid = int(block_until_written(task))
    os.kill(supervisor.status("blue-agents-0").pid, 9)
    folder = checkout / ".local" / "pulumi-state" / ".pulumi"
    stacks = folder / "stacks" / "mesos-platform"
    locks = folder / "locks" / "organization" / "mesos-platform" / "local"
    for made in (stacks, locks):
        made.mkdir(parents=True)
    (stacks / "local.json").write_text('{"checkpoint": {"latest": {}}}')
    (stacks / "dev.json").write_text('{"checkpoint": {"latest": {}}}')
    host = os.uname().nodename
    (locks / "it.json").write_text(f'{{"pid": {DEAD_PID}, "hostname": "{host}"}}')
    return supervisor, pid


def test_what_an_interrupted_demo_left_is_removed_first(checkout: Path) -> None:
    supervisor, task = leave_something(checkout)

    block, told = prepare(checkout)

    with block:
        assert told == ["removing what an interrupted demo left"]
        assert not orphans.is_alive(task)
        assert not orphans.marked(supervisor.mark(""))
        assert not supervisor.run_dir.exists()
        state = f"file://{checkout}/.local/pulumi-state"
        local, dev = FileState.of(state, "local"), FileState.of(state, "dev")
        assert local is not None
        assert dev is not None
        assert not local.exists
        assert list(local.locks()) == []
        assert dev.exists


def test_a_lock_alone_that_a_killed_update_left_is_removed(checkout: Path) -> None:
    supervisor, _ = leave_something(checkout)
    supervisor.remove_all()
    shutil.rmtree(supervisor.run_dir)

    block, told = prepare(checkout)

    with block:
        assert told == ["removing what an interrupted demo left"]
        found = FileState.of(f"file://{checkout}/.local/pulumi-state", "local")
        assert found is not None
        assert list(found.locks()) == []


def test_a_state_that_was_cut_off_is_removed_too(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = checkout / ".local" / "pulumi-state" / ".pulumi" / "stacks" / "mesos-platform"
    state.mkdir(parents=True)
    (state / "local.json").write_text("")

    assert main(["down"]) == 0

    assert not (state / "local.json").exists()
    assert capsys.readouterr().out == "removed everything that the demo started\n"


def test_what_runs_is_found_also_when_its_folder_was_removed_by_hand(checkout: Path) -> None:
    supervisor, task = leave_something(checkout)
    daemon = int((supervisor.run_dir / "supervisor" / "supervisord.pid").read_text())
    shutil.rmtree(checkout / ".local")

    assert supervisor.is_running()
    assert daemon in removal.left_processes(checkout)
    assert main(["down"]) == 0

    assert not orphans.is_alive(daemon)
    assert not orphans.is_alive(task)
    assert not supervisor.is_running()
    assert not removal.left_processes(checkout)


def test_what_somebody_migrates_is_not_removed(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor, task = leave_something(checkout)
    with Journal(supervisor.run_dir / "migration").lease():
        assert main(["down"]) == 2
        assert main([]) == 2
        assert orphans.is_alive(task)

    errors = capsys.readouterr().err
    assert f"expected nobody else to migrate this stack, saw process {os.getpid()}" in errors
    assert errors.count("nothing was removed") == 2
    assert main(["down"]) == 0
    assert not orphans.is_alive(task)


def test_a_cluster_that_was_kept_is_called_so(checkout: Path) -> None:
    leave_something(checkout)
    (checkout / ".local" / removal.KEPT).touch()

    block, told = prepare(checkout)

    with block:
        assert told == ["removing the cluster that an earlier demo kept running"]
    assert not (checkout / ".local" / removal.KEPT).exists()


def test_down_removes_everything_and_may_be_repeated(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor, task = leave_something(checkout)

    assert main(["down"]) == 0
    assert main(["down"]) == 0

    assert not orphans.is_alive(task)
    assert not orphans.marked(supervisor.mark(""))
    assert capsys.readouterr().out.splitlines() == [
        "removed everything that the demo started",
        "nothing was running",
    ]


def test_down_works_also_where_the_configuration_is_wrong(checkout: Path) -> None:
    _, task = leave_something(checkout)
    (checkout / "Pulumi.local.yaml").write_text("config:\n  mesos-platform:wrong: 1\n")

    assert main(["down"]) == 0

    assert not orphans.is_alive(task)
    with pytest.raises(ConfigError):
        local_stack.read(checkout)


def test_a_folder_that_is_not_marked_as_ours_is_not_removed(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with prepare(checkout)[0]:
        pass
    path = checkout / "Pulumi.local.yaml"
    path.write_text(re.sub(r"( +)(port_base)", r"\1run_dir: .local/mine\n\1\2", path.read_text()))
    theirs = checkout / ".local" / "mine" / "thesis.txt"
    theirs.parent.mkdir()
    theirs.write_text("years of work")

    assert main(["down"]) == 2
    assert main([]) == 2

    assert theirs.read_text() == "years of work"
    assert list(theirs.parent.iterdir()) == [theirs]
    errors = capsys.readouterr().err
    assert f"in {theirs.parent}, to remove it; saw 1 other files" in errors
    theirs.unlink()


def test_what_runs_below_a_linked_folder_is_found_from_everywhere(
    checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    (checkout / ".local").symlink_to(tmp_path / "disk")
    run_dir = environment.run_dir_of(checkout, "local", None)

    assert run_dir == tmp_path / "disk" / "local"
    assert removal.supervisor_of(checkout).run_dir == run_dir
    assert folder_of(checkout, "local", local_stack.read(checkout)).parent == run_dir


def test_a_provider_whose_engine_was_killed_is_ended_and_others_are_not(checkout: Path) -> None:
    """It waits for its first call for ever; one of another checkout is none of our business."""
    environment.apply(checkout, own=True)
    command = ["/bin/sh", "-c", "read line; exit 0", "pulumi.dynamic"]
    theirs = {**os.environ, "PULUMI_HOME": "/theirs"}
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE) as ours,
        subprocess.Popen(command, stdin=subprocess.PIPE, env=theirs) as other,
    ):
        assert removal.lone_providers(checkout) == {ours.pid}
        removal.remove(checkout)
        assert ours.wait(10) != 0
        assert other.poll() is None
        other.kill()
