"""Build our images: `python -m tools.images FOLDER`, or their context: `… --context FOLDER`.

FOLDER must not be there yet. Prints the name that pins each image; the archive is what `ctr images
import` reads. A context is what `docker build --target NAME FOLDER` reads.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tools.errors import explain
from tools.images import build


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tools.images", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--context", action="store_true", help="write a context for docker build")
    given = parser.parse_args()
    if given.context:
        with tempfile.TemporaryDirectory() as linked:
            build.make_context(Path(linked))
            shutil.copytree(linked, given.folder)
        shutil.copyfile(build.DOCKERFILE, given.folder / "Dockerfile")
        return
    given.folder.mkdir(parents=True)
    images = build.build(given.folder)
    sys.stdout.writelines(f"{name}\n" for name in images.names.values())


if __name__ == "__main__":
    explain(main)
