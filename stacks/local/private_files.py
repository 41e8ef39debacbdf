"""Files that the real programs read secrets from, where the platform's own processes read the
secrets themselves.

They lie apart from work folders, which are volumes: copies of a volume must hold no secret. On
Kubernetes their folder is in memory and ends with the pod.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from components import whole_file
from stacks.local.errors import StartError
from stacks.local.process import make_folder
from stacks.local.settings import AgentSettings, MasterSettings

_DEFAULT = "private"


def write(settings: MasterSettings | AgentSettings, name: str, text: str) -> Path:
    """Make a file that only its owner reads; returns its absolute path.

    Raises:
        StartError: it cannot be made.
    """
    folder = settings.private_dir or settings.work_dir / _DEFAULT
    make_folder(folder)
    path = folder.absolute() / name
    try:
        whole_file.write(path, text)
    except OSError as error:
        msg = f"expected to write {path}, saw {error.strerror}: check place, space and owner"
        raise StartError(msg) from None
    return path


def remove_former(work_dir: Path, names: Iterable[str]) -> None:
    """Remove what earlier versions wrote into a work folder.

    Raises:
        StartError: it is there and cannot be removed.
    """
    for name in names:
        try:
            (work_dir / name).unlink(missing_ok=True)
        except OSError as error:
            msg = (
                f"expected to remove {work_dir / name}, which holds a secret, saw "
                f"{error.strerror}: remove it, and copies of the volume that have it"
            )
            raise StartError(msg) from None
