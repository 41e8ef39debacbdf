"""Installed packages apart: an image holds what its process imports, and what that requires."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

from tools.errors import StepFailedError

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def split(folder: Path, names: Iterable[str], into: Path) -> None:
    """Copy packages of a folder that others share, each below its own name, with all that it
    requires: what two of them require lies with both, and is the same.

    Raises:
        StepFailedError: one is not there.
    """
    there = {normal(one.name): one for one in distributions(path=[str(folder)])}
    for name in names:
        if name not in there:
            msg = f"expected one of {', '.join(sorted(there))}, saw {name!r} in the Dockerfile"
            raise StepFailedError(msg)
        for wanted in closure(name, there):
            for file in _files(there[wanted], folder):
                place = into / name / file
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / file, place)


def closure(name: str, there: Mapping[str, Distribution]) -> set[str]:
    """A package and all that it requires, of those that are there: the lock has left out what
    another platform or an extra would want."""
    found: set[str] = set()
    todo = [name]
    while todo:
        each = todo.pop()
        if each in found:
            continue
        found.add(each)
        todo += [one for one in _required(there[each]) if one in there]
    return found


def normal(name: str) -> str:
    """How a package is called where spellings differ (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _required(package: Distribution) -> Iterator[str]:
    for text in package.requires or ():
        match = _NAME.match(text)
        # Nobody of ours asks for an extra.
        if match and "extra ==" not in text:
            yield normal(match[0])


def _files(package: Distribution, folder: Path) -> Iterator[Path]:
    """Files of a package that lie in the folder, with what was compiled of them."""
    for path in {Path(file) for file in package.files or ()}:
        # Scripts lie outside of it.
        if ".." in path.parts or path.suffix == ".pyc" or not (folder / path).is_file():
            continue
        yield path
        if path.suffix == ".py":
            compiled = (folder / path.parent / "__pycache__").glob(f"{path.stem}.*.pyc")
            yield from (file.relative_to(folder) for file in compiled)
