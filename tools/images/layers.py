"""Layers: archives that are equal byte by byte wherever and whenever they are made.

Sorted, without times, owned by root, and with two modes: who made them, when and where is not in
them.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

_FILE, _PROGRAM, _FOLDER = 0o644, 0o755, 0o755


def of_files(source: Path, target: str, into: Path) -> None:
    """Write a layer that holds a file, or all of a folder, at a place."""
    with tarfile.open(into, "w", format=tarfile.GNU_FORMAT) as archive:
        file_at_end = source.is_file()
        for folder in _parents(target, itself=not file_at_end):
            archive.addfile(_folder(folder))
        if file_at_end:
            _add(archive, source, target)
            return
        for path in _below(source):
            name = f"{target}/{path.relative_to(source)}".lstrip("/")
            if path.is_dir() and not path.is_symlink():
                archive.addfile(_folder(name))
            else:
                _add(archive, path, name)


def _parents(target: str, *, itself: bool) -> Iterator[str]:
    parts = target.split("/") if target else []
    for end in range(1, len(parts) + itself):
        yield "/".join(parts[:end])


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)


def _folder(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, _FOLDER
    return info


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    info = tarfile.TarInfo(name)
    if path.is_symlink():
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        archive.addfile(info)
        return
    content = path.read_bytes()
    info.size = len(content)
    info.mode = _PROGRAM if path.stat().st_mode & 0o100 else _FILE
    archive.addfile(info, io.BytesIO(content))


def digest(path: Path) -> str:
    """How a layer is named."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
