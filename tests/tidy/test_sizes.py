"""A file is read in one sitting, a function on one screen."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.tidy.conftest import CHECKOUT

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
# path → why it may be longer.
LONGER_FILES: dict[str, str] = {}
# path:function → why it may be longer.
LONGER_FUNCTIONS: dict[str, str] = {}


def test_files_are_short(sources: list[Path]) -> None:
    lengths = {str(p): len((CHECKOUT / p).read_text().splitlines()) for p in sources}
    long = {path: lines for path, lines in lengths.items() if lines > FILE_LINES_MAX}

    assert long.keys() == LONGER_FILES.keys(), long


def test_functions_are_short(sources: list[Path]) -> None:
    long: dict[str, int] = {}
    for path in sources:
        for node in ast.walk(ast.parse((CHECKOUT / path).read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long[f"{path}:{node.name}"] = lines

    assert long.keys() == LONGER_FUNCTIONS.keys(), long
