"""The project's commands, as a user meets them first."""

from __future__ import annotations

import os
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from probe import cli as probe
from stacks.migration import cli as migrate
from sync_engine import cli as zk_sync
from tools.images import base, build

_TOLD = tomllib.loads((base.CHECKOUT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("command", [zk_sync.main, migrate.main, probe.main])
def test_each_tells_the_project_s_version(command: click.Group) -> None:
    shown = CliRunner().invoke(command, ["--version"])
    assert shown.exit_code == 0
    assert shown.output.strip().endswith(f"version {_TOLD['version']}")


def test_images_tell_it_too_although_nobody_installs_the_project_there(tmp_path: Path) -> None:
    build.tell_version(tmp_path)
    (found,) = metadata.distributions(name=_TOLD["name"], path=[str(tmp_path)])
    assert found.version == _TOLD["version"]


@pytest.mark.parametrize(
    ("given", "is_kept"), [((), False), (("KEEP=1",), True), (("KEEP=0",), False)]
)
def test_the_demo_is_kept_where_it_is_asked_for(given: tuple[str, ...], is_kept: bool) -> None:
    said = subprocess.run(
        ["make", "--dry-run", "demo", *given],
        cwd=base.CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
        # Of a make that runs these tests it would be a part, and say where it is.
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
    )
    # Its set-up comes before.
    *_, line = said.stdout.splitlines()
    assert "python -m stacks.demo" in line
    assert line.endswith("--keep") is is_kept, line
