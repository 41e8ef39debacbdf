"""A checkout of the test's own, in which a demo could run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.demo import port_block, preflight, removal
from tests.stacks.conftest import make_project


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing of the surrounding environment's Pulumi reaches it, and nothing is left of it."""
    folder = make_project(tmp_path / "checkout")
    for name in ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
    # What the command sets is put back, too.
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "pulumi-home"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(folder)
    # A range of its own: a demo, and other workers of this test run, may choose ports meanwhile.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    monkeypatch.setattr(port_block, "FIRST", 3000 + worker % 8 * 800)
    monkeypatch.setattr(port_block, "COUNT", 8)
    yield folder
    removal.remove(folder)


def prepare(checkout: Path) -> tuple[port_block.Block, list[str]]:
    """The ports that the demo would have, and what it told meanwhile."""
    told: list[str] = []
    return preflight.prepare(checkout, told.append), told
