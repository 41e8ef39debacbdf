"""Names say what a thing is, and each module says why it exists."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.tidy.conftest import CHECKOUT

# They say nothing of what is inside, so everything ends up there.
EMPTY_NAMES = frozenset({"utils", "util", "common", "helpers", "helper", "lib", "core", "misc"})
# path → why the name is right there.
NAMED_SO = {"stacks/local/mesos/core.py": "a master's core, which its APIs call"}


def test_no_module_has_a_name_that_says_nothing(files: list[Path]) -> None:
    found = {
        str(path)
        for path in files
        if EMPTY_NAMES & {*path.parts[:-1], path.stem} and path.suffix in {".py", ".pyi"}
    }

    assert found == NAMED_SO.keys()


def test_every_module_says_why_it_exists(sources: list[Path]) -> None:
    silent = [
        str(path)
        for path in sources
        if not ast.get_docstring(ast.parse((CHECKOUT / path).read_text()))
    ]

    assert not silent


def test_errors_stand_in_one_tree_a_package(sources: list[Path]) -> None:
    """Classes that a package raises for others are found in its `errors.py`."""
    packages = {path.parent for path in sources if path.name == "errors.py"}

    assert {Path("components"), Path("stacks"), Path("stacks/migration"), Path("tools")} <= packages
