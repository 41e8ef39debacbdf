"""What is built is pinned, and its name tells every change of what it is built from."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tools import recipes
from tools.install import KNOWN
from tools.kubernetes_recipes import KUBERNETES, KUBERNETES_RECIPES
from tools.recipes import LANGUAGE_PYTHON, PULUMI, TEST_RECIPES, ZOOKEEPER, Recipe


@pytest.mark.parametrize("recipe", KNOWN, ids=lambda recipe: recipe.full_name)
def test_the_version_said_is_the_version_pinned(recipe: Recipe) -> None:
    pins = (recipes.HERE / recipe.sources[0]).read_text()

    assert re.search(rf"v?{re.escape(recipe.version)}\b", pins)


def test_the_engine_and_its_version_flag_agree() -> None:
    assert any(flag.endswith(f".Version=v{PULUMI.version}") for flag in PULUMI.flags)


def test_the_api_server_and_its_version_flag_agree() -> None:
    flags = " ".join(KUBERNETES.flags)

    assert f"component-base/version.gitVersion=v{KUBERNETES.version} " in flags


def test_every_staging_module_is_the_release_of_the_server() -> None:
    text = (recipes.HERE / "kubernetes" / "go.mod").read_text()
    replaced = re.findall(r"^\t(k8s\.io/\S+) => (\S+) (\S+)$", text, re.MULTILINE)
    staging = KUBERNETES.version.replace("1.", "v0.", 1)

    assert len(replaced) == 33
    assert all(old == new and version == staging for old, new, version in replaced)


@pytest.mark.parametrize("recipe", KNOWN, ids=lambda recipe: recipe.full_name)
def test_a_changed_source_or_flag_or_machine_is_another_folder(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "tools"
    shutil.copytree(recipes.HERE, copy)
    monkeypatch.setattr(recipes, "HERE", copy)
    before = recipe.key()

    assert replace(recipe, flags=("-other",)).key() != before
    assert replace(recipe, platform=lambda: "other").key() != before
    assert replace(recipe, programs=(("other", "module/other"),)).key() != before
    for source in recipe.sources:
        text = (copy / source).read_text()
        (copy / source).write_text(f"{text}\n")
        assert recipe.key() != before
        (copy / source).write_text(text)
    assert recipe.key() == before


def test_what_was_built_is_found_again_without_go(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [recipe.key() for recipe in KNOWN]
    monkeypatch.setenv("PATH", "/nowhere")

    assert [recipe.key() for recipe in KNOWN] == before
    assert PULUMI.platform() == ZOOKEEPER.platform()


def test_every_module_of_a_build_has_its_sum() -> None:
    for recipe in (PULUMI, LANGUAGE_PYTHON, *(r for r in KUBERNETES_RECIPES if r.programs)):
        folder = recipes.HERE / recipe.name
        wanted = re.findall(r"^\t(\S+ v\S+)", (folder / "go.mod").read_text(), re.MULTILINE)
        sums = (folder / "go.sum").read_text()
        replaced = set(
            re.findall(r"^(?:replace |\t)(\S+) =>", (folder / "go.mod").read_text(), re.MULTILINE)
        )

        assert wanted
        assert not [
            w for w in wanted if f"{w}/go.mod " not in sums and w.split()[0] not in replaced
        ]


@pytest.mark.parametrize("recipe", [ZOOKEEPER, *TEST_RECIPES], ids=lambda recipe: recipe.full_name)
def test_every_jar_has_its_sum(recipe: Recipe) -> None:
    lines = (recipes.HERE / recipe.sources[1]).read_text().splitlines()

    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+\.jar", line) for line in lines)
    assert any(f"{recipe.full_name}.jar" in line for line in lines)


def test_set_up_fetches_nothing_that_only_tests_run() -> None:
    assert not set(TEST_RECIPES) & set(recipes.RECIPES)
    assert set(TEST_RECIPES) <= set(KNOWN)
    makefile = (recipes.HERE.parent / "Makefile").read_text()
    assert "\ntest: setup tools-tests ##" in makefile
    assert f"-m tools.install {recipes.FOR_TESTS}\n" in makefile
