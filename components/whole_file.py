"""Files that are there as a whole, or not at all, whatever happens while they are written.

A reader never sees half a file, a power cut leaves the old content or the new one, and at no moment
may others read what is not theirs. No Pulumi in here.
"""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE = 0o600


def write(path: Path, text: str, *, mode: int = PRIVATE) -> None:
    """Replace a file's content; when this returns it is on disk, under its name.

    One writer a path at a time: what a killed one has left is overwritten.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # The new name must outlive a power cut too.
    finally:
        os.close(folder)
