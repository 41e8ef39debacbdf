"""Fixtures of migrations without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stacks.migration.fake_world import (
    do_nothing,
)
from tests.stacks.migration.rig import Rig


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of walks need no durable journal."""
    monkeypatch.setattr("os.fsync", do_nothing)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)
