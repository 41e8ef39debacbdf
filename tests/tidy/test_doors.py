"""`make` is the one door: every target is listed, and the documentation names those that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.tidy.conftest import CHECKOUT

MAKEFILE = (CHECKOUT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))


def test_make_alone_lists_every_target() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=CHECKOUT, check=True, capture_output=True, text=True
    ).stdout

    assert set(re.findall(r"^  make ([a-z-]+)", shown, re.MULTILINE)) == TARGETS


@pytest.mark.parametrize(
    ("given", "keeps"),
    [("1", True), ("yes", True), ("0", False), ("no", False), ("false", False), ("", False)],
)
def test_a_cluster_is_kept_only_where_somebody_wants_it(given: str, keeps: bool) -> None:
    shown = subprocess.run(
        ["make", "--dry-run", "demo", f"KEEP={given}"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert ("stacks.demo --keep" in shown) is keeps


def test_every_target_but_files_is_declared_phony() -> None:
    declared = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert declared is not None
    assert set(declared[1].split()) == TARGETS


def test_documentation_names_only_targets_that_exist(files: list[Path]) -> None:
    named = {
        (str(path), target)
        for path in files
        if path.suffix in {".md", ".py", ".yml"}
        for target in re.findall(r"`make ([a-z][a-z-]*)`", (CHECKOUT / path).read_text())
    }

    assert not {(path, target) for path, target in named if target not in TARGETS}
