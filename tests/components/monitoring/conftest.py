"""Prometheus' own tool."""

from __future__ import annotations

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def promtool() -> str:
    """The distribution's; left out where it is not installed, which CI takes for a failure."""
    found = shutil.which("promtool")
    if found is None:
        message = "no promtool on PATH: run `make tools-packages`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
