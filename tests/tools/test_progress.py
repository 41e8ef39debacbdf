"""A step tells that it began, that it goes on, how it ended and after how long."""

from __future__ import annotations

import sys

import pytest

from tools import progress
from tools.errors import StepFailedError


def test_a_step_tells_its_end_and_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert progress.run("Saying hello", [sys.executable, "-c", "print('hello')"]) == "hello\n"

    first, last = capsys.readouterr().out.splitlines()
    assert first == "Saying hello ..."
    assert last.startswith("  done (")


def test_a_long_step_shows_life(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_REFRESH_S", 0.01)
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    left = [True, True, False]

    progress.wait("Waiting", lambda: not left.pop(0))

    assert capsys.readouterr().out.count("still working on it") == 2


def test_a_failed_step_tells_its_last_words(capsys: pytest.CaptureFixture[str]) -> None:
    program = "import sys; print('all is lost'); sys.exit(3)"

    with pytest.raises(StepFailedError, match=r"(?s)ended with 3.*all is lost"):
        progress.run("Trying", [sys.executable, "-c", program])
    assert "  failed (" in capsys.readouterr().out


def test_a_program_that_is_not_there_is_told() -> None:
    with pytest.raises(StepFailedError, match="expected to run nobody-has-this"):
        progress.run("Trying", ["nobody-has-this"])


def test_a_step_that_takes_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_REFRESH_S", 0.01)
    monkeypatch.setattr(progress, "STEP_S_MAX", 0.05)

    with pytest.raises(StepFailedError, match="it was stopped"):
        progress.run("Sleeping", [sys.executable, "-c", "import time; time.sleep(60)"])
