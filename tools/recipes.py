"""What outside programs there are, what each is built from, and how.

Each has a folder beside this file with a `go.mod` and `go.sum`, or a `pom.xml` and the sums of what
it names. They pin every byte, and their hash names the built folder.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache as once
from pathlib import Path

from tools.errors import PrerequisiteError, StepFailedError
from tools.progress import run

HERE = Path(__file__).parent
_QUICK_S_MAX = 120.0
_READ_BYTES = 1 << 20
_SDK = "github.com/pulumi/pulumi/sdk/v3"
# The user's own Go settings must not change what is built.
_GO_PLAIN = {"GOFLAGS": "", "GOWORK": "off", "GOOS": "", "GOARCH": ""}
# The dynamic providers' and the language host's scripts must suit the engine, not the host.
_SCRIPTS = ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")


@dataclass(frozen=True)
class Recipe:
    """How one program is built."""

    name: str
    version: str
    sources: tuple[str, ...]
    """Files below this package that decide what is built."""
    flags: tuple[str, ...]
    """Further arguments of the build; they decide too."""
    build: Callable[[Recipe, Path], None]
    """Fills an empty folder."""
    platform: Callable[[], str]
    """What else decides, of this machine."""
    effort: str
    programs: tuple[tuple[str, str], ...] = ()
    """Of a Go build: a program's name and its package; they decide too."""
    linked: bool = True
    """Whether the environment's programs hold it; a rig's would hide the user's own `kubectl`."""

    @property
    def full_name(self) -> str:
        """Name and version."""
        return f"{self.name}-{self.version}"

    def key(self) -> str:
        """Name of the built folder: name, version and a hash of all it is built from."""
        digest = hashlib.sha256("\0".join((self.platform(), *self.flags)).encode())
        for name, package in self.programs:
            digest.update(f"\0{name} {package}".encode())
        for source in self.sources:
            digest.update(f"\0{source}\0".encode() + (HERE / source).read_bytes())
        return f"{self.full_name}-{digest.hexdigest()[:16]}"


def go_version(name: str = "pulumi") -> tuple[int, ...] | None:
    """Version of Go that would build a program here; None where there is no Go."""
    found = re.match(r"go(\d+(?:\.\d+)*)", _go_said(name))
    return tuple(map(int, found[1].split("."))) if found else None


def go_version_min(name: str = "pulumi") -> tuple[int, ...]:
    """The least that a program's module asks for."""
    found = re.search(r"^go (\S+)$", (HERE / name / "go.mod").read_text(), re.MULTILINE)
    assert found is not None
    return tuple(map(int, found[1].split(".")))


@once
def _go_said(name: str) -> str:
    go = shutil.which("go")
    if go is None:
        return "no Go"
    # In the module's folder, because Go fetches the version that it asks for where it can.
    answer = subprocess.run(
        [go, "env", "GOVERSION"],
        cwd=HERE / name,
        capture_output=True,
        check=False,
        text=True,
        timeout=_QUICK_S_MAX,
    )
    return " ".join(answer.stdout.split())


def machine() -> str:
    """What of this machine decides what is built."""
    # Not the version of Go: what is built is found again without Go, and after its updates.
    return f"{platform.system()} {platform.machine()}"


def _go_build(recipe: Recipe, package: str, output: Path | str) -> None:
    # `readonly` refuses whatever go.sum does not pin.
    command = ["go", "build", "-mod=readonly", "-buildvcs=false", *recipe.flags]
    run(
        f"Building {Path(package).name} of {recipe.full_name} from its Go modules: {recipe.effort}",
        [*command, "-o", str(output), package],
        folder=HERE / recipe.name,
        environment={"CGO_ENABLED": "0", **_GO_PLAIN},
    )


def go_programs(recipe: Recipe, into: Path) -> None:
    """Build the programs that a recipe names, one after another, each told."""
    for name, package in recipe.programs:
        _go_build(recipe, package, into / name)


def module_folder(recipe: Recipe, module: str) -> Path:
    """Where the sources of a module lie that a recipe pins, unpacked."""
    answer = run(
        f"Taking files that lie beside {recipe.full_name}",
        ["go", "mod", "download", "-json", module],
        folder=HERE / recipe.name,
        environment=_GO_PLAIN,
    )
    return Path(json.loads(answer[answer.index("{") :])["Dir"])


def _pulumi(recipe: Recipe, into: Path) -> None:
    _go_build(recipe, "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", f"{into}/")


