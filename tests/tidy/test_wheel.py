"""What `pip install` gets: one wheel, whose parts need no more than their extra brings."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from tests.tidy.conftest import CHECKOUT

_BOUND_S = 120
# Runs a command as it is installed, where nothing but its own extra's packages is.
_RUN = """
import importlib, sys
foreign, target, folder, *sys.argv[1:] = sys.argv[1:]
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in foreign.split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
sys.path.insert(0, folder)
module, _, function = target.partition(":")
found = importlib.import_module(module)
assert found.__file__.startswith(folder), found.__file__
sys.argv[0] = "command"
getattr(found, function)()
"""
_EXTRAS = {
    "sync": "starlette,uvicorn,prometheus_client",
    "infra": "pulumi,pulumi_kubernetes",
    "probe": "h11,msgspec",
    "local": "kazoo,supervisor",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel of this tree holds."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=_BOUND_S
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(
    installed: Path, files: list[Path]
) -> None:
    packages = {folder.name for folder in installed.iterdir() if folder.suffix != ".dist-info"}
    wanted = {path for path in files if path.parts[0] in packages}
    found = {
        file.relative_to(installed)
        for file in installed.rglob("*")
        if file.is_file() and ".dist-info" not in str(file)
    }
    assert packages >= {"clients", "components", "controllers", "probe", "stacks", "sync_engine"}
    assert found == wanted


@pytest.mark.parametrize(
    ("command", "extras"), [("zk-sync", {"sync"}), ("probe", {"probe"}), ("migrate", set(_EXTRAS))]
)
def test_a_command_works_with_what_its_extra_brings(
    installed: Path, tmp_path: Path, command: str, extras: set[str]
) -> None:
    (info,) = installed.glob("*.dist-info")
    entries = PathDistribution(info).entry_points
    (entry,) = [one for one in entries if one.group == "console_scripts" and one.name == command]
    foreign = ",".join(packages for name, packages in _EXTRAS.items() if name not in extras)
    done = subprocess.run(
        [sys.executable, "-B", "-c", _RUN, foreign, entry.value, str(installed), "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=_BOUND_S,
    )
    assert done.returncode == 0, done.stderr
    assert PathDistribution(info).version in done.stdout
