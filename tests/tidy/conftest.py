"""The files that tidy tests look at: those git knows, or would take."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """All files of the project, relative to the checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = [Path(name) for name in listed.split("\0") if name]
    return sorted(path for path in found if (CHECKOUT / path).is_file())


@pytest.fixture(scope="session")
def sources(files: list[Path]) -> list[Path]:
    """All Python files."""
    return [path for path in files if path.suffix == ".py"]
