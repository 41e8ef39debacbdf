"""Where an outside program is; only looks, never builds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tools import cache, recipes
from tools.errors import ToolMissingError
from tools.kubernetes_recipes import KUBERNETES_RECIPES

__all__ = ["ToolMissingError", "folder", "java"]


def folder(name: str) -> Path:
    """The built folder of a program, such as `zookeeper-3.9.4`.

    Raises:
        ToolMissingError: it was not built on this machine, or not from what now pins it.
    """
    known = (*recipes.RECIPES, *recipes.TEST_RECIPES, *KUBERNETES_RECIPES)
    recipe = recipes.named(name, known)
    place = cache.root() / recipe.key()
    if not place.is_dir():
        target = "tools"
        if recipe in KUBERNETES_RECIPES:
            target = "tools-kubernetes"
        elif recipe in recipes.TEST_RECIPES:
            target = "tools-tests"
        msg = f"expected {recipe.full_name} in {cache.root()}, saw none: run `make {target}`"
        raise ToolMissingError(msg)
    return place


def java() -> str | None:
    """The Java of JAVA_HOME, else the one on PATH, if there is one."""
    home = os.environ.get("JAVA_HOME")
    own = shutil.which("java", path=f"{home}/bin") if home else None
    return own or shutil.which("java")
