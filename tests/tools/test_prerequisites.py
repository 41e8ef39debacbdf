"""What a machine lacks is told at once: what, why, what was seen, how to get it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tools import cache, prerequisites, recipes
from tools.errors import PrerequisiteError


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where nothing may be installed."""
    monkeypatch.setattr(prerequisites, "_may_install", lambda: False)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has built nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache.root()


@pytest.mark.usefixtures("nobody")
def test_what_is_built_asks_for_no_tool_that_builds(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAVEN", "GO"):
        lacking = replace(getattr(prerequisites, name), problem=lambda: "none at all")
        monkeypatch.setattr(prerequisites, name, lacking)
    for recipe in recipes.RECIPES:
        (root / recipe.key()).mkdir(parents=True)

    prerequisites.require(engine_on_path=False)

    (root / recipes.ZOOKEEPER.key()).rmdir()
    with pytest.raises(PrerequisiteError) as told:
        prerequisites.require(engine_on_path=False)
    assert "Maven" in str(told.value)
    assert "Go, version" not in str(told.value)


@pytest.mark.usefixtures("nobody")
def test_what_only_tests_run_asks_for_maven_when_it_is_fetched(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = replace(prerequisites.MAVEN, problem=lambda: "none at all")
    monkeypatch.setattr(prerequisites, "MAVEN", lacking)
    with pytest.raises(PrerequisiteError, match="Maven"):
        prerequisites.require_maven(recipes.TEST_RECIPES)

    for recipe in recipes.TEST_RECIPES:
        (root / recipe.key()).mkdir(parents=True)
    prerequisites.require_maven(recipes.TEST_RECIPES)


@pytest.mark.usefixtures("nobody")
def test_all_that_is_missing_is_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JDK", "MAVEN", "GO"):
        lacking = replace(getattr(prerequisites, name), problem=lambda: "none at all")
        monkeypatch.setattr(prerequisites, name, lacking)

    with pytest.raises(PrerequisiteError) as told:
        prerequisites.require(engine_on_path=False)

    text = str(told.value)
    assert "a JDK, version 17 or newer: ZooKeeper's servers run on Java; saw none at all" in text
    assert "(Debian: openjdk-17-jdk-headless or" in text
    assert "Maven: it fetches jars of ZooKeeper and Elasticsearch" in text
    assert "put a Pulumi engine of version 3.259 or newer on PATH" in text


@pytest.mark.usefixtures("nobody")
def test_go_is_not_asked_for_where_the_engine_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = replace(prerequisites.GO, problem=lambda: "no go")
    monkeypatch.setattr(prerequisites, "GO", lacking)

    prerequisites.require(engine_on_path=True)
    with pytest.raises(PrerequisiteError):
        prerequisites.require(engine_on_path=False)


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites.sys, "platform", "darwin")

    with pytest.raises(PrerequisiteError, match="expected Linux, saw darwin"):
        prerequisites.require(engine_on_path=True)


def test_a_missing_package_is_installed_and_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[list[str]] = []
    answers = iter(["no mvn", None])
    lacking = replace(prerequisites.MAVEN, problem=lambda: next(answers))
    monkeypatch.setattr(prerequisites, "MAVEN", lacking)
    monkeypatch.setattr(prerequisites, "_may_install", lambda: True)

    def offered(names: tuple[str, ...]) -> bool:
        return bool(names)

    def run(title: str, command: list[str], **options: object) -> str:
        ran.append(command)
        return ""

    monkeypatch.setattr(prerequisites, "_offered", offered)
    monkeypatch.setattr(prerequisites, "run", run)

    prerequisites.require(engine_on_path=True)

    assert [command[:2] for command in ran] == [["apt-get", "update"], ["apt-get", "install"]]
    assert ran[1][-1] == "maven"
