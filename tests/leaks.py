"""Where secrets of a local stack stand that should stand in their own files only.

Looked at are files below given folders, and arguments and environments of every process that the
stack's supervisor started, and of the supervisor itself. Found are secrets as they are, and as a
request carries them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from components.targets import orphans
from components.targets.supervisor import Supervisor

_SECRETS = "secrets"
# What ZooKeeper itself keeps, by the megabyte; and what real programs read theirs from.
_NOT_READ = frozenset({"version-2", "private"})


def find(supervisor: Supervisor, *folders: Path) -> list[str]:
    """Every place that holds a secret of the stack: a path, or a process and what of it.

    The run folder is always looked at.
    """
    secrets = values(supervisor.run_dir / _SECRETS)
    assert secrets, "there is no secret to look for"
    places = {*_files(supervisor.run_dir), *(file for one in folders for file in _files(one))}
    places |= set(_processes(supervisor))
    return sorted(f"{place}: {name}" for place in places for name in _held(place, secrets))


def values(folder: Path) -> dict[str, tuple[bytes, ...]]:
    """Secrets by the name of their file, in the forms in which they could stand somewhere."""
    found: dict[str, tuple[bytes, ...]] = {}
    for path in folder.iterdir():
        text = path.read_text().strip().encode()
        found[path.name] = (text.rpartition(b":")[2], base64.b64encode(text))
    return found


def _held(place: Path, secrets: dict[str, tuple[bytes, ...]]) -> list[str]:
    try:
        content = place.read_bytes()
    except OSError:  # A process that ended, or a file that was replaced, meanwhile.
        return []
    return [name for name, forms in secrets.items() if any(form in content for form in forms)]


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_file() and _SECRETS not in parts and not _NOT_READ & {*parts}:
            yield path


def _processes(supervisor: Supervisor) -> Iterator[Path]:
    daemon = int((supervisor.run_dir / "supervisor" / "supervisord.pid").read_text())
    for pid in {daemon, *orphans.marked(supervisor.mark(""))}:
        yield Path(f"/proc/{pid}/cmdline")
        yield Path(f"/proc/{pid}/environ")
