"""Prometheus' own tool."""

from __future__ import annotations

import shutil

import pytest

from tests.leaving import leave_out


@pytest.fixture(scope="session")
def promtool() -> str:
    """The distribution's; left out where it is not installed, which CI takes for a failure."""
    found = shutil.which("promtool")
    if found is None:
        leave_out("no promtool on PATH: run `make tools-packages`")
    return found
