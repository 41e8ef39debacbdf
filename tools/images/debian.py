"""Layers made of the distribution's packages, with what they need, and nothing of this machine.

The packages are unpacked, not installed: no script of theirs runs, so what is in a layer depends on
them alone. What scripts would do, and our images need, is a symbolic link here and there.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import recipes
from tools.errors import StepFailedError
from tools.progress import run

# A second, or minutes beside a hundred other processes.
_SIMULATE_S_MAX = 900.0
# Since its merge, these are links; packages still name files by either way.
_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
# Nobody reads them in a container; copyrights stay.
_LEFT_OUT = re.compile(r"usr/share/(man|info|lintian|bug|locale|doc/[^/]+/(?!copyright))")
_INSTALLED = re.compile(r"^Inst (\S+) \((\S+) ", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """A package of the distribution, as a file."""

    name: str
    version: str
    sha256: str
    file: Path


def fetch(groups: Sequence[Sequence[str]], into: Path) -> list[list[Package]]:
    """Fetch groups of packages with all that they need. The first is beneath all others: what it
    has, they do not.

    Raises:
        StepFailedError: a package is not offered, or cannot be fetched.
    """
    (into / "partial").mkdir(parents=True)
    status = into / "status"
    # As if nothing were installed: this machine's own packages say nothing of an image.
    status.touch()
    options = [
        f"-oDir::State::status={status}",
        f"-oDir::Cache::archives={into}/",
        *("-oDebug::NoLocking=true", "-oAPT::Install-Recommends=false", "--yes"),
    ]
    everything = [name for group in groups for name in group]
    # Others take the lists as they are.
    if os.geteuid() == 0:
        run("Reading the distribution's package lists", ["apt-get", "update"])
    run(
        f"Fetching {', '.join(everything)} of the distribution, and what they need",
        ["apt-get", *options, "--download-only", "install", *everything],
    )
    found: list[list[Package]] = []
    beneath: set[tuple[str, str]] = set()
    for group in groups:
        said = _said(["apt-get", *options, "--simulate", "install", *groups[0], *group])
        needed: set[tuple[str, str]] = set(_INSTALLED.findall(said))
        found.append([_package(into, n, v) for n, v in sorted(needed - beneath)])
        beneath = beneath or needed
    return found


def _package(folder: Path, name: str, version: str) -> Package:
    plain = name.partition(":")[0]
    # Signs of a version that are none of a file's name.
    pattern = f"{plain}_{version.replace(':', '%3a')}_*.deb"
    files = list(folder.glob(pattern))
    if len(files) != 1:
        msg = f"expected one {pattern} in {folder}, saw {len(files)}: run it again"
        raise StepFailedError(msg)
    return Package(plain, version, recipes.sha256(files[0]), files[0])


def layer(packages: Sequence[Package], links: Sequence[tuple[str, str]], into: Path) -> None:
    """Write a layer of packages, and symbolic links `(place, to what)` beside."""
    seen: set[str] = set()
    with tarfile.open(into, "w", format=tarfile.GNU_FORMAT) as archive:
        for place, to in (*((name, f"usr/{name}") for name in _MERGED), *links):
            info = tarfile.TarInfo(place)
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, to, 0o777
            archive.addfile(info)
            seen.add(place)
        for package in packages:
            _unpack(package, archive, seen)


def _unpack(package: Package, archive: tarfile.TarFile, seen: set[str]) -> None:
    command = ["dpkg-deb", "--fsys-tarfile", str(package.file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as unpacking:
        assert unpacking.stdout is not None
        with tarfile.open(fileobj=unpacking.stdout, mode="r|") as source:
            for info in source:
                _take(source, info, archive, seen)
        # Zeros behind the last file, which a reader leaves.
        unpacking.stdout.read()
    if unpacking.returncode != 0:
        msg = (
            f"expected to unpack {package.file.name}, saw dpkg-deb end with {unpacking.returncode}"
        )
        raise StepFailedError(msg)


def _take(
    source: tarfile.TarFile, info: tarfile.TarInfo, archive: tarfile.TarFile, seen: set[str]
) -> None:
    name = _merged(info.name.removeprefix(".").strip("/"))
    if not name or name in seen or _LEFT_OUT.match(name):
        return
    seen.add(name)
    info.name, info.uname, info.gname = name, "", ""
    info.pax_headers = {}
    if info.islnk():
        info.linkname = _merged(info.linkname.removeprefix(".").strip("/"))
    archive.addfile(info, source.extractfile(info) if info.isreg() else None)


def _merged(name: str) -> str:
    return f"usr/{name}" if name.partition("/")[0] in _MERGED and "/" in name else name


def _said(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=_SIMULATE_S_MAX
    )
    if done.returncode != 0:
        msg = f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr}"
        raise StepFailedError(msg)
    return done.stdout


def release() -> str:
    """Which distribution this is, such as `debian 12`."""
    lines = Path("/etc/os-release").read_text().splitlines()
    told = dict(_pairs(lines))
    return f"{told.get('ID', 'unknown')} {told.get('VERSION_ID', 'unknown')}"


def _pairs(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, value = line.partition("=")
        yield name, value.strip('"')
