"""zk-shell itself, whose `mirror` the engine is compared with.

It is kept by nobody any more, so it stands in an environment of its own, which is made the first
time that it is wanted: of the versions of requirements/anchors.txt, and of nothing else.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "build" / "bench" / "zk-shell"
_LOCK = CHECKOUT / "requirements" / "anchors.txt"
_MADE_OF = "made-of"
_BOUND_S = 900.0


def program() -> Path:
    """Its path; made where it is not there, or of another lock.

    Raises:
        subprocess.CalledProcessError: its packages cannot be installed.
    """
    made_of = hashlib.sha256(_LOCK.read_bytes()).hexdigest()
    marker = FOLDER / _MADE_OF
    if not marker.exists() or marker.read_text() != made_of:
        shutil.rmtree(FOLDER, ignore_errors=True)
        _make(FOLDER)
        marker.write_text(made_of)
    return FOLDER / "bin" / "zk-shell"


def _make(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    with tempfile.TemporaryDirectory() as made:
        # It builds the others, which are published as sources alone: nothing unpinned comes in.
        lines = _LOCK.read_text().replace("\\\n", "").splitlines()
        first = Path(made) / "setuptools.txt"
        first.write_text("\n".join(one for one in lines if one.startswith("setuptools==")) + "\n")
        subprocess.run([*install, "-r", str(first)], check=True)
    subprocess.run([*install, "--no-build-isolation", "-r", str(_LOCK)], check=True)


def mirror(source: str, target: str) -> float:
    """Seconds that one `mirror` of a tree takes, its start included; `host:port/path` each.

    Raises:
        RuntimeError: it says that something went wrong.
    """
    command = f"mirror zk://{source} zk://{target} false false true"
    began_at = time.monotonic()
    done = subprocess.run(
        [str(program()), "--run-once", command],
        capture_output=True,
        text=True,
        timeout=_BOUND_S,
        check=False,
    )
    seconds = time.monotonic() - began_at
    if done.returncode != 0:
        msg = f"expected zk-shell to end with 0, saw {done.returncode}: {done.stdout}{done.stderr}"
        raise RuntimeError(msg)
    return seconds
