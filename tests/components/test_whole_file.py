"""A file that is written as a whole keeps its old content until the new one is on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components import whole_file


def test_a_written_file_is_private_unless_said_otherwise(tmp_path: Path) -> None:
    whole_file.write(tmp_path / "secret", "one\n")
    whole_file.write(tmp_path / "run", "two\n", mode=0o700)

    assert (tmp_path / "secret").read_text() == "one\n"
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert {path.name for path in tmp_path.iterdir()} == {"secret", "run"}


def test_content_is_on_disk_before_its_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    seen: list[tuple[str, str]] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced = Path(f"/proc/self/fd/{descriptor}").readlink().name
        seen.append((synced, path.read_text()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)

    whole_file.write(path, "new")

    assert seen == [(".file.new", "old"), (tmp_path.name, "new")]


def test_a_writer_that_is_killed_leaves_the_old_content_and_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def die(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            whole_file.write(path, "new")
    assert path.read_text() == "old"

    whole_file.write(path, "newer")

    assert path.read_text() == "newer"
