"""A real HAProxy, and the rig of Mesos and Marathon whose apps it serves."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leaving import leave_out
from tests.local.conftest import rig, zookeeper

__all__ = ["rig", "zookeeper"]


@pytest.fixture
def haproxy() -> str:
    """The distribution's; left out where it is not installed, which CI takes for a failure."""
    found = shutil.which("haproxy")
    if found is None:
        leave_out("no haproxy on PATH: run `make tools-packages`")
    return found


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A folder whose path is short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="edge-") as folder:
        yield Path(folder)
