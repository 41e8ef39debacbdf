"""Build outside programs and link them into `.venv/bin`: `python3 -m tools.install [NAME ...]`.

Without a name, those that set-up needs. `for-tests` stands for those that only tests run;
`kubernetes-rig` for all of those rigs, which are not linked, and for what their images are made of;
`docker-rig` is the distribution's engine, of which nothing is built. Idempotent: what is built
already is only linked. Where a Pulumi engine that is new enough stands on PATH with its Python
language host, that one is taken and none is built.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools import cache, kubernetes_recipes, prerequisites, recipes
from tools.errors import explain
from tools.images import base
from tools.kubernetes_recipes import KUBERNETES_RECIPES
from tools.recipes import LANGUAGE_PYTHON, PULUMI, RECIPES, TEST_RECIPES, Recipe

CHECKOUT = Path(__file__).resolve().parent.parent
BIN = CHECKOUT / ".venv" / "bin"
ENGINE_MIN = (3, 259)
_VERSION_S_MAX = 60.0
KNOWN = (*RECIPES, *TEST_RECIPES, *KUBERNETES_RECIPES)
_GROUPS = {recipes.FOR_TESTS: TEST_RECIPES, kubernetes_recipes.ALL: KUBERNETES_RECIPES}
_HOST = "pulumi-language-python"
_DOCKER = "docker-rig"


def install(names: list[str]) -> None:
    """Build what is missing of the named programs (none named: set-up's) and link it.

    Raises:
        ToolError: a name is not known, or a step failed.
    """
    if _DOCKER in names:
        prerequisites.require_docker()
        if names == [_DOCKER]:
            return
    wanted = _wanted([name for name in names if name != _DOCKER]) or list(RECIPES)
    if set(wanted) & set(KUBERNETES_RECIPES):
        prerequisites.require_go(recipe for recipe in wanted if recipe in KUBERNETES_RECIPES)
    prerequisites.require_maven(recipe for recipe in wanted if recipe in TEST_RECIPES)
    engine = engine_on_path()
    for recipe in wanted:
        if engine is not None and recipe in {PULUMI, LANGUAGE_PYTHON}:
            _link(sorted(engine.parent.glob("pulumi*")))
            continue
        folder = cache.ensure(recipe.key(), lambda into, recipe=recipe: _build(recipe, into))
        if recipe.linked:
            _link([path for path in sorted(folder.iterdir()) if path.is_file()])
    if kubernetes_recipes.ALL in names:
        prerequisites.require_node()
        base.ensure()


def _wanted(names: list[str]) -> list[Recipe]:
    wanted: list[Recipe] = []
    for name in names:
        wanted += _GROUPS.get(name) or [recipes.named(name, KNOWN)]
    return wanted


def _build(recipe: Recipe, into: Path) -> None:
    recipe.build(recipe, into)


def engine_on_path() -> Path | None:
    """An engine of the user's own that is new enough, with its language host; None without."""
    folders = [Path(text) for text in os.environ.get("PATH", "").split(os.pathsep) if text]
    # What we have put into the environment ourselves is not the user's.
    path = os.pathsep.join(str(folder) for folder in folders if folder.resolve() != BIN)
    found = shutil.which("pulumi", path=path)
    if found is None:
        return None
    engine = Path(found).resolve()
    if not (engine.parent / _HOST).exists():
        return None
    version = _version(engine)
    return engine if version is not None and version >= ENGINE_MIN else None


def _version(engine: Path) -> tuple[int, ...] | None:
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        answer = subprocess.run(
            [engine, "version"],
            capture_output=True,
            check=False,
            env=environment,
            text=True,
            timeout=_VERSION_S_MAX,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"v(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _link(programs: list[Path]) -> None:
    """Make programs reachable in the environment, where there is one already."""
    if not BIN.is_dir():
        return
    for program in programs:
        link = BIN / program.name
        if link.is_symlink() and link.readlink() == program:
            continue
        # Renamed into place, so that nobody finds it missing in between.
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        fresh.symlink_to(program)
        fresh.replace(link)


if __name__ == "__main__":
    explain(lambda: install(sys.argv[1:]))
