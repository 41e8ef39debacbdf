"""The command's exit status and output, whatever the run comes to."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from components.targets import run_folder
from stacks import environment
from stacks.demo import figures, local_stack, preflight, proofs, removal, run
from stacks.demo.__main__ import main
from stacks.demo.addresses import Addresses
from stacks.demo.errors import RefusedError
from stacks.demo.observations import Observations
from stacks.demo.report import Report
from stacks.demo.tenure import Tenure
from stacks.migration.errors import GuardFailedError, RunnerBusyError
from stacks.migration.journal import Journal
from tests.stacks.demo.observed import kept

Install = Callable[..., None]


class FakeDemo:
    """Comes to what a test wants, without a cluster."""

    seen: Observations
    error: BaseException | None = None
    signal: int | None = None

    def __init__(self, project_dir: Path, console: Console, *, keep: bool, tenure: Tenure) -> None:
        self.project_dir = project_dir
        self.folder = project_dir / "build" / "demo"
        self.addresses = Addresses(project_dir / ".local" / "local", framework="http://f")
        self._keep = keep
        del console
        self.tenure = tenure

    async def run(self) -> None:
        run_folder.claim(self.addresses.run_dir)
        # As a migration does.
        with self.tenure.lent(), Journal(self.addresses.run_dir / "migration").lease():
            pass
        with pytest.raises(RunnerBusyError, match=f"process {os.getpid()}"):
            self.enter_lease()
        if self.signal is not None:
            os.kill(os.getpid(), self.signal)
            # Work that the signal interrupts.
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error

    def enter_lease(self) -> None:
        with Journal(self.addresses.run_dir / "migration").lease():
            pass

    def finish(self, problem: str | None) -> Report:
        found = tuple(proofs.prove(self.seen))
        return Report(found, tuple(figures.figures(self.seen)), problem)


@pytest.fixture
def install(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a fake demo in place."""

    def put(
        seen: Observations | None = None,
        *,
        error: BaseException | None = None,
        number: int | None = None,
    ) -> None:
        values = {"seen": seen or kept(), "error": error, "signal": number}
        monkeypatch.setattr(run, "Demo", type("Demo", (FakeDemo,), values))

    return put


def test_a_run_whose_proofs_hold_ends_with_0(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install()

    assert main([]) == 0

    assert "All 12 proofs hold." in capsys.readouterr().out


def test_a_proof_that_does_not_hold_ends_with_1(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = kept()
    seen.audits.pop()
    install(seen)

    assert main([]) == 1

    assert "1 of 12 proofs do not hold:" in capsys.readouterr().out


def test_a_migration_that_stopped_is_reported_with_1(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install(error=GuardFailedError("audit", "3 differences"))

    assert main([]) == 1

    captured = capsys.readouterr()
    assert "The demo stopped: guard 'audit' does not hold: 3 differences" in captured.out
    assert "Traceback" not in captured.out + captured.err


def test_json_is_alone_on_standard_output(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install()

    assert main(["--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert len(document["proofs"]) == 12


def test_a_kept_cluster_is_told_with_how_to_stop_it(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install()

    assert main(["--keep"]) == 0

    out = capsys.readouterr().out
    assert "framework        http://f/state" in out
    assert out.rstrip().endswith("make down")


def test_a_refusal_while_it_starts_ends_with_2_and_leaves_nothing(
    install: Install, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(error=RefusedError("expected port 1 to be free, saw it held"))

    assert main([]) == 2

    assert capsys.readouterr().err == "error: expected port 1 to be free, saw it held\n"
    assert not (checkout / ".local" / "local").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_removes_everything(
    install: Install, checkout: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    install(number=number)
    before = signal.getsignal(signal.SIGINT)

    assert main([]) == 128 + number

    captured = capsys.readouterr()
    assert "everything removed" in captured.out
    assert "Traceback" not in captured.out + captured.err
    assert not (checkout / ".local" / "local").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_full_disk_is_told_with_the_file_and_without_a_traceback(
    install: Install, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(error=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/report.txt"))

    assert main([]) == 1

    captured = capsys.readouterr()
    assert "expected to use /disk/report.txt, saw: No space left on device" in captured.out
    assert "Traceback" not in captured.out + captured.err


@pytest.mark.parametrize("command", [[], ["down"], ["setup"]])
def test_a_disk_that_is_full_from_the_start_is_told_by_every_command(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(checkout / ".local"))

    with monkeypatch.context() as patched:
        patched.setattr(environment, "write_files", full)
        patched.setattr(removal, "remove", full)
        assert main(command) == 2

    errors = capsys.readouterr().err
    assert "No space left on device" in errors
    assert str(checkout / ".local") in errors
    assert "Traceback" not in errors


def test_setup_passes_by_a_running_demo_and_hides_no_other_refusal(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with preflight.only_one(checkout):
        assert main(["setup"]) == 0

    def refuse(_: Path) -> None:
        raise RefusedError("expected 100 free ports in a row, saw none")

    monkeypatch.setattr(local_stack, "prepare", refuse)
    assert main(["setup"]) == 2

    captured = capsys.readouterr()
    assert captured.err == "error: expected 100 free ports in a row, saw none\n"
    assert "Choosing ports for Pulumi.local.yaml ..." in captured.out


def test_a_bug_removes_everything_and_is_not_hidden(install: Install, checkout: Path) -> None:
    install(error=ZeroDivisionError("a bug"))

    with pytest.raises(ZeroDivisionError):
        main([])

    assert not (checkout / ".local" / "local").exists()
