"""What a controller's process does with its command line, with signals, and when it fails."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clients.marathon import MarathonError
from clients.mesos import MesosError
from controllers.process import run, until_told

_BOUND_S = 60.0


@pytest.mark.parametrize("name", ["autoscaler", "caretaker", "edge", "exporter"])
def test_a_missing_file_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"controllers.{name}", "--config", str(tmp_path / "none.json")],
        capture_output=True,
        text=True,
        check=False,
        timeout=_BOUND_S,
    )

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"expected settings in {tmp_path / 'none.json'}, saw No such file")


def test_the_first_signal_ends_what_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["any", "--config", "any.json"])
    told: list[Path] = []

    async def serve(path: Path, stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(_BOUND_S):
            await stop.wait()
        told.append(path)

    assert run("any", None, until_told(serve)) == 0
    assert told == [Path("any.json")]


def test_only_failures_that_were_named_are_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["any", "--config", "any.json"])

    async def start(_: Path) -> None:
        msg = "expected a master, saw none"
        raise MesosError(msg)

    assert run("any", None, start, MesosError) == 1
    assert capsys.readouterr().err == "expected a master, saw none\n"
    with pytest.raises(MesosError):
        run("any", None, start, MarathonError)
