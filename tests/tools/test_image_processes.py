"""The image of a process holds what the process imports, and no more.

What is imported is read from the code by `grimp`; that it is enough is seen by a start with nothing
else there.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions, packages_distributions
from pathlib import Path, PurePosixPath

import grimp
import pytest

from tools.errors import StepFailedError
from tools.images import base, build, dockerfile, wheels
from tools.images.dockerfile import Stage

_STAGES = dockerfile.read(build.DOCKERFILE.read_text())
_ROOTS = ("clients", "components", "controllers", "probe", "stacks", "sync_engine", "tools")
_PLACE = PurePosixPath("opt/mesos-platform/project")
_WITH_PYTHON = {
    target
    for target in build.TARGETS
    if any(layer.source == "python.tar" for layer in _STAGES[target].layers)
}
# Of these a pod's command says which process it is.
_SEVERAL = {
    "mesos": (
        "stacks.local.mesos_master",
        "stacks.local.mesos_agent",
        "stacks.local.registrar_ready",
        "controllers.node_check",
    ),
    "platform": ("sync_engine.cli", "probe.cli", "controllers.caretaker"),
}
_ENTRIES = {
    target: _SEVERAL.get(target) or _STAGES[target].entrypoint[2:]
    for target in sorted(_WITH_PYTHON)
}
_STARTS = [(target, entry) for target, entries in _ENTRIES.items() for entry in entries]
# What a package looks for and does not require.
_LOOKED_FOR = {"httpx": "sniffio"}
_START_S_MAX = 60
# Runs a module where of installed packages only some are there.
_RUN = """
import runpy, sys
foreign, packages, module, *words = sys.argv[1:]
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in foreign.split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
sys.path.append(packages)
sys.argv[:] = [module, *words]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Imported:
    """What a process imports: modules of ours, and packages of others."""

    ours: frozenset[str]
    others: frozenset[str]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom, also inside of functions."""
    return grimp.build_graph(*_ROOTS, include_external_packages=True, cache_dir=None)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A context with our packages, not compiled."""
    folder = tmp_path_factory.mktemp("context")
    build.copy_project(folder, "none")
    return folder


@pytest.fixture(scope="module")
def distributed() -> Mapping[str, set[str]]:
    """Names of installed packages, by the modules that they bring."""
    found = packages_distributions()
    return {module: set(map(wheels.normal, names)) for module, names in found.items()}


def imported(graph: grimp.ImportGraph, entries: Iterable[str]) -> Imported:
    """What entry modules import, what that imports, and so on; modules named by a text as well."""
    seen: set[str] = set()
    todo = [_main(graph, entry) for entry in entries]
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        todo += graph.find_modules_directly_imported_by(module)
        if _is_ours(module):
            package, _, _ = module.rpartition(".")
            todo += [package] * bool(package)
            todo += _named(module) & graph.modules
    ours = frozenset(filter(_is_ours, seen))
    return Imported(ours, frozenset(seen - ours - sys.stdlib_module_names))


def held(stage: Stage) -> set[str]:
    """Modules of ours that an image has."""
    found: set[str] = set()
    for layer in stage.layers:
        kind, _, path = layer.source.partition("/")
        if kind in {"project", "modules"}:
            assert PurePosixPath(layer.target) == _PLACE / path
            there = base.CHECKOUT / path
            files = there.glob("*.py") if kind == "modules" else there.rglob("*.py")
            found |= {_module(file) for file in ([there] if there.is_file() else files)}
    return found


def _main(graph: grimp.ImportGraph, entry: str) -> str:
    main = f"{entry}.__main__"
    return main if main in graph.modules else entry


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in _ROOTS


def _module(file: Path) -> str:
    relative = file.relative_to(base.CHECKOUT).with_suffix("")
    return ".".join(relative.parent.parts if relative.name == "__init__" else relative.parts)


def _file(module: str) -> Path:
    place = base.CHECKOUT.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _packages(modules: Iterable[str]) -> set[Path]:
    return {_file(module).parent for module in modules}


@cache
def _named(module: str) -> set[str]:
    """Texts of a module: collectors and plugins of the probe are loaded by their names."""
    nodes = ast.walk(ast.parse(_file(module).read_text()))
    return {
        node.value.partition(":")[0]
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value
    }


def test_each_image_of_ours_has_its_command(graph: grimp.ImportGraph) -> None:
    for target in _WITH_PYTHON - set(_SEVERAL):
        assert _STAGES[target].entrypoint[:2] == ("python", "-m")
        assert len(_STAGES[target].entrypoint) == 3
    for target in _SEVERAL:
        assert not _STAGES[target].entrypoint
    assert {_main(graph, entry) for _, entry in _STARTS} <= graph.modules


