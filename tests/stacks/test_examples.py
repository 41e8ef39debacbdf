"""Every example runs, on a stack of the test's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stacks.conftest import CHECKOUT, DEV, DEV_RESOURCES

pytestmark = pytest.mark.engine


def test_the_preview_example_prints_every_step(project: Path) -> None:
    (project / "Pulumi.dev.yaml").write_text(DEV)
    (project / "examples").mkdir()
    example = shutil.copy(CHECKOUT / "examples" / "preview_local.py", project / "examples")

    result = subprocess.run(
        [sys.executable, example, "dev"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr
    assert "create   zookeeper    blue-zookeeper (protected)" in result.stdout
    assert f"{DEV_RESOURCES} of {DEV_RESOURCES} resources would change" in result.stdout


def test_an_example_says_what_is_wrong_without_a_traceback(project: Path) -> None:
    (project / "Pulumi.dev.yaml").write_text(DEV.replace("position: '0'", "position: '9'"))
    (project / "examples").mkdir()
    example = shutil.copy(CHECKOUT / "examples" / "preview_local.py", project / "examples")

    result = subprocess.run(
        [sys.executable, example, "dev"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert "a phase is a number from 0 to 6, not 9" in result.stderr
    assert "Traceback" not in result.stderr
