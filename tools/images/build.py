"""Builds the image family from its Dockerfile: one archive, and the names that pin each image."""

from __future__ import annotations

import json
import platform
import shutil
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools import locate, recipes
from tools.errors import StepFailedError
from tools.images import base, dockerfile, layers, oci, sbom, wheels
from tools.images.dockerfile import Layer, Stage
from tools.kubernetes_recipes import CNI
from tools.recipes import ZOOKEEPER

DOCKERFILE = base.CHECKOUT / "components" / "images" / "Dockerfile"
REGISTRY = "mesos-platform.invalid"
"""Nobody's: images are never pulled by these names."""
TARGETS = (
    "pause",
    "zookeeper",
    "sync-engine",
    "probe",
    "exporter",
    "registrator",
    "log-keeper",
    "autoscaler",
    "caretaker",
    "edge",
    "networks",
    "framework",
    "traffic",
    "marathon-stand-in",
    "mesos",
    "platform",
)
"""Images, as the Dockerfile calls them."""
PLUGINS = ("bridge", "host-local")
"""Of the published CNI plugins, those that networks of containers are made by."""
_PROJECT = ("clients", "components", "controllers", "probe", "stacks", "sync_engine", "tools")
_WHEELS = f"{base.WHEELS}/"
# What of a context is made here, and holds nothing of others.
_OURS = frozenset({"accounts", "modules", "project", "sbom", "version"})
# Packages of which images hold some parts: their own modules, apart from the packages below them.
_PARTED = ("clients", "controllers", "stacks/local")
_UNUSED = shutil.ignore_patterns("__pycache__", "go.*", "*.sha256")
_ACCOUNTS = {
    "passwd": (
        "root:x:0:0:root:/root:/bin/bash\n"
        "zookeeper:x:1000:1000::/nonexistent:/usr/sbin/nologin\n"
        "platform:x:10001:10001::/nonexistent:/usr/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    ),
    "group": "root:x:0:\nzookeeper:x:1000:\nplatform:x:10001:\nnogroup:x:65534:\n",
}


@dataclass(frozen=True)
class Images:
    """Images in one archive, each by the name that pins its content."""

    archive: Path
    names: Mapping[str, str]

    @property
    def pause(self) -> str:
        """What holds a pod's namespaces."""
        return self.names["pause"]


def build(into: Path) -> Images:
    """Build all of them into an empty folder.

    Raises:
        ToolMissingError: what they are made of was not prepared: see `make tools-kubernetes`.
        StepFailedError: the Dockerfile asks for what is not known here.
    """
    context = into / "context"
    context.mkdir()
    make_context(context)
    stages = dockerfile.read(DOCKERFILE.read_text())
    archive = into / "images.tar"
    writing = oci.Archive(archive, {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()])
    made: dict[Layer, tuple[str, Path]] = {}
    names = {
        target: writing.add(
            f"{REGISTRY}/{target}", stages[target], _layers(stages[target], context, into, made)
        )
        for target in TARGETS
    }
    writing.close()
    for layer, (_, path) in made.items():
        if not layer.is_archive:
            path.unlink()
    shutil.rmtree(context)
    return Images(archive, names)


def make_context(into: Path) -> None:
    """Fill an empty folder with all that the Dockerfile names; what is large is only linked."""
    prepared = base.folder()
    for name in base.GROUPS:
        (into / f"{name}.tar").symlink_to(prepared / f"{name}.tar")
    jars = locate.folder(ZOOKEEPER.full_name) / "lib"
    (into / "jars").symlink_to(jars)
    plugins = into / "plugins"
    plugins.mkdir()
    for name in PLUGINS:
        shutil.copy(locate.folder(CNI.full_name) / name, plugins)
    accounts = into / "accounts"
    accounts.mkdir()
    for name, text in _ACCOUNTS.items():
        (accounts / name).write_text(text)
    copy_project(into, (prepared / base.PYTHON).read_text())
    stages = dockerfile.read(DOCKERFILE.read_text())
    wheels.split(prepared / base.WHEELS, wheels_of(stages.values()), into / base.WHEELS)
    parts: dict[str, list[sbom.Part]] = json.loads((prepared / base.PARTS).read_text())
    parts |= {
        "jars": sbom.of_jars(jars),
        "plugins": sbom.of_modules(recipes.HERE / CNI.name / "go.mod"),
    }
    lists = into / "sbom"
    lists.mkdir()
    for target in TARGETS:
        held = [part for layer in stages[target].layers for part in parts_of(layer, parts, into)]
        (lists / f"{target}.cdx.json").write_text(sbom.document(target, held))


def copy_project(into: Path, python: str) -> None:
    """Our packages, whole and parted, compiled for a Python."""
    project = into / "project"
    project.mkdir()
    for name in _PROJECT:
        shutil.copytree(base.CHECKOUT / name, project / name, ignore=_UNUSED)
    base.compile_bytecode(project, f"{base.INSIDE}/project", python)
    for name in _PARTED:
        shutil.copytree(project / name, into / "modules" / name, ignore=_packages)
    version = into / "version"
    version.mkdir()
    tell_version(version)


def wheels_of(stages: Iterable[Stage]) -> list[str]:
    """Packages that images hold beside ours; what those require comes with them."""
    sources = {layer.source for stage in stages for layer in stage.layers}
    return sorted(s.removeprefix(_WHEELS) for s in sources if s.startswith(_WHEELS))


def tell_version(project: Path) -> None:
    """What `--version` asks for: nobody installs the project there, as pip would."""
    told = tomllib.loads((base.CHECKOUT / "pyproject.toml").read_text())["project"]
    name, version = told["name"], told["version"]
    folder = project / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def _packages(folder: str, names: list[str]) -> list[str]:
    return [n for n in names if n != "__pycache__" and (Path(folder) / n).is_dir()]


def parts_of(layer: Layer, parts: Mapping[str, list[sbom.Part]], context: Path) -> list[sbom.Part]:
    """What a layer holds of others, of the parts that are known by the names of their sources.

    Raises:
        StepFailedError: nobody knows what is in it.
    """
    if layer.source.startswith(_WHEELS):
        return sbom.of_wheels(context / layer.source)
    if layer.source.partition("/")[0] in _OURS:
        return []
    name = layer.source.removesuffix(".tar")
    if name not in parts:
        msg = f"expected one of {', '.join(sorted(parts))}, saw {name!r} in the Dockerfile"
        raise StepFailedError(msg)
    return parts[name]


def _layers(
    stage: Stage, context: Path, into: Path, made: dict[Layer, tuple[str, Path]]
) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for layer in stage.layers:
        if layer not in made:
            path = context / layer.source
            if not layer.is_archive:
                path = into / f"layer-{len(made)}.tar"
                layers.of_files(context / layer.source, layer.target, path)
            made[layer] = (layers.digest(path), path)
        found.append(made[layer])
    return found
