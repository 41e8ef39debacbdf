"""What images are made of beside our own code: layers of the distribution's packages, and wheels.

Kept like outside programs (`tools.cache`), by a hash of what decides: the distribution, the names
of the packages and the lock of the wheels. Versions of the distribution's packages are those of the
day it was made; each image tells them.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tools import cache
from tools.errors import StepFailedError, ToolMissingError
from tools.images import debian, sbom
from tools.images.debian import Package
from tools.progress import run

CHECKOUT = Path(__file__).resolve().parent.parent.parent
LOCK = CHECKOUT / "requirements" / "images.txt"
GROUPS = {
    "base": ("base-files", "bash", "coreutils", "dash", "grep", "hostname", "libc-bin", "sed"),
    "java": ("openjdk-17-jre-headless",),
    "network": ("iproute2", "iptables"),
    "haproxy": ("haproxy",),
    "python": ("python3",),
}
"""Layers, and the packages that each is for."""
PARTS = "parts.json"
"""Names what is in each layer, for lists of parts."""
WHEELS = "wheels"
PYTHON = "python-version"
"""Names the Python of the images, such as 3.11."""
INSIDE = "/opt/mesos-platform"
"""Where our code and the wheels lie in an image."""
_FORMAT = 2
_PYTHON = re.compile(r"python(3\.\d+)-minimal")
# Of the C library that wheels are made for, the oldest first.
_GLIBC = ("2_17", "2_28", "2_34")


def folder() -> Path:
    """Where it lies.

    Raises:
        ToolMissingError: it was not made on this machine, or not from what now decides.
    """
    place = cache.root() / _key()
    if not place.is_dir():
        msg = f"expected {_key()} in {cache.root()}, saw none: run `make tools-kubernetes`"
        raise ToolMissingError(msg)
    return place


def ensure() -> Path:
    """Make it unless it is there.

    Raises:
        ToolError: a package or a wheel cannot be had.
    """
    return cache.ensure(_key(), _make)


def _key() -> str:
    digest = hashlib.sha256(f"{_FORMAT} {debian.release()} {platform.machine()}".encode())
    digest.update(json.dumps(GROUPS).encode() + LOCK.read_bytes())
    return f"image-base-{digest.hexdigest()[:16]}"


def _make(into: Path) -> None:
    fetched = into / "packages"
    groups = debian.fetch(list(GROUPS.values()), fetched)
    parts: dict[str, list[dict[str, object]]] = {}
    for name, packages in zip(GROUPS, groups, strict=True):
        debian.layer(packages, _links(name), into / f"{name}.tar")
        parts[name] = [sbom.of_package(package) for package in packages]
    python = _python_of(groups[-1])
    (into / PYTHON).write_text(python)
    _install_wheels(python, into / WHEELS)
    compile_bytecode(into / WHEELS, f"{INSIDE}/{WHEELS}", python)
    (into / PARTS).write_text(json.dumps(parts, indent=1, sort_keys=True))
    shutil.rmtree(fetched)


def _links(group: str) -> list[tuple[str, str]]:
    """What scripts of the packages would link."""
    match group:
        case "java":
            architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
            return [("usr/lib/jvm/java-17-openjdk", f"java-17-openjdk-{architecture}")]
        case "network":
            return [("usr/local/sbin/iptables", "/usr/sbin/iptables-nft")]
        case "python":
            return [("usr/local/bin/python", "/usr/bin/python3")]
        case _:
            return []


def _python_of(packages: Sequence[Package]) -> str:
    found = [match[1] for p in packages if (match := _PYTHON.fullmatch(p.name))]
    if len(found) != 1:
        msg = f"expected one Python among the distribution's packages, saw {found}"
        raise StepFailedError(msg)
    return found[0]


def _install_wheels(python: str, into: Path) -> None:
    machine = platform.machine()
    places = [f"--platform=manylinux_{version}_{machine}" for version in _GLIBC]
    run(
        f"Fetching the pinned packages of requirements/{LOCK.name} for Python {python}",
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install"),
            *("--require-hashes", "--no-deps", "--no-compile", "--only-binary=:all:"),
            *(f"--python-version={python}", "--implementation=cp", *places),
            *(f"--target={into}", f"--requirement={LOCK}"),
        ],
    )
    # Scripts of theirs name the Python of this machine, and nobody calls them.
    shutil.rmtree(into / "bin", ignore_errors=True)


def compile_bytecode(folder: Path, inside: str, python: str) -> None:
    """Compile modules that will lie at a place of an image, whose root nothing can write to: else
    every process would compile them anew. Left out where this Python is another one.

    Raises:
        StepFailedError: a module cannot be compiled.
    """
    if python != f"{sys.version_info.major}.{sys.version_info.minor}":
        return
    # By a hash of the source that nobody looks at: times would differ in each image.
    how = ("--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", inside)
    run(
        f"Compiling the modules of {folder.name} for images",
        [sys.executable, "-m", "compileall", "-q", *how, str(folder)],
    )
