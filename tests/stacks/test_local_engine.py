"""Stack `local` with the real engine: processes outlive updates, drift is seen and mended."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from components.targets.local import SECRETS
from components.targets.supervisor import State, Supervisor
from stacks.automation import StackRunner
from stacks.errors import ResourceFailedError
from stacks.steps import Op
from stacks.topology import Color, Placement, Position, Standing
from tests import leaks

SOURCE = {"traffic": Placement.SOURCE}
TARGET = {"traffic": Placement.TARGET}
BLUE = {
    "blue-zookeeper-0",
    "blue-zookeeper-1",
    "blue-zookeeper-2",
    "blue-masters-0",
    "blue-masters-1",
    "blue-masters-2",
    "blue-agents-0",
    "blue-agents-1",
}
SHARED = {"frameworks-sample-0", "frameworks-marathon-0", "clients-traffic-0"}


def supervisor_of(runner: StackRunner) -> Supervisor:
    return Supervisor(runner.project_dir / ".local" / "local")


def move(runner: StackRunner, text: str, groups: dict[str, Placement] = SOURCE) -> set[str]:
    """Take one step and return what runs afterwards."""
    old = runner.actual()
    permit = None if old is None else f"{old.position}>{text}:9999999999:{time.monotonic_ns():064x}"
    runner.set_migration(Standing(position=Position.parse(text), groups=groups), permit=permit)
    plan = runner.project_dir / "plan.json"
    runner.preview(plan)
    runner.up(plan)
    return set(supervisor_of(runner).programs())


def pids(runner: StackRunner) -> dict[str, int]:
    supervisor = supervisor_of(runner)
    return {name: supervisor.status(name).pid for name in supervisor.programs()}


# Fourteen updates of the real engine: 94 s were seen beside other work on two cores.
@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_whole_way_from_blue_to_green(local: StackRunner) -> None:
    green = {name.replace("blue", "green") for name in BLUE}

    def tiers(names: set[str], tier: str) -> set[str]:
        return {name for name in names if tier in name}

    assert move(local, "0") == BLUE | SHARED
    untouched = pids(local)
    assert move(local, "1") == BLUE | SHARED | tiers(green, "zookeeper") | {"sync-engine-0"}
    assert {name: pids(local)[name] for name in untouched} == untouched
    with_masters = BLUE | tiers(green, "zookeeper") | tiers(green, "masters") | {"sync-engine-0"}
    assert move(local, "2") == with_masters | SHARED
    assert move(local, "2/prepared") == with_masters | {"clients-traffic-0"}
    assert move(local, "2/moved") == with_masters | SHARED
    at_3 = (with_masters | SHARED) - tiers(BLUE, "masters")
    assert move(local, "3") == at_3
    assert move(local, "3", {"traffic": Placement.STOPPED}) == at_3 - {"clients-traffic-0"}
    assert move(local, "3", TARGET) == at_3
    assert move(local, "4", TARGET) == at_3 | green
    assert move(local, "4/prepared", TARGET) == at_3 | green
    at_5 = (at_3 | green) - tiers(BLUE, "agents")
    assert move(local, "5", TARGET) == at_5
    assert move(local, "5/prepared", TARGET) == at_5
    assert move(local, "6", TARGET) == green | SHARED

    kept = pids(local)
    local.set_migration(Standing(Color.GREEN, Color.BLUE, Position(0), SOURCE))
    local.up()
    assert pids(local) == kept


@pytest.mark.long
def test_an_update_that_changes_nothing_restarts_nothing(local: StackRunner) -> None:
    move(local, "0")
    before = pids(local)

    assert local.preview().changes == ()
    local.up()

    assert pids(local) == before


@pytest.mark.long
def test_a_refresh_sees_what_was_stopped_or_removed_and_an_update_mends_it(
    local: StackRunner,
) -> None:
    move(local, "0")
    supervisor = supervisor_of(local)
    supervisor.stop("blue-masters-1")
    supervisor.remove("blue-agents-0")

    local.refresh()
    changes = {(step.op, step.name) for step in local.preview().changes}

    assert changes == {(Op.UPDATE, "blue-masters-1"), (Op.CREATE, "blue-agents-0")}
    local.up()
    assert supervisor.status("blue-masters-1").state in {State.RUNNING, State.STARTING}
    assert "blue-agents-0" in supervisor.programs()


def test_a_port_in_use_is_said_clearly_and_leaves_no_process(local: StackRunner) -> None:
    config = local.get_config().local
    assert config is not None
    with socket.create_server(("127.0.0.1", config.port_base + 11)):
        with pytest.raises(ResourceFailedError) as failure:
            move(local, "0")
        assert f"port {config.port_base + 11}" in str(failure.value)
        assert f"process {os.getpid()}" in str(failure.value)
        assert "Traceback" not in str(failure.value)
        assert "blue-masters-1" not in supervisor_of(local).programs()

    assert move(local, "0") == BLUE | SHARED


@pytest.mark.long
def test_a_killed_process_and_a_killed_supervisor_come_back(local: StackRunner) -> None:
    move(local, "0")
    supervisor = supervisor_of(local)
    daemon = int((supervisor.run_dir / "supervisor" / "supervisord.pid").read_text())
    os.kill(daemon, signal.SIGKILL)

    local.refresh()
    local.up()

    assert set(supervisor.programs()) == BLUE | SHARED
    for name in supervisor.programs():
        assert supervisor.status(name).state in {State.RUNNING, State.STARTING}


def test_secrets_are_private_files_and_nowhere_else(local: StackRunner, tmp_path: Path) -> None:
    move(local, "0")
    move(local, "1")  # From here on the sync engine runs, which is told of most secrets.
    supervisor = supervisor_of(local)
    folder = supervisor.run_dir / "secrets"

    assert {path.name for path in folder.iterdir()} == {*SECRETS}
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    # Rendered files, `run` scripts, logs, arguments, environments, the plan and the state.
    assert leaks.find(supervisor, local.project_dir, tmp_path / "state") == []

    shown = supervisor.directory("sync-engine-0") / "run"
    shown.write_bytes(leaks.values(folder)["engine-token"][0])
    assert leaks.find(supervisor) == [f"{shown}: engine-token"]


@pytest.mark.long
def test_destroying_ends_every_process_and_the_supervisor(local: StackRunner) -> None:
    move(local, "0")

    local.destroy()

    supervisor = supervisor_of(local)
    assert supervisor.programs() == []
    assert not supervisor.is_running()
    assert local.actual() is None