def _language_python(recipe: Recipe, into: Path) -> None:
    _go_build(recipe, f"{_SDK}/python/cmd/pulumi-language-python", f"{into}/")
    module = module_folder(PULUMI, _SDK)
    for script in _SCRIPTS:
        target = into / Path(script).name
        shutil.copyfile(module / script, target)
        # A module's archive loses the bits.
        target.chmod(0o755)


def _jars(recipe: Recipe, into: Path) -> None:
    pom, sums = (HERE / source for source in recipe.sources)
    run(
        f"Fetching the jars of {recipe.full_name} with Maven: {recipe.effort}",
        [
            *("mvn", "--batch-mode", "--no-transfer-progress", "--file", str(pom)),
            *("dependency:copy-dependencies", f"-DoutputDirectory={into / 'lib'}"),
        ],
    )
    _compare(into / "lib", sums)


def _compare(folder: Path, sums: Path) -> None:
    """Refuse any jar that is missing, too many or other than pinned."""
    lines = (line.split() for line in sums.read_text().splitlines())
    expected = {name: digest for digest, name in lines}
    seen = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    if seen != expected:
        differing = sorted(n for n in {*seen, *expected} if seen.get(n) != expected.get(n))
        msg = (
            f"expected the {len(expected)} jars of {sums}, saw others: "
            f"{', '.join(differing)}; if pom.xml was changed on purpose, write their sums anew"
        )
        raise StepFailedError(msg)


def sha256(path: Path) -> str:
    """The sum of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


PULUMI = Recipe(
    name="pulumi",
    version="3.259.0",
    sources=("pulumi/go.mod", "pulumi/go.sum"),
    flags=(
        "-trimpath",
        *("-tags", "osusergo,grpcnotrace"),
        *("-ldflags", f"-s -w -X {_SDK}/go/common/version.Version=v3.259.0"),
    ),
    build=_pulumi,
    platform=machine,
    effort="about 7 minutes on two cores, once",
)
# Later versions keep the language host in a module that is not published.
LANGUAGE_PYTHON = Recipe(
    name="pulumi-language-python",
    version="3.79.0",
    sources=(
        "pulumi-language-python/go.mod",
        "pulumi-language-python/go.sum",
        "pulumi/go.mod",
        "pulumi/go.sum",
    ),
    flags=("-trimpath", "-ldflags", "-s -w"),
    build=_language_python,
    platform=machine,
    effort="about half a minute, once",
)
ZOOKEEPER = Recipe(
    name="zookeeper",
    version="3.9.4",
    sources=("zookeeper/pom.xml", "zookeeper/jars.sha256"),
    flags=(),
    build=_jars,
    platform=machine,
    effort="about half a minute, once",
)
# What the sync engine is tested against besides: the server of Debian 12, whose watches do not tell
# zxids, and the last one that has no persistent watches.
ZOOKEEPER_3_8 = replace(
    ZOOKEEPER,
    version="3.8.0",
    sources=("zookeeper-3.8.0/pom.xml", "zookeeper-3.8.0/jars.sha256"),
)
ZOOKEEPER_3_5 = replace(
    ZOOKEEPER,
    version="3.5.10",
    sources=("zookeeper-3.5.10/pom.xml", "zookeeper-3.5.10/jars.sha256"),
)
# What an ingest pipeline of Elasticsearch takes lines apart with; only tests run it, and nobody is
# given it by us.
ELASTICSEARCH_GROK = replace(
    ZOOKEEPER,
    name="elasticsearch-grok",
    version="8.19.0",
    sources=("elasticsearch-grok/pom.xml", "elasticsearch-grok/jars.sha256"),
)
RECIPES = (PULUMI, LANGUAGE_PYTHON, ZOOKEEPER)
"""What set-up builds; what a rig needs besides stands in its own module."""
TEST_RECIPES = (ZOOKEEPER_3_8, ZOOKEEPER_3_5, ELASTICSEARCH_GROK)
"""What nothing but tests runs."""
FOR_TESTS = "for-tests"
"""Name of all of them for `tools.install`."""


def named(name: str, known_ones: Iterable[Recipe]) -> Recipe:
    """The recipe of a name among some, with or without its version; without, the first of it.

    Raises:
        PrerequisiteError: there is none.
    """
    known_ones = tuple(known_ones)
    for recipe in known_ones:
        if name in {recipe.name, recipe.full_name}:
            return recipe
    known = ", ".join(recipe.full_name for recipe in known_ones)
    msg = f"expected one of {known}, saw {name}"
    raise PrerequisiteError(msg)
