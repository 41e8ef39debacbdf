"""The folder in which everything of a stack runs: made and marked here, and removed here.

A folder is named by configuration, and what is removed with it cannot be brought back. So it
carries a marker from the moment it is made, and only a folder with the marker is ever removed; one
that holds something and has none is somebody else's, and nothing is run in it either.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from components.errors import RunFolderError

MARKER = ".mesos-platform-run-dir"
_TEXT = "Made by mesos-platform, which removes this folder with all that is in it.\n"
# A journal may stand there before anything ran.
_UNMARKED = frozenset({"migration"})


def claim(folder: Path) -> Path:
    """Make the folder and mark it; claimed already is a success.

    Raises:
        RunFolderError: it holds what is not ours.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check(folder, "run the stack in it")
    os.chmod(folder, 0o700)  # noqa: PTH101 - an older umask may have been wider
    marker = folder / MARKER
    if not marker.exists():
        marker.write_text(_TEXT)
    return folder


def remove(folder: Path) -> None:
    """Remove the folder with all that is in it; removed already is a success.

    Raises:
        RunFolderError: it is not ours, or something of it could not be removed.
    """
    if not folder.exists():
        return
    _check(folder, "remove it")
    try:
        # The marker goes last: what a killed removal leaves is still known for ours.
        for path in folder.iterdir():
            if path.name == MARKER:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        (folder / MARKER).unlink(missing_ok=True)
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        msg = (
            f"expected to remove {folder}, saw: {error.strerror} ({error.filename}). Remove it "
            "by hand"
        )
        raise RunFolderError(msg) from None


def _check(folder: Path, aim: str) -> None:
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        msg = f"expected the folder {folder}, to {aim}; saw: {error.strerror}"
        raise RunFolderError(msg) from None
    if MARKER not in names and not names <= _UNMARKED:
        msg = (
            f"expected {MARKER} in {folder}, to {aim}; saw {len(names)} other files: the folder "
            "is not this project's, or an older version made it. Move it away, or give the stack "
            "another `mesos-platform:local` run_dir"
        )
        raise RunFolderError(msg)
