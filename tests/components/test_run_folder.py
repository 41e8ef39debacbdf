"""What a stack runs in is removed with it, and nothing else ever is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from components.errors import RunFolderError
from components.targets import run_folder


def test_a_claimed_folder_is_private_and_removed_with_all_that_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    run_folder.claim(folder)
    (folder / "blue-zookeeper-0").mkdir()

    run_folder.claim(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    run_folder.remove(folder)
    run_folder.remove(folder)

    assert not folder.exists()


def test_a_folder_of_somebody_else_is_neither_used_nor_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(RunFolderError, match="to run the stack in it; saw 1 other files"):
        run_folder.claim(tmp_path)
    with pytest.raises(RunFolderError, match="to remove it; saw 1 other files"):
        run_folder.remove(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_journal_may_have_been_there_first(tmp_path: Path) -> None:
    (tmp_path / "migration").mkdir()

    run_folder.claim(tmp_path)

    assert (tmp_path / run_folder.MARKER).exists()


def test_what_cannot_be_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_folder.claim(tmp_path / "run")
    (folder / "blue-zookeeper-0").mkdir()

    def refuse(path: Path) -> None:
        raise PermissionError(13, os.strerror(13), str(path / "it"))

    monkeypatch.setattr(run_folder.shutil, "rmtree", refuse)

    with pytest.raises(RunFolderError, match=r"saw: Permission denied \(.*it\)"):
        run_folder.remove(folder)


def test_a_removal_that_was_cut_off_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_folder.claim(tmp_path / "run")
    for name in ("a", "b", "c"):
        (folder / name).mkdir()
        (folder / name / "data").write_text("x")

    class KilledError(BaseException):
        """The process ends here."""

    real, removed = shutil.rmtree, list[Path]()

    def killed(path: Path) -> None:
        if removed:
            raise KilledError
        removed.append(path)
        real(path)

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", killed)
        with pytest.raises(KilledError):
            run_folder.remove(folder)
    assert (folder / run_folder.MARKER).exists()

    run_folder.remove(folder)

    assert not folder.exists()
