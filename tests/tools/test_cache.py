"""A built folder is there whole or not at all, whoever is killed, whoever comes at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.conftest import CHECKOUT
from tools import cache, locate, recipes
from tools.errors import PrerequisiteError, ToolMissingError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache.root()


def test_a_folder_is_built_once(root: Path) -> None:
    built: list[Path] = []

    def build(into: Path) -> None:
        built.append(into)
        (into / "program").write_text("it")

    assert cache.ensure("a-1", build) == cache.ensure("a-1", build) == root / "a-1"
    assert len(built) == 1
    assert (root / "a-1" / "program").read_text() == "it"


def test_a_failed_build_leaves_nothing_and_is_tried_again(root: Path) -> None:
    def fail(into: Path) -> None:
        (into / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.ensure("a-1", fail)
    assert not [path for path in root.iterdir() if path.is_dir()]

    assert cache.ensure("a-1", lambda into: (into / "whole").touch()).is_dir()


def test_what_a_killed_build_has_left_is_not_used(root: Path) -> None:
    (root / ".a-1.unfinished").mkdir(parents=True)
    (root / ".a-1.unfinished" / "half").touch()

    folder = cache.ensure("a-1", lambda into: (into / "whole").touch())

    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_two_at_once_build_once_and_the_second_says_that_it_waits(root: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from tools import cache\n"
        "def build(into):\n"
        "    sys.stdout.write('building\\n'); sys.stdout.flush()\n"
        "    sys.stdin.readline()\n"
        "cache.ensure('a-1', build)\n"
    )

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    with start() as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "building\n"
        with start() as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "Another run builds a-1; waiting for it ...\n"
            first.communicate("go on\n")
            rest, _ = second.communicate()

    assert "building" not in rest
    assert (first.returncode, second.returncode) == (0, 0)


def test_a_place_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    with pytest.raises(PrerequisiteError, match="set XDG_CACHE_HOME"):
        cache.ensure("a-1", lambda _: None)


def test_a_program_that_was_not_built_is_missing_with_the_cure() -> None:
    with pytest.raises(ToolMissingError, match="run `make tools`"):
        locate.folder("zookeeper-3.9.4")


def test_a_built_program_is_found_with_and_without_its_version(root: Path) -> None:
    place = root / recipes.ZOOKEEPER.key()
    place.mkdir(parents=True)

    assert locate.folder("zookeeper-3.9.4") == locate.folder("zookeeper") == place


def test_an_unknown_program_is_refused_with_those_that_exist() -> None:
    with pytest.raises(PrerequisiteError, match=r"pulumi-3.*zookeeper-3\.9\.4.*, saw mesos"):
        locate.folder("mesos")
