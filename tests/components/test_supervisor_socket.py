"""Supervisord's socket stands where nobody else can have put anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from components.errors import SupervisorError
from components.targets import supervisor_socket

NAME = f"mesos-platform-{os.getuid()}"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder; the one for all stands beside it."""
    for name in ("user", "all"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "user"))
    monkeypatch.setattr(supervisor_socket, "_TEMPORARY", tmp_path / "all")
    monkeypatch.setattr(supervisor_socket, "ADDRESS_MAX", 1000)
    monkeypatch.setattr(supervisor_socket, "_SESSIONS", tmp_path / "sessions")
    return tmp_path


def test_it_stands_in_the_user_s_own_folder(runtime: Path) -> None:
    address = supervisor_socket.choose("id", runtime / "root")

    assert address == runtime / "user" / NAME / "id.sock"
    assert address.parent.stat().st_mode & 0o777 == 0o700
    address.touch()
    assert supervisor_socket.find("id", runtime / "root") == str(address)


def test_what_another_shell_chose_is_found(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "gone"))
    address = supervisor_socket.choose("id", runtime / "root")
    address.touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "user"))

    assert supervisor_socket.find("id", runtime / "root") == str(address)


@pytest.mark.parametrize("made", ["file", "open", "link"])
def test_a_place_that_is_not_ours_alone_is_passed_by(runtime: Path, made: str) -> None:
    place = runtime / "user" / NAME
    if made == "file":
        place.touch()
    elif made == "open":
        place.mkdir()
        place.chmod(0o777)
    else:
        place.symlink_to(runtime)

    address = supervisor_socket.choose("id", runtime / "root")

    assert address.parent != place
    if made != "file":
        (place / "id.sock").touch()
        with pytest.raises(FileNotFoundError):
            supervisor_socket.find("id", runtime / "root")


def test_no_place_at_all_is_told_with_what_to_do(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("user", "all"):
        (runtime / folder / NAME).touch()
    (runtime / "root").mkdir(mode=0o755)

    with pytest.raises(SupervisorError, match=r"no folder; .*set XDG_RUNTIME_DIR to a short"):
        supervisor_socket.choose("id", runtime / "root")
