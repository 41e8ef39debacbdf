"""The page that a stranger follows names what there is, and its commands work."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from sync_engine import cli, console, report
from sync_engine.metrics import METRICS
from sync_engine.settings import Rules, SideAuth, SideTls, SubtreeRule, Tuning
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sync-engine.md").read_text()
_PORTS = range(2191, 2198)
_TOLD = (
    report.EngineStatus,
    report.DirectionStatus,
    report.LagStatus,
    report.SubtreeStatus,
    report.ProjectionStatus,
    report.SideStatus,
    report.AuditReport,
    report.SubtreeAudit,
    Rules,
    SubtreeRule,
    SideAuth,
    SideTls,
)


@pytest.mark.parametrize("model", _TOLD, ids=lambda model: model.__name__)
def test_every_field_is_told(model: type[BaseModel]) -> None:
    names = [field.alias or name for name, field in model.model_fields.items()]
    named = set(re.findall(r"`(?:[a-z_]+\.)?([a-z_0-9]+)`", PAGE)) | {"sides"}
    assert not set(names) - named


def test_every_state_verb_and_exit_code_is_told() -> None:
    def verbs(group: Any, prefix: str = "") -> list[str]:
        found: list[str] = []
        for name, command in group.commands.items():
            inner = hasattr(command, "commands")
            found += verbs(command, f"{name} ") if inner else [name]
        return found

    for verb in verbs(cli.main):
        assert re.search(rf"`(?:conflicts )?{verb}\b", PAGE), verb
    for state in report.EngineState:
        assert f"| `{state.value}` |" in PAGE
    for code in (0, 1, console.EXIT_RULES, console.EXIT_FENCED, console.EXIT_DIFFERENT):
        assert re.search(rf"^\| {code} \|", PAGE, re.MULTILINE), code


def test_metrics_are_told_as_they_are() -> None:
    rows = re.findall(r"^\| `(zksync_\w+)` \| (\w+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert {name: (kind, text) for name, kind, text in rows} == METRICS


def test_bounds_are_told_with_their_defaults() -> None:
    part = PAGE[PAGE.index("Keys of `tuning`") : PAGE.index("## Verbs and exit codes")]
    rows = re.findall(r"^\| `(\w+)` \| ([0-9.]+) \| .+ \|$", part, re.MULTILINE)
    defaults = {name: float(field.default) for name, field in Tuning.model_fields.items()}
    assert {name: float(default) for name, default in rows} == defaults


@pytest.fixture
def tour(tmp_path: Path) -> str:
    """The page's commands as one script, on ports and in a folder of this test alone."""
    part = PAGE[PAGE.index("## In five minutes") : PAGE.index("## Rules")]
    script = "\n".join(re.findall(r"^```bash\n(.*?)^```", part, re.MULTILINE | re.DOTALL))
    for port in _PORTS:
        assert str(port) in script
        script = re.sub(rf"\b{port}\b", str(free_port()), script)
    return script.replace("build/tour", str(tmp_path / "tour"))


@pytest.mark.long
def test_a_stranger_can_follow_the_page(tour: str) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "-eu", "-c", tour],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    try:
        # Its background processes keep the output open after its end.
        code = process.wait(170)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        output = process.communicate()[0]
    assert code == 0, output
    assert "side b has b'13' and [] in /shop/stock" in output
    assert "shop is now owned by side b" in output
    assert output.count("shop: equal, 3 znodes") == 2
