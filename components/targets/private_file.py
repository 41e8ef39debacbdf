"""Files that only their owner may read, and that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write a file with mode 0600, in place of what is there."""
    temporary = path.with_name(f".{path.name}.new")
    # What a killed writer left may have another mode.
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_text(text)
    temporary.replace(path)
