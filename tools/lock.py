"""Write `requirements/*.txt` anew from pyproject.toml: hash-pinned, for every platform.

No index, host or path is written, because where packages come from is the installing machine's own
affair. Run by `make lock` in the environment, which holds uv.
"""

from __future__ import annotations

from tools.environment import BIN, CHECKOUT
from tools.errors import explain
from tools.progress import run

FOLDER = CHECKOUT / "requirements"
# The first holds all others, which are constrained by it: one version of each package everywhere.
_PROJECT = "pyproject.toml"
LOCKS = {
    "dev": ("--all-extras", "--group", "dev", _PROJECT),
    "local": ("--extra", "infra", "--extra", "local", "--extra", "sync", _PROJECT),
    # What runs beside a cluster; whatever declares one stays out of its images.
    "images": ("--extra", "local", "--extra", "sync", _PROJECT),
    "probe": ("--extra", "probe", _PROJECT),
    "sync": ("--extra", "sync", _PROJECT),
    # Nothing of the project itself.
    "anchors": ("--group", "anchors"),
}
_HEADER = "# Written by `make lock` from pyproject.toml; do not edit.\n"


def compile_all() -> None:
    """Compile every lock, each put into place when it is whole.

    Raises:
        StepFailedError: no versions fit together, or the index does not answer.
    """
    FOLDER.mkdir(exist_ok=True)
    for name, chosen in LOCKS.items():
        _compile(name, chosen)


def _compile(name: str, chosen: tuple[str, ...]) -> None:
    target = FOLDER / f"{name}.txt"
    fresh = target.with_suffix(".fresh")
    constraint = () if name == "dev" else ("--constraint", str(FOLDER / "dev.txt"))
    command = [
        *(str(BIN / "uv"), "pip", "compile", "--universal", "--generate-hashes"),
        *("--python-version", "3.11", "--no-header", "--no-annotate", "--upgrade"),
        *("--exclude-newer", "7 days", *chosen, *constraint, "--output-file", str(fresh)),
    ]
    try:
        run(f"Locking requirements/{name}.txt", command, folder=CHECKOUT)
        fresh.write_text(_HEADER + fresh.read_text())
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


if __name__ == "__main__":
    explain(compile_all)
