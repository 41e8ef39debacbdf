"""Lists of parts of images, in the CycloneDX format (1.6)."""

from __future__ import annotations

import email.parser
import json
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tools import recipes
from tools.images.debian import Package

_JAR = re.compile(r"(?P<name>.+?)-(?P<version>\d[^-]*(?:-.+)?)\.jar")
_MODULE = re.compile(r"^\t(\S+) (v\S+)", re.MULTILINE)
_POM = re.compile(r"META-INF/maven/[^/]+/(?P<artifact>[^/]+)/pom\.properties")
Part = dict[str, object]


def document(image: str, parts: Iterable[Mapping[str, object]]) -> str:
    """The list of an image's parts, each once; equal parts make an equal text."""
    # What two packages require came with both.
    listed = sorted({str(part["purl"]): part for part in parts}.items())
    return json.dumps(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {"component": {"type": "container", "name": image}},
            "components": [part for _, part in listed],
        },
        indent=1,
        sort_keys=True,
    )


def of_package(package: Package) -> Part:
    """A package of the distribution."""
    return _part("deb/debian", package.name, package.version, package.sha256)


def of_wheels(folder: Path) -> list[Part]:
    """Packages of Python that lie in a folder."""
    found: list[Part] = []
    for metadata in sorted(folder.glob("*.dist-info/METADATA")):
        told = email.parser.Parser().parsestr(metadata.read_text(), headersonly=True)
        found.append(_part("pypi", str(told["Name"]).lower(), str(told["Version"])))
    return found


def of_modules(go_mod: Path) -> list[Part]:
    """Modules that a Go program is built from, by its pinned list."""
    return [_part("golang", name, version) for name, version in _MODULE.findall(go_mod.read_text())]


def of_jars(folder: Path) -> list[Part]:
    """Jars of a folder."""
    return [_of_jar(path) for path in sorted(folder.glob("*.jar"))]


def _of_jar(path: Path) -> Part:
    match = _JAR.fullmatch(path.name)
    name, version = (match["name"], match["version"]) if match else (path.stem, "unknown")
    group = _group_of(path, name)
    return _part(f"maven/{group}" if group else "generic", name, version, recipes.sha256(path))


def _group_of(path: Path, artifact: str) -> str | None:
    """The group that a jar itself tells; jars that hold others tell of those too."""
    with zipfile.ZipFile(path) as jar:
        for name in jar.namelist():
            match = _POM.fullmatch(name)
            if match and match["artifact"] == artifact:
                lines = jar.read(name).decode().splitlines()
                return dict(_properties(lines)).get("groupId")
    return None


def _properties(lines: Sequence[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        key, _, value = line.partition("=")
        yield key.strip(), value.strip()


def _part(kind: str, name: str, version: str, sha256: str | None = None) -> Part:
    part: Part = {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:{kind}/{name}@{version}",
    }
    if sha256 is not None:
        part["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    return part