@pytest.mark.parametrize("target", sorted(_WITH_PYTHON - {"platform"}))
def test_an_image_holds_the_packages_of_ours_that_it_imports(
    graph: grimp.ImportGraph, target: str
) -> None:
    wanted = imported(graph, _ENTRIES[target]).ours

    found = held(_STAGES[target])

    assert not wanted - found
    assert _packages(found) == _packages(wanted)
    alone = {layer.source for layer in _STAGES[target].layers if layer.source.endswith(".py")}
    assert {_module(base.CHECKOUT / source.partition("/")[2]) for source in alone} <= wanted


@pytest.mark.parametrize("target", sorted(_WITH_PYTHON - {"platform"}))
def test_an_image_holds_the_packages_of_others_that_it_imports(
    graph: grimp.ImportGraph, distributed: Mapping[str, set[str]], target: str
) -> None:
    there = {wheels.normal(one.name): one for one in distributions()}
    modules = imported(graph, _ENTRIES[target]).others
    wanted = {name for module in modules for name in distributed[module]}
    wanted |= {beside for name, beside in _LOOKED_FOR.items() if name in wanted}

    found = build.wheels_of([_STAGES[target]])

    assert set(found) <= wanted
    assert wanted <= {name for each in found for name in wheels.closure(each, there)}


def test_one_image_holds_all_of_them() -> None:
    of_processes = [_STAGES[target] for target in _WITH_PYTHON - {"platform"}]

    assert build.wheels_of(of_processes) == build.wheels_of([_STAGES["platform"]])
    (whole,) = [layer for layer in _STAGES["platform"].layers if layer.source == "project"]
    assert PurePosixPath(whole.target) == _PLACE


@pytest.mark.long
@pytest.mark.parametrize(("target", "entry"), _STARTS)
def test_a_process_starts_with_what_its_image_holds(
    context: Path, distributed: Mapping[str, set[str]], tmp_path: Path, target: str, entry: str
) -> None:
    lay_out(_STAGES[target], context, tmp_path / "project")
    there = {wheels.normal(one.name): one for one in distributions()}
    named = build.wheels_of([_STAGES[target]])
    holds = {name for each in named for name in wheels.closure(each, there)}
    foreign = {module for module, names in distributed.items() if not names & holds}

    # Without `site`, which would add this checkout.
    command = [sys.executable, "-S", "-c", _RUN, ",".join(foreign), sysconfig.get_path("purelib")]
    done = subprocess.run(
        [*command, entry, "--help"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "project"), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=_START_S_MAX,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.lower().startswith("usage: ")


def lay_out(stage: Stage, context: Path, into: Path) -> None:
    """Make of a context what an image has of ours; links do here."""
    for layer in stage.layers:
        source = context / layer.source
        if not layer.target.startswith(str(_PLACE)) or not source.exists():
            continue
        place = into / PurePosixPath(layer.target).relative_to(_PLACE)
        if source.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source)
            continue
        place.mkdir(parents=True, exist_ok=True)
        for path in source.iterdir():
            if not (place / path.name).exists():
                (place / path.name).symlink_to(path)


def package(folder: Path, name: str, *requires: str) -> None:
    """Install a package of one module, as pip would."""
    module = name.replace("-", "_")
    for file, text in {
        f"{module}/__init__.py": "",
        f"{module}/__pycache__/__init__.cpython-311.pyc": "",
        f"{module}-1.dist-info/METADATA": "\n".join(
            [f"Name: {name}", "Version: 1", *(f"Requires-Dist: {one}" for one in requires)]
        ),
        f"{module}-1.dist-info/RECORD": (
            f"{module}/__init__.py,,\n{module}-1.dist-info/METADATA,,\n../../bin/{name},,\n"
        ),
    }.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)


def test_a_package_comes_with_what_it_requires_and_nothing_else(tmp_path: Path) -> None:
    folder, into = tmp_path / "installed", tmp_path / "apart"
    package(folder, "web", "under_Lying>=1", 'absent; sys_platform == "win32"')
    package(folder, "under-lying", 'other; extra == "more"')
    package(folder, "other")

    wheels.split(folder, ["web", "under-lying"], into)

    assert {path.name for path in into.iterdir()} == {"web", "under-lying"}
    underlying = {
        "under_lying/__init__.py",
        "under_lying/__pycache__/__init__.cpython-311.pyc",
        "under_lying-1.dist-info/METADATA",
    }
    of_web = {name.replace("under_lying", "web") for name in underlying} | underlying
    for name, expected in {"under-lying": underlying, "web": of_web}.items():
        files = [path for path in (into / name).rglob("*") if path.is_file()]
        assert {str(path.relative_to(into / name)) for path in files} == expected


def test_a_package_that_is_not_pinned_is_refused(tmp_path: Path) -> None:
    package(tmp_path, "web")

    with pytest.raises(StepFailedError, match="expected one of web, saw 'pulumi'"):
        wheels.split(tmp_path, ["pulumi"], tmp_path / "apart")
