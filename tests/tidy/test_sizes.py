"""A file is read in one sitting, a function on one screen."""

from __future__ import annotations

from pathlib import Path

from tests.tidy.conftest import CHECKOUT
from tests.tidy.facts import facts

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
        for name, lines in facts(path).function_lines:
            if lines > FUNCTION_LINES_MAX:
                long[f"{path}:{name}"] = lines

    assert long.keys() == LONGER_FUNCTIONS.keys(), long
