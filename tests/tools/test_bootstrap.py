"""Set-up's first step runs with any Python 3 and goes on with one that is new enough."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.conftest import CHECKOUT
from tools import bootstrap

SOURCE = CHECKOUT / "tools" / "bootstrap.py"


def test_an_old_python_can_read_it() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 4))


def test_the_environment_that_may_be_made_anew_is_not_used_for_it() -> None:
    assert not Path(bootstrap.choose()).is_relative_to(sys.prefix)


def test_an_old_python_looks_for_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = tmp_path / "python3.12"
    newer.write_text("#!/bin/sh\n")
    newer.chmod(0o755)
    monkeypatch.setattr(bootstrap, "MINIMUM", (3, 12))
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 9))
    monkeypatch.setenv("PATH", str(tmp_path))

    assert bootstrap.choose() == str(newer)


def test_without_a_newer_one_it_says_what_to_do() -> None:
    program = (
        "import sys; sys.version_info = (3, 9); from tools import bootstrap; bootstrap.choose()"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        env={"PATH": ""},
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("error: expected Python 3.11 or newer, saw 3.9 and no other")
