"""Names say what a thing is, and each module says why it exists."""

from __future__ import annotations

from pathlib import Path

from tests.tidy.facts import facts

# They say nothing of what is inside, so everything ends up there.
EMPTY_NAMES = frozenset({"utils", "util", "common", "helpers", "helper", "lib", "core", "misc"})
# path → why the name is right there.
NAMED_SO = {"stacks/local/mesos/core.py": "a master's core, which its APIs call"}

# path:class → why it stands beside what raises it, and not in the `errors.py` of its package.
ERRORS_ELSEWHERE = {
    "stacks/demo/__main__.py:Interrupted": "somebody's wish to end, and no error",
    "stacks/local/settings.py:SettingsError": "a module that imports nothing of the project",
    "stacks/migration/waiting.py:NotYetError": "a look's word to `wait_until`, where it ends",
    "stacks/topology.py:TopologyError": "a value's own check; stacks.config says what to do",
}


def test_no_module_has_a_name_that_says_nothing(files: list[Path]) -> None:
    found = {
        str(path)
        for path in files
        if EMPTY_NAMES & {*path.parts[:-1], path.stem} and path.suffix in {".py", ".pyi"}
    }

    assert found == NAMED_SO.keys()


def test_every_module_says_why_it_exists(sources: list[Path]) -> None:
    silent = [str(path) for path in sources if not facts(path).docstring]

    assert not silent


def test_a_package_s_errors_are_found_in_its_errors_module(sources: list[Path]) -> None:
    found = {
        f"{path}:{name}"
        for path in sources
        if path.name != "errors.py" and path.parts[0] not in {"tests", "examples"}
        for name, bases in facts(path).classes
        if is_error(name, bases) and not name.startswith("_")
    }

    assert found == ERRORS_ELSEWHERE.keys()


def test_errors_of_a_package_form_one_tree(sources: list[Path]) -> None:
    roots: dict[str, list[str]] = {}
    for path in sources:
        if path.name == "errors.py":
            errors = dict(facts(path).classes)
            roots[str(path)] = [name for name, parents in errors.items() if not parents & {*errors}]

    assert len(roots) >= 7
    assert {path: names for path, names in roots.items() if len(names) != 1} == {}


def is_error(name: str, bases: frozenset[str]) -> bool:
    return any(word.endswith(("Error", "Exception")) for word in {name, *bases})
