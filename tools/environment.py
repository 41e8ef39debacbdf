"""Make the checkout ready: machine, `.venv`, outside programs. Runs through `tools.bootstrap`.

A stamp in `.venv` holds a hash of all that the environment was made from, and is written last: with
the right stamp there is nothing to do, with an old one packages are brought up to date, and without
one the environment was never finished and is made anew.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

from tools import cache, prerequisites
from tools.errors import explain
from tools.install import engine_on_path, install
from tools.progress import run

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
BIN = VENV / "bin"
LOCK = CHECKOUT / "requirements" / "dev.txt"
STAMP = VENV / "made-from"
_PACKAGES = ("clients", "components", "stacks", "sync_engine", "tools")


def prepare() -> None:
    """Make everything ready; quick and nearly silent where it is already.

    Raises:
        ToolError: the machine lacks something, or a step failed.
    """
    started = time.monotonic()
    prerequisites.require(engine_on_path=engine_on_path() is not None)
    build = CHECKOUT / "build"
    with cache.locked(build / ".set-up.lock", "Another run sets this checkout up; waiting for it"):
        _make_environment()
        install([])
    sys.stdout.write(f"Set-up is ready ({time.monotonic() - started:.1f} s)\n")


def _make_environment() -> None:
    wanted = _made_from()
    seen = STAMP.read_text() if STAMP.is_file() else None
    if seen == wanted and (BIN / "python").exists():
        return
    python = str(BIN / "python")
    if seen is None or not (BIN / "python").exists():
        run("Making .venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])
    STAMP.unlink(missing_ok=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    run(
        "Installing the pinned packages of requirements/dev.txt",
        [*pip, "install", "--require-hashes", "--requirement", str(LOCK)],
    )
    run(
        "Installing the project itself, editable",
        [*pip, "install", "--no-deps", "--no-build-isolation", "--editable", str(CHECKOUT)],
    )
    # Every process of a cluster imports these, many at once.
    folders = [str(CHECKOUT / name) for name in _PACKAGES if (CHECKOUT / name).is_dir()]
    run("Compiling the project's bytecode", [python, "-m", "compileall", "-q", *folders])
    fresh = STAMP.with_suffix(f".{os.getpid()}")
    fresh.write_text(wanted)
    fresh.replace(STAMP)


def _made_from() -> str:
    # The folder's own name stands in the scripts of an environment, which cannot be moved.
    digest = hashlib.sha256(f"{sys.version}\0{VENV}".encode())
    for path in (LOCK, CHECKOUT / "pyproject.toml"):
        digest.update(b"\0" + path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    explain(prepare)
