"""What the machine itself must have, and how to get what is missing.

As root on a Debian-like system the distribution's packages are installed, and it is said so;
elsewhere nothing is changed, and all that is missing is told at once.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tools import cache, locate, recipes
from tools.errors import PrerequisiteError
from tools.progress import run
from tools.recipes import Recipe

JDK_MIN = 17
_VERSION_S_MAX = 60.0
NODE_PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "mount": "mount",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
}
"""What a node is run with, and the packages that bring it."""


@dataclass(frozen=True)
class Prerequisite:
    """One thing the machine must have."""

    name: str
    why: str
    problem: Callable[[], str | None]
    """What was seen instead; None when all is well."""
    packages: tuple[tuple[str, ...], ...] = ()
    """Debian packages, a choice a line, best first."""
    how: str | None = None
    """What to do; None where the packages say it."""


def require(*, engine_on_path: bool) -> None:
    """See to it that everything is there that this machine still needs: what is built already asks
    for none of the tools that build it.

    Raises:
        PrerequisiteError: names everything that is missing, why it is needed and how to get it.
        StepFailedError: the distribution's packages cannot be installed.
    """
    if not sys.platform.startswith("linux"):
        msg = (
            f"expected Linux, saw {sys.platform}: clusters here run as Linux processes; "
            "use a Linux machine, a virtual machine or a container"
        )
        raise PrerequisiteError(msg)
    needed = [VENV, JDK]
    if _is_unbuilt(recipes.ZOOKEEPER):
        needed.append(MAVEN)
    engine = (recipes.PULUMI, recipes.LANGUAGE_PYTHON)
    if not engine_on_path and any(_is_unbuilt(recipe) for recipe in engine):
        needed.append(GO)
    see_to(needed)


def require_go(wanted: Iterable[Recipe]) -> None:
    """See to it that Go is there, new enough for what is not built yet among some programs.

    Raises:
        PrerequisiteError: it is not.
        StepFailedError: the distribution's package cannot be installed.
    """
    unbuilt = [recipe for recipe in wanted if _is_unbuilt(recipe)]
    if unbuilt:
        asking = max(unbuilt, key=lambda recipe: recipes.go_version_min(recipe.name))
        why = f"{', '.join(recipe.full_name for recipe in unbuilt)}: built from Go modules"
        see_to([_go_for(asking.name, why)])


def require_maven(wanted: Iterable[Recipe]) -> None:
    """See to it that Maven is there for what is not fetched yet among some jars.

    Raises:
        PrerequisiteError: it is not.
        StepFailedError: the distribution's package cannot be installed.
    """
    if any(_is_unbuilt(recipe) for recipe in wanted):
        see_to([MAVEN])


def require_node() -> None:
    """See to it that a real node can be run here, and what its images are made of be had.

    Raises:
        PrerequisiteError: a program is missing that is not installed here by ourselves.
        StepFailedError: the distribution's packages cannot be installed.
    """
    why = "a real node of Kubernetes runs on it, or its images are made with it"
    see_to([program(name, package, why) for name, package in NODE_PROGRAMS.items()])


def program(name: str, package: str, why: str) -> Prerequisite:
    """A program that a package of the distribution brings."""
    return Prerequisite(name, why, _lacks(name), ((package,),))


def require_docker() -> None:
    """See to it that the tests that need a real Docker engine can have one.

    Raises:
        PrerequisiteError: something is missing.
        StepFailedError: the distribution's packages cannot be installed.
    """
    see_to([DOCKER, BUSYBOX, IPTABLES])


def see_to(needed: list[Prerequisite]) -> None:
    """Install what is missing where that is allowed.

    Raises:
        PrerequisiteError: names everything that is missing, why it is needed and how to get it.
        StepFailedError: the distribution's packages cannot be installed.
    """
    missing = [each for each in needed if each.problem() is not None]
    if missing and _may_install():
        _install(missing)
        missing = [each for each in missing if each.problem() is not None]
    if missing:
        raise PrerequisiteError("\n  ".join(["this machine lacks:", *map(_told, missing)]))


def _is_unbuilt(recipe: Recipe) -> bool:
    return not (cache.root() / recipe.key()).is_dir()


def _told(each: Prerequisite) -> str:
    how = each.how or f"install it (Debian: {' or '.join(map(' '.join, each.packages))})"
    return f"{each.name}: {each.why}; saw {each.problem()}; {how}"


def _may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install(missing: list[Prerequisite]) -> None:
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run("Reading the distribution's package lists", ["apt-get", "update"], environment=quiet)
    for each in missing:
        chosen = next((names for names in each.packages if _offered(names)), None)
        if chosen is None:
            continue
        run(
            f"Installing {' '.join(chosen)} of the distribution, because {each.why}",
            ["apt-get", "install", "--yes", "--no-install-recommends", *chosen],
            environment=quiet,
        )


def _offered(names: tuple[str, ...]) -> bool:
    answer = _answer("apt-cache", "policy", *names)
    return len(re.findall(r"Candidate: (?!\(none\))", answer)) == len(names)


def _answer(*command: str) -> str:
    """What a command writes; empty when it cannot be run."""
    try:
        done = subprocess.run(
            command,
            check=False,
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_VERSION_S_MAX,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _venv() -> str | None:
    return None if importlib.util.find_spec("ensurepip") else "a Python without venv"


def _lacks(*programs: str) -> Callable[[], str | None]:
    """Of programs that only root runs, too: their folders need not be on PATH."""

    def problem() -> str | None:
        path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
        missing = [name for name in programs if shutil.which(name, path=path) is None]
        return f"no {', '.join(missing)}" if missing else None

    return problem


def _jdk() -> str | None:
    java = locate.java()
    if java is None:
        return "no java"
    found = re.search(r'version "(\d+)', _answer(java, "-version"))
    if found is None or int(found[1]) < JDK_MIN:
        return f"version {found[1] if found else 'unknown'}"
    return None


def _maven() -> str | None:
    return None if shutil.which("mvn") else "no mvn"


def _go(name: str) -> str | None:
    seen = recipes.go_version(name)
    if seen is None:
        no_go = shutil.which("go") is None
        return "no go" if no_go else f"one that cannot read tools/{name}/go.mod"
    return None if seen >= recipes.go_version_min(name) else f"version {'.'.join(map(str, seen))}"


def _go_for(name: str, why: str, *, otherwise: str = "") -> Prerequisite:
    return Prerequisite(
        f"Go, version {'.'.join(map(str, recipes.go_version_min(name)))} or newer",
        why,
        lambda: _go(name),
        (("golang-go",),),
        "install it from the Go project's own page, because distributions often have an older "
        f"one{otherwise}",
    )


_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
VENV = Prerequisite(
    "Python's venv module",
    "the project's dependencies live in an environment of its own",
    _venv,
    ((f"{_PYTHON}-venv",), ("python3-venv",)),
)
JDK = Prerequisite(
    f"a JDK, version {JDK_MIN} or newer",
    "ZooKeeper's servers run on Java",
    _jdk,
    (("openjdk-17-jdk-headless",), ("openjdk-21-jdk-headless",), ("default-jdk-headless",)),
)
MAVEN = Prerequisite(
    "Maven", "it fetches jars of ZooKeeper and Elasticsearch", _maven, (("maven",),)
)
GO = _go_for(
    "pulumi",
    "the Pulumi engine is built from its Go modules",
    otherwise=", or put a Pulumi engine of version 3.259 or newer on PATH",
)
DOCKER = Prerequisite(
    "a Docker engine",
    "tests watch a real one, in a network namespace of its own",
    _lacks("dockerd", "containerd", "runc"),
    (("docker.io",),),
)
BUSYBOX = Prerequisite(
    "busybox, linked statically",
    "tests make their only container image of it",
    _lacks("busybox"),
    (("busybox-static",),),
)
IPTABLES = Prerequisite(
    "iptables and iproute2",
    "a Docker engine sets up networks with them",
    _lacks("iptables", "ip"),
    (("iptables", "iproute2"),),
)
