"""What the command line prints, and the exit status that it ends with."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stacks import environment
from stacks.migration import cli
from stacks.migration.phases import Step
from stacks.migration.service import MigrationService, StandIn
from stacks.topology import Position, Standing
from tests.stacks.migration.fake_world import FakeStack, FakeWork, do_nothing
from tests.stacks.migration.rig import GROUPS

Invoke = Callable[..., Result]


class Rig:
    """A fake stack behind the real command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = FakeStack(Standing(groups=GROUPS))
        self.work = FakeWork(self.stack)

    def service(self, door: cli.Door) -> MigrationService:
        return MigrationService(
            self.folder,
            door.stack,
            stand_in=StandIn(self.stack, self.work),
            listener=door.listener(),
        )


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    rig = Rig(tmp_path)

    def service(door: cli.Door) -> MigrationService:
        return rig.service(door)

    monkeypatch.setattr(cli.Door, "service", service)
    monkeypatch.setattr("os.fsync", do_nothing)
    return rig


@pytest.fixture
def migrate(rig: Rig) -> Invoke:
    return lambda *words: CliRunner().invoke(cli.main, list(words))


def test_plan_lists_transitions_and_changes_nothing(rig: Rig, migrate: Invoke) -> None:
    result = migrate("plan", "--to", "3", "--steps")

    assert result.exit_code == 0
    assert "0 -> 1" in result.stdout
    assert "project leader" in result.stdout
    assert "clients traffic" not in result.stdout
    assert rig.stack.updates == 0


def test_plan_as_json(migrate: Invoke) -> None:
    found = json.loads(migrate("plan", "--json").stdout)

    assert found["goal"] == "6"
    assert [t["name"] for t in found["transitions"]][3] == "clients traffic -> target"


def test_start_walks_and_says_where_it_stands(rig: Rig, migrate: Invoke) -> None:
    result = migrate("start", "--to", "2", "-y")

    assert result.exit_code == 0
    assert "stands at position 2 of blue -> green" in result.stdout
    assert "ok soak" in result.stdout
    assert rig.stack.standing.position == Position(2)


def test_events_as_json_lines(migrate: Invoke) -> None:
    output = migrate("start", "--to", "1", "--json", "-y").stdout
    lines = [json.loads(line) for line in output.splitlines()]

    names = [line["event"] for line in lines]
    assert names[:2] == ["PlanMade", "TransitionStarted"]
    assert names[-2:] == ["TransitionEnded", "done"]
    assert lines[-1]["standing"]["position"] == "1"


def test_a_failed_guard_ends_with_3_and_resume_goes_on(rig: Rig, migrate: Invoke) -> None:
    rig.work.failing.add("guards before removal")
    result = migrate("start", "-y")

    assert result.exit_code == cli.GUARD
    assert "does not hold" in result.stderr
    assert "migrate rollback" in result.stderr
    assert "Traceback" not in result.output
    assert "interrupted or failed" in migrate("status").stdout
    rig.work.failing.clear()
    assert migrate("resume").exit_code == 0
    assert rig.stack.standing.position == Position(6)


def test_nothing_to_do_ends_with_2(migrate: Invoke) -> None:
    result = migrate("rollback", "-y")

    assert result.exit_code == cli.USAGE
    assert "nothing to do" in result.stderr


def test_a_missing_configuration_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.defaults(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    outside = CliRunner().invoke(cli.main, ["status", "--project", str(tmp_path)])
    (tmp_path / "Pulumi.yaml").touch()
    result = CliRunner().invoke(cli.main, ["status", "--project", str(tmp_path)])

    assert result.exit_code == cli.USAGE
    assert "expected the configuration of stack local" in result.stderr
    assert "expected Pulumi.yaml" in outside.stderr
    assert "Traceback" not in result.output


def test_an_interrupt_ends_with_130_and_is_written_down(rig: Rig, migrate: Invoke) -> None:
    def interrupt(step: Step, when: str) -> None:
        if (step.name, when) == ("soak", "begin"):
            os.kill(os.getpid(), signal.SIGINT)

    rig.work.within = interrupt
    rig.work.pause_s = 0.01
    result = migrate("start", "-y")

    assert result.exit_code == cli.INTERRUPTED
    assert "migrate resume" in result.stderr
    assert "interrupted" in migrate("history", "--last", "1").stdout
    rig.work.within = lambda _step, _when: None
    assert migrate("resume").exit_code == 0


def test_status_and_history_as_json(migrate: Invoke) -> None:
    assert migrate("start", "--to", "1", "-y").exit_code == 0
    status = json.loads(migrate("status", "--json").stdout)
    records = [json.loads(line) for line in migrate("history", "--json").stdout.splitlines()]

    assert status["standing"]["position"] == "1"
    assert status["open"] is None
    assert records[0]["kind"] == "goal_set"
    assert records[-1]["kind"] == "transition_ended"


def test_a_group_is_moved_there_and_home(rig: Rig, migrate: Invoke) -> None:
    assert migrate("start", "--to", "3", "-y").exit_code == 0
    assert migrate("clients", "move", "traffic", "-y").exit_code == 0
    assert rig.stack.standing.groups["traffic"] == "target"
    assert migrate("clients", "move", "traffic", "--to", "source", "-y").exit_code == 0
    assert rig.stack.standing.groups["traffic"] == "source"
    assert migrate("clients", "move", "nobody", "-y").exit_code == cli.USAGE


def test_validate_shows_evidence(rig: Rig, migrate: Invoke) -> None:
    assert migrate("validate").exit_code == 0
    rig.work.failing.add("guards")
    result = migrate("validate")

    assert result.exit_code == cli.GUARD
    assert "no guards: it was told to fail" in result.stdout


def test_nobody_to_ask_is_no_yes(rig: Rig, migrate: Invoke) -> None:
    result = migrate("start", "--to", "1")

    assert result.exit_code == cli.USAGE
    assert "add --yes" in result.stderr
    assert rig.stack.updates == 0


def test_json_tells_errors_too(migrate: Invoke) -> None:
    result = migrate("resume", "--json")

    assert result.exit_code == cli.USAGE
    told = json.loads(result.stdout.splitlines()[-1])
    assert (told["event"], told["kind"]) == ("error", "PlanError")
    assert "nothing to resume" in told["message"]


def test_a_full_disk_is_one_message(
    rig: Rig, migrate: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    result = migrate("start", "--to", "1", "-y")

    assert result.exit_code == cli.FAILED
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
    assert rig.stack.updates == 0


@pytest.mark.parametrize(
    "command", ["plan", "start", "advance", "rollback", "resume", "status", "history", "validate"]
)
def test_every_command_shows_an_example(migrate: Invoke, command: str) -> None:
    assert f"Example: migrate {command}" in migrate(command, "--help").stdout
