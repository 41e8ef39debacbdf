"""Where a supervisord listens: derived from its run folder, so that it is found without any file.

UNIX socket addresses are short and checkouts may lie deep, so the socket stands in a short folder
that is ours alone, under a name made of the run folder's. Who removes the run folder by hand still
finds what runs. A folder that somebody else made in our place is never used.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from components.errors import SupervisorError

# The kernel's bound for an address, less its last byte.
ADDRESS_MAX = 107
_SESSIONS = Path("/run/user")
_TEMPORARY = Path("/tmp")  # noqa: S108 - only a folder of mode 0700 below it is used


def find(identifier: str, root: Path) -> str:
    """The address on which a supervisord may listen now.

    Raises:
        FileNotFoundError: there is none.
    """
    for folder in _folders(root):
        address = folder / f"{identifier}.sock"
        if _problem(folder) is None and address.exists():
            return str(address)
    raise FileNotFoundError(identifier)


def choose(identifier: str, root: Path) -> Path:
    """An address to listen on, free of what a dead supervisord left; its folder is made.

    Raises:
        SupervisorError: no folder can be ours alone.
    """
    problems: list[str] = []
    for folder in _folders(root):
        address = folder / f"{identifier}.sock"
        if len(os.fsencode(address)) > ADDRESS_MAX:
            continue
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            pass  # It is no folder, as is seen below.
        except OSError as error:
            problems.append(f"{folder}: {error.strerror}")
            continue
        problem = _problem(folder)
        if problem is None:
            _remove_dead(address)
            return address
        problems.append(problem)
    msg = (
        "expected a folder that is ours alone (mode 0700) for supervisord's socket, saw "
        f"{'; '.join(problems)}. Remove it, or set XDG_RUNTIME_DIR to a short folder of your own"
    )
    raise SupervisorError(msg)


def _folders(root: Path) -> Iterator[Path]:
    """Places for the socket, best first; every one is looked at, because the next command may be
    given in a shell with other variables."""
    name = f"mesos-platform-{os.getuid()}"
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and Path(given).is_dir():
        yield Path(given).resolve() / name
    session = _SESSIONS / str(os.getuid())
    if session.is_dir() and session != Path(given or "/"):
        yield session / name
    yield _TEMPORARY / name
    yield root


def _problem(folder: Path) -> str | None:
    """Why a folder is not ours alone; None when it is."""
    try:
        found = folder.lstat()
    except OSError as error:
        return f"{folder}: {error.strerror}"
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder}, which is no folder"
    if found.st_uid != os.getuid():
        return f"{folder} of user {found.st_uid}"
    if found.st_mode & 0o077:
        return f"{folder} with mode {found.st_mode & 0o777:04o}"
    return None


def _remove_dead(address: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(address))
        except OSError:
            address.unlink(missing_ok=True)
